"""The sample project of the demo: a small Python package with tests, a backlog, and agents whose work is recorded."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from luminaguard.app.settings import FILE_NAME
from luminaguard.host.git import Git
from luminaguard.model.faults import HostFault, UserFault

DATA = Path(__file__).parent / "demo"
AUTHOR = ("Sample Author", "author@sample.invalid")
WITHOUT_MAKE = '\n# There is no make on this machine, so its target is spelled out.\n[checks]\nrun = ["{command}"]\n'


def make_sample(keep: Path | None) -> Path:
    """Make the sample repository in `keep`, or in a new temporary folder, with one commit on main; return its folder.

    Raises:
        UserFault: `keep` holds something already.
        HostFault: the folder cannot be written, or git does not work.
    """
    folder = _new_folder(keep)
    try:
        for path, content in _files().items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content, encoding="utf-8")
    except OSError as exc:
        raise HostFault(f"{folder}: cannot be written: {exc.strerror}", hint="name another with --keep DIR") from exc
    _commit(folder)
    return folder


def _new_folder(keep: Path | None) -> Path:
    try:
        if keep is None:
            return Path(tempfile.mkdtemp(prefix="luminaguard-demo-"))
        keep.mkdir(parents=True, exist_ok=True)
        is_empty = not any(keep.iterdir())
    except FileExistsError:
        raise UserFault(f"{keep} is a file", hint="name a new or an empty folder with --keep") from None
    except OSError as exc:
        raise HostFault(f"{keep or tempfile.gettempdir()}: no folder can be made: {exc.strerror}") from exc
    if not is_empty:
        raise UserFault(f"{keep} is not empty", hint="name a new or an empty folder with --keep")
    return keep.resolve()


def _files() -> Mapping[str, str]:
    files: dict[str, str] = dict(_read("sample"))
    for name in ("agent", "reviewer"):
        files[f"recorded/{name}.json"] = json.dumps(_read(name), indent=2) + "\n"
    if shutil.which("make") is None:
        recipe = files["Makefile"].splitlines()[1].strip().removeprefix("@")
        files[FILE_NAME] += WITHOUT_MAKE.format(command=recipe)
    return files


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def _commit(folder: Path) -> None:
    git = Git(folder)
    # Nothing of the user's own git takes part: no template with hooks, no ignored names, no signature.
    git.run_blocking("init", "--quiet", "--template=", "--initial-branch=main")
    for key, value in zip(("user.name", "user.email"), AUTHOR, strict=True):
        git.run_blocking("config", key, value)
    git.run_blocking("add", "--all", "--force")
    git.run_blocking("-c", "commit.gpgSign=false", "commit", "--quiet", "--message", "A package that counts words")
