"""A folder of Markdown files, one issue each, with or without YAML front matter."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from luminaguard.forges.base import SourceFile
from luminaguard.forges.front_matter import parse
from luminaguard.forges.markdown_issue import closed_page, issue_of
from luminaguard.forges.reading import markdown_files, read_text
from luminaguard.forges.references import settled, unique
from luminaguard.forges.words import state_of
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Backlog, Issue, Notice

_NO_ISSUE = re.compile(r"(readme|index|changelog|contributing|license|agents|claude|_.*|.*template)\.md", re.IGNORECASE)
"""Names that are about the folder and not an issue, where they have no front matter."""


class MarkdownFolder:
    """Id from the front matter or the file's name, title from there or the first heading."""

    name = "markdown"

    def recognises(self, path: Path) -> bool:
        """Tell whether `path` is a folder with Markdown in it or one level below, or an empty one."""
        if not path.is_dir():
            return False
        has_pages = any(True for pattern in ("*.[mM][dD]", "*/*.[mM][dD]") for _ in path.glob(pattern))
        return has_pages or not any(_counts(entry) for entry in path.glob("*"))

    def files(self, path: Path) -> tuple[Path, ...]:
        """Name the files that are read."""
        return markdown_files(path, deep=True).files

    def read(self, path: Path) -> Backlog:
        """Read every page below the folder; folders with a dot are left out."""
        listing = markdown_files(path, deep=True)
        issues: list[Issue] = []
        notices: list[Notice] = list(listing.notices)
        for file in listing.files:
            page = parse(read_text(file), path=str(file))
            if page.keys is None and _NO_ISSUE.fullmatch(file.name):
                continue
            found = issue_of(page)
            issues.append(found.issue)
            notices += [replace(notice, issue=found.issue.id) for notice in found.notices]
        return Backlog(issues=settled(unique(issues, key=_same), key=_same), notices=tuple(notices))

    def close(self, files: Sequence[SourceFile], issue: IssueId) -> tuple[SourceFile, ...]:
        """Change the status of the issue's page; a page without front matter gets one."""
        pages = [file for file in files if file.path.lower().endswith(".md")]
        changed = [_closed(file, issue) for file in pages]
        return tuple(file for file in changed if file is not None)


def _counts(entry: Path) -> bool:
    """Tell whether a folder with this in it is not empty: git keeps one only with a .gitkeep or the like."""
    return entry.is_dir() or not entry.name.startswith(".")


def _closed(file: SourceFile, issue: IssueId) -> SourceFile | None:
    return closed_page(file, issue, word=None, known=state_of)


def _same(issue: str) -> str:
    """Bring ids together that people take for one: whatever their case, and with zeros in front."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", issue.casefold())
