"""The table of backlog formats, and the choice of one by what stands at a path."""

from pathlib import Path

from luminaguard.forges.backlog_md import BacklogMd
from luminaguard.forges.base import BacklogFormat
from luminaguard.forges.beads import Beads
from luminaguard.forges.github_export import GithubExport
from luminaguard.forges.markdown_folder import MarkdownFolder
from luminaguard.forges.taskmaster import Taskmaster
from luminaguard.model.faults import UserFault

FORMATS: tuple[BacklogFormat, ...] = (BacklogMd(), Beads(), GithubExport(), Taskmaster(), MarkdownFolder())
"""Tried in this order: the folder of Markdown is the one that takes nearly everything."""


def format_of(path: Path) -> BacklogFormat:
    """Find the format of the backlog at `path`.

    Raises:
        UserFault: nothing is there, or it is none of the formats.
    """
    if not _exists(path):
        raise UserFault(f"there is no backlog at {path}", hint="check [backlog] path, or give --backlog PATH")
    found = next((one for one in FORMATS if one.recognises(path)), None)
    if found is None:
        tried = ", ".join(one.name for one in FORMATS)
        hint = (
            "name a folder of Markdown files, a Backlog.md folder, a beads *.jsonl, "
            "the output of `gh issue list --json …` as *.json, or Taskmaster's tasks.json"
        )
        raise UserFault(f"{path} is not a backlog that can be read (tried: {tried})", hint=hint)
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
