"""`luminaguard doctor`, without a face: every precondition of a run, each looked at whatever became of the others."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from luminaguard.app import doctor_forge, doctor_machine, doctor_repository, doctor_work
from luminaguard.app.doctor_check import Check, Ok, Who, looked, note, refused
from luminaguard.app.doctor_machine import Levels
from luminaguard.app.planning import make_plan
from luminaguard.app.project import Project, checks_of, main_branch, open_project
from luminaguard.app.settings import Settings, load
from luminaguard.app.walls import levels_in
from luminaguard.forges.gathering import each
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.store import TrackerStore
from luminaguard.host.git import Git, Places, find_repository
from luminaguard.model.faults import Fault, HostFault
from luminaguard.sandboxes.all import choose
from luminaguard.sandboxes.base import Sandbox

_Found = TypeVar("_Found")
UNKNOWN = "not looked at: {why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All checks, in the order in which a person reads them."""

    checks: tuple[Check, ...]

    @property
    def is_ready(self) -> bool:
        """Tell whether a run can begin."""
        return not self.must_act

    @property
    def must_act(self) -> frozenset[Who]:
        """Say who must act before a run can begin."""
        return frozenset(check.who for check in self.checks if check.ok is Ok.NO)


async def diagnose(repo: Path, *, backlog: Path | None = None, levels: Levels | None = None) -> Diagnosis:
    """Look at everything that a run in `repo` needs. No fault is raised: what stands in the way is in the checks.

    Args:
        repo: a folder in the repository.
        backlog: read the issues from here instead of the configured place.
        levels: the isolation levels to try; None for those that there are.
    """
    repo = repo.absolute()
    with tempfile.TemporaryDirectory(prefix="luminaguard-doctor-") as scratch:
        found = list(looked("git", "version", doctor_repository.git_version))
        places = _tried(lambda: find_repository(repo))
        if isinstance(places, Fault):
            found.append(refused("git", "repository", places))
            known = levels if levels is not None else levels_in(Path(scratch), Settings())
            found += looked("isolation", "levels", lambda: doctor_machine.isolation(known, None))
            return Diagnosis(checks=tuple(found))
        examined = _Examined(repo, places, backlog, levels)
        return Diagnosis(checks=(*found, *await examined.checks()))


def _tried(make: Callable[[], _Found]) -> _Found | Fault:
    try:
        return make()
    except Fault as fault:
        return fault


class _Examined:
    """A repository that is there. What is broken in its settings or its backlog is left out of what needs it."""

    def __init__(self, repo: Path, places: Places, backlog: Path | None, levels: Levels | None) -> None:
        self._repo = repo
        self._places = places
        self._backlog = backlog
        self._git = Git(places.root)
        self._settings = _tried(lambda: load(places.root))
        self._levels = levels if levels is not None else levels_in(places.state, self._known)
        self._ground = _tried(self._without_backlog)

    @property
    def _known(self) -> Settings:
        return Settings() if isinstance(self._settings, Fault) else self._settings

    def _without_backlog(self) -> Project:
        """Open the repository with a tracker that needs nothing, so that a broken backlog hides no other check."""
        store = TrackerStore(self._places.state / "tracker.db")
        return Project(
            places=self._places,
            settings=self._known,
            git=self._git,
            target=self._known.landing.target or main_branch(self._git),
            store=store,
            forge=LocalTracker(store),
            backlog="local",
        )

    async def checks(self) -> list[Check]:
        """Look at everything, group by group."""
        return [
            *self._of_git(),
            *self._of_settings(),
            *await self._of_backlog(),
            *await self._of_checks(),
            *self._of_agents(),
            *looked("isolation", "levels", lambda: doctor_machine.isolation(self._levels, self._known.run.isolation)),
            *looked("disk", "room", lambda: doctor_machine.room(self._places.state)),
            *self._of_run(),
        ]

    def _of_git(self) -> Iterator[Check]:
        ground = self._ground
        yield from looked("git", "repository", lambda: doctor_repository.repository(self._places, self._git))
        if isinstance(ground, Fault):
            yield refused("git", "target", ground)
            return
        yield from looked("git", "target", lambda: doctor_repository.target(ground))
        yield from looked("working tree", "clean", lambda: doctor_repository.working_tree(ground))
        yield from looked("hooks", "hooks", lambda: doctor_repository.hooks(self._git, self._places))

    def _of_settings(self) -> Iterator[Check]:
        settings = self._settings
        if isinstance(settings, Fault):
            yield refused("settings", "file", settings)
            return
        yield from looked("settings", "file", lambda: doctor_work.settings_file(settings))

    async def _of_backlog(self) -> list[Check]:
        if isinstance(self._settings, Fault) and self._backlog is None:
            return [note("backlog", "issues", UNKNOWN.format(why="the settings are broken"))]
        if isinstance(self._ground, Fault):
            return [note("backlog", "issues", UNKNOWN.format(why="there is no commit"))]
        project = _tried(lambda: open_project(self._repo, backlog=self._backlog))
        if isinstance(project, Fault):
            return [refused("backlog", "issues", project)]
        async with AsyncExitStack() as stack:
            if project.reached is not None:
                try:
                    await stack.enter_async_context(project.reached.open())
                except Fault as fault:
                    return [refused("forge", "reachable", fault)]
            found = await each((self._of_issues, self._of_forge), lambda look: look(project))
            return [check for checks in found for check in checks]

    async def _of_issues(self, project: Project) -> list[Check]:
        try:
            planned = await make_plan(project)
        except Fault as fault:
            return [refused("backlog", "issues", fault)]
        return list(doctor_work.backlog(project, planned))

    async def _of_forge(self, project: Project) -> list[Check]:
        here = () if project.reached else looked("forge", "tracker", lambda: doctor_work.forge(project))
        return [*here, *await doctor_forge.forge(project)]

    async def _of_checks(self) -> list[Check]:
        if isinstance(self._ground, Fault):
            return [note("checks", "commands", UNKNOWN.format(why="there is no commit"))]
        try:
            found = await checks_of(self._ground)
        except Fault as fault:
            return [refused("checks", "commands", fault)]
        return list(looked("checks", "commands", lambda: doctor_work.checks(found)))

    def _of_agents(self) -> Iterator[Check]:
        settings, root = self._settings, self._places.root
        if isinstance(settings, Fault):
            yield note("agents", "at work", UNKNOWN.format(why="the settings are broken"))
            return
        sandbox = self._sandbox(settings)
        yield from looked("agents", "at work", lambda: doctor_work.agents(settings, root, sandbox))
        yield from looked("review", "agent", lambda: doctor_work.reviewer(settings, root))

    def _sandbox(self, settings: Settings) -> Sandbox | None:
        try:
            return choose(settings.run.isolation or "auto", self._levels).sandbox
        except HostFault:
            return None  # told with the levels

    def _of_run(self) -> Iterator[Check]:
        ground = self._ground
        if not isinstance(ground, Fault):
            yield from looked("run", "at work", lambda: doctor_repository.run_at_work(ground))
