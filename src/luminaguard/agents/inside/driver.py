"""Running a driver to its end, whichever that is, with nothing left behind."""

import contextlib
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator

from luminaguard.agents.inside import processes, speech, task
from luminaguard.agents.inside.task import EndedError, StoppedError, Task


def run(drive: Callable[[Task, str], None]) -> int:
    """Run a driver to its end: 0 where the agent ended its turn, else 1 and a last line that says why."""
    try:
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        told, prompt = task.read_task(), sys.stdin.read()
        with task.prepared(told), nothing_left():
            drive(told, prompt)
    except EndedError as exc:
        speech.tell(f"ended: {exc}")
        return 1
    except StoppedError:
        speech.tell("ended: it was asked to stop")
        return 1
    except BrokenPipeError:
        return 1
    speech.end_line()
    return 0


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """End all that was started inside, and take note of its end.

    A request to stop may come at any moment, also while a program is being started and nobody else knows of it yet.
    """
    processes.adopt_orphans()
    try:
        yield
    finally:
        try:
            _be_deaf()
        finally:  # it may come just here, too
            processes.end_all()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _stop(_number: int, _frame: types.FrameType | None) -> None:
    _be_deaf()
    raise StoppedError


def _be_deaf() -> None:
    """Hear no more requests to stop: the way out must not be cut short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
