"""Guests for the suite: a root with a shell in it, and every driver that this machine can run."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from luminaguard.vm.apple import Apple
from luminaguard.vm.base import Hypervisor, VmConfig
from luminaguard.vm.firecracker import Firecracker
from luminaguard.vm.kept import Kept
from luminaguard.vm.qemu import Qemu

TOOLS = (
    "sh", "cat", "ls", "head", "tr", "wc", "sleep", "true", "false", "kill", "stat", "readlink", "mkdir", "ln", "touch",
    "chmod",
    "date", "mount", "od", "sha256sum", "env", "seq", "yes", "rm", "uname", "setsid", "dd", "pwd", "mkfifo", "bash",
)  # fmt: skip
DRIVERS: dict[str, Callable[[], Hypervisor]] = {
    "qemu": Qemu,
    "firecracker": Firecracker,
    "apple": Apple,
    "kept": lambda: Kept({"qemu": Qemu}),
}


def must_run(name: str) -> bool:
    return name in {"qemu", "kept"} and os.environ.get("LUMINAGUARD_MUST_RUN") == "1"


@pytest.fixture(scope="session")
def vm_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of our own: the suite starts from nothing, and leaves nothing."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


def copy_program(name: str, root: Path) -> None:
    found = shutil.which(name)
    assert found is not None, name
    program = Path(found).resolve()
    shutil.copy(program, root / "bin" / name)
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    for word in (word for word in said.split() if word.startswith("/")):
        target = root / word[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(Path(word).resolve(), target)


@pytest.fixture(scope="session")
def root_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("mkfs.erofs") is None:
        pytest.skip("mkfs.erofs is not installed: erofs-utils")
    root = tmp_path_factory.mktemp("root")
    for folder in ("bin", "etc", "root", "work"):
        (root / folder).mkdir()
    for name in TOOLS:
        copy_program(name, root)
    (root / "etc" / "release").write_text("as it was\n")
    image = root.parent / "root.erofs"
    subprocess.run(["mkfs.erofs", "--quiet", str(image), str(root)], check=True, capture_output=True)
    return image


# The guests of another process are QEMU's: the suite is run on them as well, but not with every commit.
@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow if name == "kept" else ()) for name in DRIVERS])
def driver(request: pytest.FixtureRequest, vm_cache: Path) -> Hypervisor:
    made = DRIVERS[request.param]()
    if (why := anyio.run(made.missing)) is not None:
        if must_run(request.param):
            pytest.fail(f"{request.param} must run here: {why}")
        pytest.skip(f"no {request.param}: {why}")
    return made


@pytest.fixture
def config(root_image: Path) -> VmConfig:
    # What "kept" begins outlives a test run that is killed: not for long.
    return VmConfig(root=root_image, boot_timeout_s=120.0, deadline_s=600.0)
