"""What all tasks of a session share, and what each of them is about."""

from dataclasses import dataclass

import anyio

from luminaguard.engine.base import Drivers, Policy
from luminaguard.engine.book import Book
from luminaguard.engine.doorway import Doorway
from luminaguard.engine.lander import Lander
from luminaguard.engine.pulls import Pulls
from luminaguard.engine.slots import Movement, Slots
from luminaguard.model.ids import IssueId


@dataclass(slots=True, kw_only=True)
class Session:
    """What all tasks of a session share. `landed` has an event for every issue of the session."""

    drivers: Drivers
    policy: Policy
    book: Book
    lander: Lander
    pulls: Pulls
    doorway: Doorway
    slots: Slots
    movement: Movement
    landed: dict[IssueId, anyio.Event]
