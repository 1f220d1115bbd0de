"""Run one program of this machine to its end, with a deadline, and leave nothing behind."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc

from luminaguard.model.faults import HostFault, Transient


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a program ended. Output is bytes: nobody promised UTF-8."""

    exit_code: int
    out: bytes
    err: bytes


async def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float = 300.0,
    pass_fds: Sequence[int] = (),
    stdin_fd: int | None = None,
) -> Ran:
    """Run a trusted program and return how it ended, whatever its exit code.

    `stdin_fd` is an open file to read from, in place of `stdin`.

    Raises:
        HostFault: the program is not there or cannot be started.
        Transient: it was still running at the deadline; it has been killed.
    """
    return await anyio.to_thread.run_sync(lambda: run_blocking(argv, cwd, env, stdin, timeout_s, pass_fds, stdin_fd))


def run_blocking(  # noqa: PLR0917 the order of `run`, for a thread's sake
    argv: Sequence[str],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float = 300.0,
    pass_fds: Sequence[int] = (),
    stdin_fd: int | None = None,
) -> Ran:
    """Do as `run` does, in the calling thread: for threads, and for commands that have no event loop."""
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=stdin_fd if stdin_fd is not None else subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            process_group=0,
        )
    except FileNotFoundError as exc:
        if cwd is not None and not cwd.is_dir():
            raise HostFault(f"the folder {cwd} is not there", hint="was it removed meanwhile?") from exc
        raise HostFault(f"the program '{argv[0]}' is not installed", hint=f"install {argv[0]}") from None
    except OSError as exc:
        raise HostFault(f"the program '{argv[0]}' cannot be started: {exc.strerror}") from exc
    with process:
        try:
            out, err = process.communicate(stdin or None, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise Transient(f"'{' '.join(argv[:3])} ...' was still running after {timeout_s:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return Ran(exit_code=process.returncode, out=out, err=err)
