"""Where things of a run lie in the state folder."""

import hashlib
from pathlib import Path
from urllib.parse import quote

from luminaguard.model.ids import IssueId, RunId

LONGEST = 80


def slug(text: str) -> str:
    """Spell a name so that it can be a folder and a part of a ref, and no two names are spelled alike."""
    name = text.encode(errors="surrogatepass")
    spelled = quote(name, safe="").replace("~", "%7E").replace(".", "%2E")
    if len(spelled) <= LONGEST:
        return spelled
    return f"{spelled[:LONGEST].rstrip('%')}+{hashlib.sha256(name).hexdigest()[:16]}"


def attempts_folder(folder: Path, run: RunId, issue: IssueId) -> Path:
    """Name the folder of an issue's attempts."""
    return folder / slug(run) / slug(issue)
