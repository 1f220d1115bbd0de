"""One `git cat-file` that stays: a name is resolved in a tenth of a millisecond instead of a process of its own."""

import contextlib
import os
import select
import subprocess
import threading
from collections.abc import Mapping, Sequence

from luminaguard.model.faults import HostFault
from luminaguard.model.ids import Oid

ANSWER_WITHIN_S = 30.0


class Lookup:
    """Resolves names in one repository, always from what is on the disk now. Use as a context manager."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str]) -> None:
        """Say how git is called; the process starts with the first question, and ends with us."""
        self._argv = (*argv, "cat-file", "--batch-check=%(objectname) %(objecttype)")
        self._env = dict(env)
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def resolve(self, name: str) -> Oid | None:
        """Give the object that a name stands for, None where there is none.

        Raises:
            HostFault: git cannot be started, or does not answer.
        """
        if "\n" in name:
            return None
        with self._turn:
            try:
                words = self._ask(name)
            except OSError:
                self._end()  # it died, as after an upgrade of git: once more, with a new one
                words = self._ask_again(name)
        # "NAME missing", "NAME ambiguous": the last word tells; an object's is its type.
        return Oid(words[0]) if len(words) == 2 and words[1] in ("commit", "tree", "blob", "tag") else None

    def _ask_again(self, name: str) -> list[str]:
        try:
            return self._ask(name)
        except OSError as exc:
            raise HostFault(f"git does not answer: {exc}", hint="run `git fsck` on the repository") from exc

    def _ask(self, name: str) -> list[str]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(os.fsencode(name) + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], ANSWER_WITHIN_S)
        line = process.stdout.readline() if ready else b""
        if not line:
            self._end()
            raise BrokenPipeError("git cat-file does not answer")
        return line.decode(errors="replace").split()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            try:
                self._process = subprocess.Popen(
                    self._argv,
                    env=self._env,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    process_group=0,
                )
            except OSError as exc:
                raise HostFault(f"git cannot be started: {exc.strerror}", hint="install git") from exc
        return self._process

    def __enter__(self) -> "Lookup":
        return self

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):  # what was written last and never read
                if stream is not None:
                    stream.close()
