"""What a process says when it ends: the exit codes, and which error leads to which."""

from collections.abc import Iterable
from enum import IntEnum

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.ui.cli.printing import ReaderLeftError


class Exit(IntEnum):
    """The exit codes of every command: a promise."""

    DONE = 0
    HELD = 1
    USER = 2
    HOST = 3
    AGAIN = 4
    BUG = 70
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done, everything asked for landed",
    Exit.HELD: "done, but something is held, failed or rejected",
    Exit.USER: "you must change something",
    Exit.HOST: "this machine or its services must",
    Exit.AGAIN: "it may work if tried again",
    Exit.BUG: "a bug, with a report file",
    Exit.INTERRUPTED: "interrupted: work is kept, luminaguard run goes on",
}

KINDS = {
    Exit.USER: "user",
    Exit.HOST: "host",
    Exit.AGAIN: "transient",
    Exit.BUG: "bug",
    Exit.INTERRUPTED: "interrupted",
}
"""How JSON calls the errors."""

_WORST_FIRST = (Exit.BUG, Exit.INTERRUPTED, Exit.HOST, Exit.USER, Exit.AGAIN, Exit.HELD, Exit.DONE)


def exit_of(error: BaseException) -> Exit:
    """Tell which exit code a single error leads to."""
    match error:
        case UserFault():
            return Exit.USER
        case HostFault():
            return Exit.HOST
        case Transient():
            return Exit.AGAIN
        case KeyboardInterrupt() | ReaderLeftError():
            return Exit.INTERRUPTED
        case _:
            return Exit.BUG


def worst(exits: Iterable[Exit]) -> Exit:
    """Choose the code that a process ends with when several things went wrong."""
    return min(exits, key=_WORST_FIRST.index)


def single_errors(error: BaseException) -> tuple[BaseException, ...]:
    """Take task groups apart: the errors inside, in order; the same fault from several tasks once."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    found: dict[object, BaseException] = {}
    for member in error.exceptions:
        for single in single_errors(member):
            found.setdefault(_sameness(single), single)
    return tuple(found.values())


def _sameness(error: BaseException) -> object:
    if isinstance(error, Fault):
        return type(error), error.message, error.hint
    return id(error)
