"""The demo: the whole chain on a sample project, and whether it did what it must."""

from collections.abc import Callable, Iterator
from pathlib import Path

from luminaguard.app.project import Project
from luminaguard.app.walls import walls_for
from luminaguard.model.faults import HostFault
from luminaguard.reports.standing import State
from luminaguard.reports.task import TaskView
from luminaguard.reports.view import RunView

LANDS = frozenset({"1", "2", "3", "4", "5", "6", "8", "9", "10"})
HELD = "7"
"""The issue that contradicts a test: whatever is tried, a person has to decide."""

CLASHING = ("4", "5")
RED_FIRST = "6"
IDLE_FIRST = "9"


def check_walls(project: Project) -> None:
    """Try the walls before anything is shown.

    Raises:
        HostFault: the isolation that was asked for does not work here; the hint says how to do without.
    """
    try:
        walls_for(project.settings.run.isolation, git=project.git, places=project.places)
    except HostFault as fault:
        hint = f"see the demo without walls: luminaguard demo --isolation none; or {fault.hint}"
        raise HostFault(fault.message, hint=hint) from fault


def differences(view: RunView) -> tuple[str, ...]:
    """Say what of the demo's run is not as it must be; nothing where all is."""
    return tuple(_differences(view))


def _differences(view: RunView) -> Iterator[str]:
    tasks = {str(task.id): task for task in view.tasks}
    for issue in sorted({HELD, *LANDS} - set(tasks), key=int):
        yield f"#{issue} is not in the run"
    for task in view.tasks:
        wanted = State.HELD if task.id == HELD else State.LANDED
        if task.state is not wanted:
            yield f"#{task.id} must be {wanted}, and is {task.state}: {task.why or 'no reason given'}"
        elif wanted is State.LANDED and not task.closed:
            yield f"#{task.id} has landed, and its issue is still open"
    for what, is_so in _MUST_HAPPEN.items():
        if not is_so(tasks):
            yield what
    verified = view.verified
    if not (verified.commits_on_target and verified.trees_tested and verified.issues_closed):
        yield f"the final verification found: {'; '.join(verified.details) or 'no proof'}"


def _was_tried_again(task: TaskView | None, why: str) -> bool:
    return task is not None and any(attempt.why == why for attempt in task.attempts)


_MUST_HAPPEN: dict[str, Callable[[dict[str, TaskView]], bool]] = {
    "#4 and #5 change the same lines, and neither was handed back": lambda tasks: any(
        _was_tried_again(tasks.get(issue), "conflict") for issue in CLASHING
    ),
    f"#{RED_FIRST} breaks a test at first, and was not sent back with the log": lambda tasks: _was_tried_again(
        tasks.get(RED_FIRST), "checks"
    ),
    f"#{IDLE_FIRST} does nothing at first, and was not tried again": lambda tasks: _was_tried_again(
        tasks.get(IDLE_FIRST), "retry"
    ),
}


def looks(folder: Path) -> tuple[str, ...]:
    """Give the commands that show what the demo left."""
    verbs = ("status", "problems", "report")
    return tuple(f"luminaguard --repo {folder} {verb}" for verb in verbs)
