"""Backlog.md folders: `backlog/config.yml`, a Markdown page for each task in `tasks/` and `completed/`.

Drafts and what is archived are no work, so they are not read. The last of the configured statuses is the one for done.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from luminaguard.forges.base import SourceFile
from luminaguard.forges.fields import text_of
from luminaguard.forges.front_matter import Page, parse, parse_yaml
from luminaguard.forges.markdown_issue import closed_page, issue_of
from luminaguard.forges.reading import Listing, broken, decode, markdown_files, read_text
from luminaguard.forges.references import settled, unique, with_dotted_parents
from luminaguard.forges.words import plain, state_of
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Backlog, Issue, IssueState, Notice, Origin

_HOMES = (".", "backlog", ".backlog")
_CONFIGS = ("config.yml", "config.yaml")
_FOLDERS = ("tasks", "completed")
_STATUSES = ("To Do", "In Progress", "Done")


class BacklogMd:
    """The folder itself, or the folder that holds it."""

    name = "backlog.md"

    def recognises(self, path: Path) -> bool:
        """Tell whether there is a configuration with tasks beside it."""
        return _home(path) is not None

    def files(self, path: Path) -> tuple[Path, ...]:
        """Name the configuration and the pages, in the order in which they are read."""
        home = _home(path) or path
        return (*_configs(home), *_listing(home).files)

    def read(self, path: Path) -> Backlog:
        """Read all tasks; a page without front matter is none."""
        home = _home(path) or path
        listing = _listing(home)
        known = _known(_statuses({str(file): read_text(file) for file in _configs(home)}))
        issues: list[Issue] = []
        notices: list[Notice] = list(listing.notices)
        for file in listing.files:
            page = parse(read_text(file), path=str(file))
            if page.keys is None:
                notices += _skipped(page)
                continue
            found = issue_of(page, known=known)
            issues.append(found.issue)
            notices += [replace(notice, issue=found.issue.id) for notice in found.notices]
        spelled = settled(settled(unique(issues, key=str.casefold), key=str.casefold), key=_number)
        return Backlog(issues=with_dotted_parents(spelled), notices=tuple(notices))

    def close(self, files: Sequence[SourceFile], issue: IssueId) -> tuple[SourceFile, ...]:
        """Set the task's status to the last of the statuses of the configuration, where that is among `files`."""
        configs = {file.path: decode(file.content, path=file.path) for file in files if _is_config(file.path)}
        statuses = _statuses(configs)
        pages = [file for file in files if file.path.lower().endswith(".md")]
        changed = [closed_page(file, issue, word=statuses[-1], known=_known(statuses)) for file in pages]
        return tuple(file for file in changed if file is not None)


def _home(path: Path) -> Path | None:
    homes = [path if name == "." else path / name for name in _HOMES]
    return next((home for home in homes if _configs(home) and (home / "tasks").is_dir()), None)


def _configs(home: Path) -> list[Path]:
    return [home / name for name in _CONFIGS if (home / name).is_file()][:1]


def _is_config(path: str) -> bool:
    return PurePosixPath(path).name in _CONFIGS


def _listing(home: Path) -> Listing:
    found = [markdown_files(home / name, deep=False) for name in _FOLDERS if (home / name).is_dir()]
    files = tuple(file for listing in found for file in listing.files)
    return Listing(files=files, notices=tuple(notice for listing in found for notice in listing.notices))


def _statuses(configs: Mapping[str, str]) -> tuple[str, ...]:
    for path, text in configs.items():
        keys = parse_yaml(text, path=path)
        value = keys.get("statuses")
        if value is not None:
            return _texts(value, path=path)
    return _STATUSES


def _texts(value: Json, *, path: str) -> tuple[str, ...]:
    texts = [text_of(item) for item in value] if isinstance(value, list) else [None]
    if not texts or not all(texts):
        raise broken(path, 1, "statuses: wanted a list of texts", hint='write statuses: ["To Do", "Done"]')
    return tuple(text for text in texts if text)


def _known(statuses: Sequence[str]) -> Callable[[str], IssueState | None]:
    states = {plain(status): IssueState.OPEN for status in statuses}
    states[plain(statuses[-1])] = IssueState.CLOSED

    def known(word: str) -> IssueState | None:
        return states.get(plain(word)) or state_of(word)

    return known


def _skipped(page: Page) -> list[Notice]:
    if PurePosixPath(page.path).name.lower() == "readme.md":
        return []
    return [Notice(text=f"{page.path} has no front matter: not read as a task", origin=Origin(path=page.path))]


def _number(issue: str) -> str:
    """Leave out the prefix: projects changed it, and old references kept `task-3` for what is now BACK-3."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"^[a-z]+-(?=\d)", "", issue.casefold()))
