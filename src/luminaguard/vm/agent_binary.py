r"""The guest agent's program: built on first use from the source beside us, and kept by what it was built from.

By hand, the same on every machine, for a guest of either architecture:
    python -m ziglang cc -target x86_64-linux-musl -Os -static -s -o agent agent.c bound.c channel.c doors.c groups.c \
        inside.c mux.c programs.c system.c trees.c
"""

import functools
import hashlib
import importlib.util
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from luminaguard.host.process import run_blocking
from luminaguard.model.faults import HostFault
from luminaguard.vm.initrd import initrd
from luminaguard.vm.kernel import machine, write_whole
from luminaguard.vm.places import cache_folder

HERE = Path(__file__).parent / "guest"
SOURCES = (
    "agent.c", "bound.c", "channel.c", "doors.c", "groups.c", "inside.c", "mux.c", "programs.c", "system.c", "trees.c",
)  # fmt: skip
FLAGS = ("-Os", "-static", "-s")
BUILD_WITHIN_S = 600.0
HINT = "install a C compiler (gcc and libc6-dev, or musl-tools), or: pip install ziglang"


@functools.cache
def sources_digest() -> str:
    """Give the hash of all that the agent is built from."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(HERE.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def compilers(arch: str) -> Iterator[tuple[str, ...]]:
    """Give the commands that may build programs for Linux on `arch`, the best first."""
    # The system's compiler first: it takes a second, zig's first build takes minutes.
    if platform.system() == "Linux" and arch == machine():
        yield from ((found,) for name in ("musl-gcc", "gcc", "cc", "clang") if (found := shutil.which(name)))
    if importlib.util.find_spec("ziglang") is not None:
        yield (sys.executable, "-m", "ziglang", "cc", "-target", f"{arch}-linux-musl")


def missing_agent() -> str | None:
    """Say why the agent cannot be had here, or None."""
    if _cached(machine()).exists() or next(compilers(machine()), None):
        return None
    return f"there is no C compiler to build the guest agent with: {HINT}"


def _cached(arch: str) -> Path:
    return cache_folder("agents") / f"agent-{arch}-{sources_digest()[:16]}"


def agent_binary(arch: str | None = None) -> Path:
    """Give the agent's program, a static Linux executable.

    Raises:
        HostFault: no compiler could build it.
    """
    target = _cached(arch or machine())
    if target.exists():
        return target
    problems = []
    for compiler in compilers(arch or machine()):
        if (problem := _build(compiler, target)) is None:
            return target
        problems.append(f"{compiler[0]}: {problem}")
    raise HostFault(f"the guest agent cannot be built; {'; '.join(problems) or 'no compiler is installed'}", hint=HINT)


def _build(compiler: Sequence[str], target: Path) -> str | None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as folder:
        made = Path(folder) / "agent"
        ran = run_blocking(
            [*compiler, *FLAGS, "-o", str(made), *(str(HERE / name) for name in SOURCES)],
            None,
            None,
            b"",
            BUILD_WITHIN_S,
        )
        if ran.exit_code != 0:
            return ran.err.decode(errors="replace").strip()[-300:] or f"exit code {ran.exit_code}"
        made.chmod(0o555)
        made.replace(target)
    return None


def agent_initrd() -> Path:
    """Give the initial file system with the guest agent, made at the first call."""
    agent = agent_binary()
    made = cache_folder("agents") / f"{agent.name}.cpio"
    if not made.exists():
        write_whole(made, initrd(agent.read_bytes()))
    return made
