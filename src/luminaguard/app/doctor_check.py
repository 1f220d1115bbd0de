"""One precondition as the doctor tells it."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from luminaguard.model.faults import Fault, HostFault, Transient


class Ok(StrEnum):
    """Whether a precondition holds. A note is worth knowing and stops nothing."""

    YES = "yes"
    NO = "no"
    NOTE = "note"


class Who(StrEnum):
    """Who must act where a precondition does not hold."""

    USER = "user"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A precondition, what was found, and what to do about it. `group` is the heading that it stands under."""

    group: str
    name: str
    ok: Ok
    said: str
    way_out: str = ""
    who: Who = Who.USER


def yes(group: str, name: str, said: str) -> Check:
    """Say that a precondition holds."""
    return Check(group=group, name=name, ok=Ok.YES, said=said)


def note(group: str, name: str, said: str, way_out: str = "") -> Check:
    """Say something that is worth knowing and stops nothing."""
    return Check(group=group, name=name, ok=Ok.NOTE, said=said, way_out=way_out)


def no(group: str, name: str, said: str, way_out: str, *, who: Who = Who.USER) -> Check:
    """Say that a precondition does not hold."""
    return Check(group=group, name=name, ok=Ok.NO, said=said, way_out=way_out, who=who)


def refused(group: str, name: str, fault: Fault) -> Check:
    """Tell a fault as the check that it stopped."""
    who = Who.MACHINE if isinstance(fault, HostFault | Transient) else Who.USER
    return no(group, name, fault.message, fault.hint, who=who)


def looked(group: str, name: str, look: Callable[[], Iterable[Check]]) -> tuple[Check, ...]:
    """Look, and let what stands in the way be the answer: one broken thing hides no other."""
    try:
        return tuple(look())
    except Fault as fault:
        return (refused(group, name, fault),)
    except OSError as exc:
        return (_denied(group, name, exc),)


async def asked(group: str, name: str, ask: Callable[[], AsyncIterator[Check]]) -> tuple[Check, ...]:
    """Ask somebody who may not answer, and do with it as `looked` does."""
    found: list[Check] = []
    try:
        async for check in ask():
            found.append(check)  # noqa: PERF401 what was found before a fault stays
    except Fault as fault:
        found.append(refused(group, name, fault))
    except OSError as exc:
        found.append(_denied(group, name, exc))
    return tuple(found)


def _denied(group: str, name: str, exc: OSError) -> Check:
    return no(group, name, f"{exc.filename or name}: {exc.strerror}", "mend its permissions", who=Who.MACHINE)
