"""The demo: the whole chain on a sample project, and whether it did what it must."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from luminaguard.app.demo_sample import make_sample
from luminaguard.app.project import Project, open_project
from luminaguard.app.walls import walls_for
from luminaguard.model.faults import Fault, HostFault
from luminaguard.reports.standing import State
from luminaguard.reports.task import TaskView
from luminaguard.reports.view import RunView

LANDS = frozenset({"1", "2", "3", "4", "5", "6", "8", "9", "10"})
HELD = "7"
"""The issue that contradicts a test: whatever is tried, a person has to decide."""

CLASHING = ("4", "5")
RED_FIRST = "6"
IDLE_FIRST = "9"


def open_sample(keep: Path | None, *, flags: Mapping[str, str]) -> Project:
    """Make the sample repository, in `keep` or in a new temporary folder, and try the walls before anything is shown.

    Raises:
        UserFault: `keep` holds something already, or a flag is not what it must be.
        HostFault: the isolation that was asked for does not work here; the hint says how to do without.
    """
    folder = make_sample(keep)
    try:
        project = open_project(folder, flags=flags)
        _check_walls(project)
    except Fault:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return project


def _check_walls(project: Project) -> None:
    try:
        walls_for(project.settings, git=project.git, places=project.places)
    except HostFault as fault:
        hint = f"to see it without walls: luminaguard demo --isolation none; else {fault.hint}"
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
