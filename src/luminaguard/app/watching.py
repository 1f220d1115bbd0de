"""`luminaguard run --watch`, without a face: looks at the backlog from time to time, and lets the gate decide."""

from collections.abc import Callable, Sequence

import anyio

from luminaguard.app.planning import Planned, make_plan
from luminaguard.app.project import Project
from luminaguard.engine.run import Arrived
from luminaguard.model.faults import Fault, UserFault
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import IssueState


def check_gate(project: Project, issues: Sequence[str]) -> None:
    """Refuse to watch where anybody could set us to work.

    Raises:
        UserFault: issues are named, or the backlog is a forge's and no label is its gate.
    """
    if issues:
        raise UserFault(
            "--watch works on what appears, and issues are named",
            hint="leave them out, or leave --watch out",
        )
    if project.reached is not None and not project.settings.backlog.labels:
        raise UserFault(
            f"--watch would work on every issue that anybody opens at {project.backlog}",
            hint='let a label be the gate: labels = ["luminaguard"] under [backlog]',
        )


class Watch:
    """Waits for issues that are not known yet, or closed meanwhile. What cannot be planned now is told once."""

    def __init__(self, project: Project, noticed: Callable[[Sequence[str]], None]) -> None:
        self._project = project
        self._noticed = noticed
        self._known: frozenset[tuple[IssueId, bool]] = frozenset()
        self._told = ""

    def saw(self, planned: Planned) -> None:
        """Take what a session begins with for known."""
        self._known = _seen(planned)

    async def arrivals(self) -> Arrived:
        """Wait for the next change of the backlog."""
        planned = await self.until_new()
        return Arrived(plan=planned.plan, closed=closed_in(planned))

    async def until_new(self) -> Planned:
        """Look until there is something that was not there."""
        while True:
            await anyio.sleep(self._project.settings.run.poll_s)
            planned = await self._look()
            if planned is None:
                continue
            fresh, self._known = _seen(planned) - self._known, _seen(planned)
            if fresh:
                return planned

    async def _look(self) -> Planned | None:
        try:
            planned = await make_plan(self._project)
        except Fault as fault:
            if fault.message != self._told:
                self._noticed((f"the backlog cannot be planned now: {fault.message}",))
            self._told = fault.message
            return None
        self._told = ""
        return planned


def _seen(planned: Planned) -> frozenset[tuple[IssueId, bool]]:
    """Name what can be worked on, and what is closed: whatever comes to that is news."""
    return frozenset({(it.issue.id, True) for it in planned.plan.issues} | {(it, False) for it in closed_in(planned)})


def closed_in(planned: Planned) -> frozenset[IssueId]:
    """Name the issues that the tracker says are closed."""
    return frozenset(issue.id for issue in planned.backlog.issues if issue.state is IssueState.CLOSED)
