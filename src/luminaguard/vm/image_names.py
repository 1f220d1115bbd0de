"""Names of root images: a file for each in the images' folder, with the id of what it names."""

import re
from collections.abc import Mapping
from pathlib import Path

from luminaguard.model.faults import UserFault
from luminaguard.vm.images import Image, images
from luminaguard.vm.kernel import write_whole

NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID = re.compile(r"[0-9a-f]{6,64}")
LIST = "`luminaguard vm image list` shows them"


def names(cache: Path) -> Mapping[str, str]:
    """Give name -> id of all that have one."""
    return {path.name: path.read_text(encoding="ascii").strip() for path in sorted(_home(cache).glob("[!.]*"))}


def must_be_a_name(name: str) -> None:
    """Refuse what cannot name an image.

    Raises:
        UserFault: it cannot; an id is no name.
    """
    if not NAMES.fullmatch(name) or ID.fullmatch(name):
        raise UserFault(
            f"'{name}' cannot be the name of an image",
            hint="take letters, digits and . _ -, at most 64, and not what looks like an id",
        )


def name_image(image: Image, name: str, *, cache: Path) -> None:
    """Give an image a name, which it takes from another that had it.

    Raises:
        UserFault: it cannot be one.
    """
    must_be_a_name(name)
    write_whole(_home(cache) / name, image.id.encode(), mode=0o600)


def find_image(said: str, *, cache: Path) -> Image:
    """Find an image by its name, or by how its id begins.

    Raises:
        UserFault: there is none, or more than one.
    """
    wanted = names(cache).get(said, said)
    found = [image for image in images(cache) if wanted and image.id.startswith(wanted)]
    if not found:
        raise UserFault(f"there is no image '{said}'", hint=f"{LIST}; `luminaguard vm image build` makes one")
    if len(found) > 1:
        raise UserFault(f"more than one image has an id that begins with '{said}'", hint=LIST)
    return found[0]


def forget_names(image: Image, *, cache: Path) -> None:
    """Remove all names of an image."""
    for name, named in names(cache).items():
        if named == image.id:
            (_home(cache) / name).unlink(missing_ok=True)


def _home(cache: Path) -> Path:
    folder = cache / "names"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
