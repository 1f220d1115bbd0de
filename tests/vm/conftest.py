"""A cache of this run's own, and an image with a few tools, for the tests that keep guests."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from luminaguard.vm.qemu import Qemu

TOOLS = ("sh", "cat", "sleep", "kill", "head", "wc", "true", "sha256sum", "touch")


def must_have_qemu() -> None:
    why = anyio.run(Qemu().missing) or ("mkfs.erofs is not installed" if shutil.which("mkfs.erofs") is None else None)
    if why is None:
        return
    if os.environ.get("LUMINAGUARD_MUST_RUN") == "1":
        pytest.fail(f"QEMU must run here: {why}")
    pytest.skip(why)


@pytest.fixture(scope="module")
def guests_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that a module's tests share: the template is made once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        must_have_qemu()
        yield folder


@pytest.fixture(scope="module")
def tools_image(guests_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    for name in TOOLS:
        program = Path(str(shutil.which(name))).resolve()
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
        wanted = {f"/bin/{name}": program, **{word: Path(word) for word in said.split() if word[0] == "/"}}
        for inside, source in wanted.items():
            target = folder / "tree" / inside[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source.resolve(), target)
    image = folder / "tools.erofs"
    subprocess.run(["mkfs.erofs", "--quiet", str(image), str(folder / "tree")], check=True, capture_output=True)
    return image


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lg-mux-", dir="/tmp") as name:  # the paths of sockets are short
        yield Path(name)
