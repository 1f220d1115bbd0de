"""Root images for the command line: built, named, listed, removed."""

from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import UserFault
from luminaguard.vm.image_names import find_image, forget_names, must_be_a_name, name_image, names
from luminaguard.vm.images import (
    Image,
    build_from_folder,
    build_from_tar,
    build_from_toolchain,
    default_cache,
    images,
    remove,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An image and its names."""

    image: Image
    names: tuple[str, ...]


def build(source: Path | None, *, toolchain: bool, name: str | None) -> Listed:
    """Build an image of this machine's toolchain, a folder or a tarball, and name it.

    Raises:
        UserFault: there is nothing to build from, it cannot be an image, or the name cannot be one.
        HostFault: a tool is missing, or the disk is short.
        Transient: what it is built from changed meanwhile.
    """
    if name is not None:
        must_be_a_name(name)  # before minutes of work
    cache = default_cache()
    image = _built(source, toolchain=toolchain, cache=cache)
    if name is not None:
        name_image(image, name, cache=cache)
    return _listed(image)


def _built(source: Path | None, *, toolchain: bool, cache: Path) -> Image:
    if toolchain == (source is not None):
        raise UserFault(
            "an image is built from one thing", hint="name a folder, a tarball, or --toolchain for this machine's own"
        )
    if source is None:
        return build_from_toolchain(cache=cache)
    if not source.exists():
        raise UserFault(f"there is no {source}", hint="name a folder or a tarball")
    return build_from_folder(source, cache=cache) if source.is_dir() else build_from_tar(source, cache=cache)


def all_images() -> tuple[Listed, ...]:
    """List the images, oldest first."""
    return tuple(_listed(image) for image in images(default_cache()))


def remove_image(said: str) -> Listed:
    """Remove the image of this name, or whose id begins so; guests that run on it keep it until they end.

    Raises:
        UserFault: there is none, or more than one.
    """
    cache = default_cache()
    found = _listed(find_image(said, cache=cache))
    remove(found.image.id, cache=cache)
    forget_names(found.image, cache=cache)
    return found


def image_path(said: str) -> Path:
    """Give the file of an image: a path, a name, or how an id begins.

    Raises:
        UserFault: there is none.
    """
    if "/" in said or Path(said).is_file():
        path = Path(said).absolute()
        if not path.is_file():
            raise UserFault(f"there is no image file {said}", hint="`luminaguard vm image list` shows the images")
        return path
    return find_image(said, cache=default_cache()).path


def _listed(image: Image) -> Listed:
    return Listed(image=image, names=tuple(name for name, named in names(default_cache()).items() if named == image.id))
