"""Where things of a run lie in the state folder."""

from pathlib import Path
from urllib.parse import quote

from luminaguard.model.ids import IssueId, RunId


def slug(text: str) -> str:
    """Spell a name so that it can be a folder and a part of a ref, and no two names are spelled alike."""
    return quote(text, safe="").replace("~", "%7E").replace(".", "%2E")


def attempts_folder(folder: Path, run: RunId, issue: IssueId) -> Path:
    """Name the folder of an issue's attempts."""
    return folder / slug(run) / slug(issue)
