"""A backlog file as a forge: its issues are read into the local tracker, and everything else happens there.

The user's files are never written. Where the status is to be written back, `closing_edits` gives the files as they must
stand in the commit that lands. A file that has other issues under ids of the tracker is read and planned, and no more.
"""

import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from anyio import to_thread

from luminaguard.forges.absorption import TakenError
from luminaguard.forges.base import BacklogFormat, Pull, PullDraft, SourceFile
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.local_talk import LocalTalk
from luminaguard.forges.talk import US
from luminaguard.model.faults import Fault, UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Backlog, Issue, Notice

_Stamp = tuple[int, int, int]


class FileBacklog:
    """A `Forge` over the file or folder at `path`, which `source` reads; `root` is the repository's working tree."""

    name = "file"

    def __init__(self, path: Path, *, source: BacklogFormat, root: Path, tracker: LocalTracker) -> None:
        self.path = path
        self._format = source
        self._root = root
        self._tracker = tracker
        self._store = tracker.store
        self._read_at: dict[str, _Stamp | None] = {}
        self._taken: TakenError | None = None

    @property
    def talk(self) -> LocalTalk:
        """What is shown and said beside the issues; it is kept in the tracker."""
        return self._tracker.talk_after(self._read_once)

    def missing(self) -> str | None:
        """Say why the backlog cannot be read, or None."""
        if not self._format.recognises(self.path):
            return f"{self.path} is no longer a backlog of the format {self._format.name}"
        return self._tracker.missing()

    async def backlog(self) -> Backlog:
        """Read the file, bring it into the tracker, and answer from there in the order of the file.

        Where ids are taken by other issues, nothing is brought in; a notice says so, and `check_kept` raises.
        """
        return await to_thread.run_sync(self._absorbed)

    def check_kept(self) -> None:
        """Look whether the issues are in the tracker, where they are worked on.

        Raises:
            UserFault: other issues have their ids there.
        """
        self._read_once()
        if self._taken is not None:
            raise self._taken

    async def issue(self, issue: IssueId) -> Issue:
        """Read one issue from the tracker; the file is read first where that was not yet done."""
        await to_thread.run_sync(self.check_kept)
        return await self._tracker.issue(issue)

    async def close(self, issue: IssueId, *, comment: str) -> None:
        """Close the issue in the tracker; closing a closed one changes nothing."""
        await to_thread.run_sync(partial(self._close, issue, comment=comment))

    async def open_pull(self, draft: PullDraft) -> Pull:
        """Return the branch's pull request, brought up to the draft."""
        await to_thread.run_sync(self.check_kept)
        return await self._tracker.open_pull(draft)

    async def mark_merged(self, pull: str, *, commit: Oid) -> None:
        """Record that the pull request landed as `commit`; a second time changes nothing."""
        await self._tracker.mark_merged(pull, commit=commit)

    def own(self, issue: str) -> Issue:
        """Give an issue that came from the file.

        Raises:
            UserFault: there is none of this id, or it came from elsewhere.
        """
        self.check_kept()
        bare = issue.removeprefix("#")
        found = next((it for it in self._store.issues(source=self._source) if it.id == bare), None)
        if found is None:
            raise UserFault(f"there is no issue {bare!r} in {self._source}", hint="see `luminaguard issues`")
        return found

    @property
    def place(self) -> str:
        """Where the source lies, relative to the repository's root.

        Raises:
            UserFault: it is not inside the repository.
        """
        return self.relative(self.path)

    def held_in(self, read: Callable[[str], bytes | None], paths: Collection[str]) -> frozenset[IssueId]:
        """Name the issues that files of the source hold in a commit; none where they are broken there.

        Args:
            read: gives the bytes of a path, relative to the repository's root, in that commit.
            paths: the files that are looked at; the folder's settings are read besides.
        """
        with tempfile.TemporaryDirectory(prefix="luminaguard-backlog-") as folder:
            for path in self.source_paths():
                if path not in paths and path.lower().endswith(".md"):
                    continue
                if (content := read(path)) is not None:
                    Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                    Path(folder, path).write_bytes(content)
            try:
                return frozenset(it.id for it in self._format.read(Path(folder, self.place)).issues)
            except UserFault:
                return frozenset()

    def source_paths(self) -> tuple[str, ...]:
        """Name the files of the source, relative to the repository's root.

        Raises:
            UserFault: the source is not inside the repository.
        """
        return tuple(self.relative(file) for file in self._format.files(self.path))

    def closing_edits(self, read: Callable[[str], bytes | None], issue: IssueId) -> tuple[SourceFile, ...]:
        """Give the files of the source that change when `issue` is closed; none where it is closed there, or not there.

        Args:
            read: gives the bytes of a path, relative to the repository's root, in the commit that would land.
            issue: the issue.
        """
        likely = self.closing_paths(issue)
        if any(read(path) is None for path in likely) or not likely:
            return self._edits(read, self.source_paths(), issue)
        return self._edits(read, likely, issue)

    def closing_paths(self, issue: IssueId) -> tuple[str, ...]:
        """Name the files that `closing_edits` needs unless the issue was moved: its own, and the folder's settings."""
        origin = self._store.show(issue).origin
        home = None if origin is None else self.relative(Path(origin.path))
        return tuple(path for path in self.source_paths() if path == home or not path.lower().endswith(".md"))

    def _edits(
        self, read: Callable[[str], bytes | None], paths: tuple[str, ...], issue: IssueId
    ) -> tuple[SourceFile, ...]:
        contents = [(path, read(path)) for path in paths]
        files = [SourceFile(path=path, content=content) for path, content in contents if content is not None]
        return self._format.close(files, issue)

    def _read_once(self) -> None:
        if not self._read_at:
            self._absorbed()

    def _absorbed(self) -> Backlog:
        stamps = {str(file): _stamp(file) for file in self._format.files(self.path)}
        read = self._format.read(self.path)
        self._read_at, self._taken = stamps or {str(self.path): None}, None
        try:
            notices = self._store.absorb(read, source=self._source)
        except TakenError as fault:
            self._taken = fault
            told = Notice(text=f"{fault.message}: they can be planned, not worked on; {fault.hint}")
            return Backlog(issues=read.issues, notices=(*read.notices, told))
        return Backlog(issues=self._store.issues(source=self._source), notices=(*read.notices, *notices))

    def _close(self, issue: IssueId, *, comment: str) -> None:
        """Take in what the landing itself changed in the issue's file, so that it does not open the issue again."""
        self._read_once()
        origin = self._store.show(issue).origin
        if origin is not None and _stamp(Path(origin.path)) != self._read_at.get(origin.path):
            self._absorbed_if_readable()
        self._store.close(issue, comment=comment, who=US)

    def _absorbed_if_readable(self) -> None:
        try:
            self._absorbed()
        except UserFault:
            return  # The next reading tells what is broken; the closing must not wait for it.

    @property
    def _source(self) -> str:
        try:
            return self.relative(self.path)
        except Fault:
            return str(self.path.resolve())

    def relative(self, file: Path) -> str:
        """Give a path relative to the repository's root; a UserFault where it is not inside."""
        try:
            return file.resolve().relative_to(self._root.resolve()).as_posix()
        except ValueError:
            hint = "set write_back = false, or move the backlog into the repository"
            raise UserFault(f"{file} is not inside the repository {self._root}", hint=hint) from None


def _stamp(file: Path) -> _Stamp | None:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
