"""What the doctor asks of the settings: the backlog, the checks, the agents, the reviewer, the forge."""

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from luminaguard.agents.base import Agent
from luminaguard.agents.presets import preset_of
from luminaguard.app.agents import agent_named
from luminaguard.app.detect import DetectedChecks
from luminaguard.app.detect_agents import detect_agents
from luminaguard.app.doctor_check import Check, Who, looked, no, note, refused, yes
from luminaguard.app.door import key_missing
from luminaguard.app.planning import Planned
from luminaguard.app.project import Project
from luminaguard.app.serving import INSTALL, missing_packages
from luminaguard.app.settings import FILE_NAME, agent_at_work
from luminaguard.app.settings_tables import AgentProtocol, AgentSettings, Settings
from luminaguard.app.tracking import way_to_add
from luminaguard.app.writing_back import files_written_to
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.host.process import run_blocking
from luminaguard.model.faults import Fault
from luminaguard.model.ids import Json
from luminaguard.model.isolation import Isolation
from luminaguard.reports.wording import counted
from luminaguard.sandboxes.base import Mount, Sandbox, Walls
from luminaguard.sandboxes.vm import MicroVm

SHOWN = 3
TREE_AT = Path("/workspace")
PROGRAMS = {AgentProtocol.CLAUDE: ("claude",), AgentProtocol.CODEX: ("codex",)}
"""The programs of protocols whose settings name none."""


def settings_file(settings: Settings) -> Iterator[Check]:
    """Tell whether there is a settings file; a broken one is a fault before this is asked."""
    if settings.path is None:
        yield note("settings", "file", f"no {FILE_NAME}: everything is default", "luminaguard init writes one")
    else:
        yield yes("settings", "file", f"{settings.path} is valid")


def backlog(project: Project, planned: Planned) -> Iterator[Check]:
    """Tell what the backlog holds; that it could be planned says that nothing goes round in a circle."""
    plan = planned.plan
    total, waves = len(planned.backlog.issues), counted(len(plan.waves), "wave")
    said = f"{len(plan.issues)} open of {counted(total, 'issue')} in {waves}, from {project.backlog}; no circles"
    if plan.issues:
        yield yes("backlog", "issues", said)
    else:
        yield note("backlog", "issues", f"no open issues, from {project.backlog}", way_to_add(project))
    for notice in plan.notices[:SHOWN]:
        yield note("backlog", "notice", notice.text)
    if len(plan.notices) > SHOWN:
        yield note("backlog", "notices", f"{len(plan.notices) - SHOWN} more", "luminaguard plan lists them")
    if isinstance(kept := project.forge, FileBacklog):
        yield from looked("backlog", "tracker", lambda: _kept(kept))
    if (files := files_written_to(project)) is not None:
        yield from looked("backlog", "write back", lambda: _write_back(files))


def _kept(files: FileBacklog) -> Iterator[Check]:
    files.check_kept()
    yield yes("backlog", "tracker", "the issues of the file are in it")


def _write_back(files: FileBacklog) -> Iterator[Check]:
    yield yes("backlog", "write back", f"{files.place} is inside the repository")


def forge(project: Project) -> Iterator[Check]:
    """Tell what the tracker lets us do; the local one asks nobody."""
    if (why := project.forge.missing()) is not None:
        yield no("forge", "tracker", why, "luminaguard issues shows more", who=Who.MACHINE)
    else:
        yield yes("forge", "tracker", f"{project.forge.name} can be read and written")
    yield yes("forge", "permissions", "not needed: local")
    yield yes("forge", "branch protection", "not needed: local")


def checks(found: DetectedChecks) -> Iterator[Check]:
    """Tell what judges a change."""
    if not found.run:
        way_out = f"set run = [...] under [checks] in {FILE_NAME}"
        yield note("checks", "commands", f"none: {found.why or 'none are set'}. Nothing but a review is asked", way_out)
        return
    yield yes("checks", "commands", f"{'; '.join(found.run)} ({found.why})")
    for command in found.run:
        program = _program(command)
        if program and not shutil.which(program) and not _is_builtin(program):
            yield note("checks", program, f"'{program}' of `{command}` is not on PATH", f"install {program}")


def _program(command: str) -> str | None:
    try:
        first = shlex.split(command)[:1]
    except ValueError:
        return None  # for the shell to complain about
    return first[0] if first and "/" not in first[0] and first[0].replace("-", "").replace("_", "").isalnum() else None


def _is_builtin(program: str) -> bool:
    return run_blocking(("sh", "-c", 'command -v "$0"', program)).exit_code == 0


def agents(settings: Settings, root: Path, sandbox: Sandbox | None) -> Iterator[Check]:
    """Tell of each agent whether it can be started, and whether one is at work that can be."""
    at_work = _at_work(settings)
    for name in settings.agents:
        yield _agent(settings, name, root, is_at_work=at_work == name)
    if isinstance(at_work, Fault):
        yield refused("agents", "at work", at_work)
    elif sandbox is not None:
        yield from _inside(settings, at_work, sandbox)
    if settings.gateway.forge and (missing := missing_packages()):
        yield no("agents", "forge", f"[gateway] forge needs {', '.join(missing)}", INSTALL)
    for found in detect_agents():
        if not any(_is_like(agent, found.table) for agent in settings.agents.values()):
            said = f"{found.name} can be used here, and no [agents] table names it"
            yield note("agents", found.name, said, "luminaguard init writes a table for it")


def _is_like(agent: AgentSettings, table: Mapping[str, Json]) -> bool:
    return agent.protocol == table["protocol"] and list(agent.argv) == table.get("argv", [])


def _at_work(settings: Settings) -> str | Fault:
    try:
        return agent_at_work(settings)
    except Fault as fault:
        return fault


def _agent(settings: Settings, name: str, root: Path, *, is_at_work: bool) -> Check:
    try:
        why = _named(settings, name, root).missing()
    except Fault as fault:
        return refused("agents", name, fault) if is_at_work else note("agents", name, fault.message, fault.hint)
    if why is None and (why := key_missing(settings, name)) is not None:
        way = "export it before you start; it goes to the gateway and into no sandbox"
        return no("agents", name, why, way, who=Who.USER) if is_at_work else note("agents", name, why, way)
    if why is None:
        return yes("agents", name, f"found{', and it is the one at work' if is_at_work else ''}")
    way_out = f"mend [agents.{name}] in {settings.path}"
    return no("agents", name, why, way_out, who=Who.MACHINE) if is_at_work else note("agents", name, why, way_out)


def _named(settings: Settings, name: str, root: Path) -> Agent:
    return agent_named(settings, name, root=root)


def _inside(settings: Settings, name: str, sandbox: Sandbox) -> Iterator[Check]:
    """Tell whether the agent's program can be seen behind the walls, by looking from there."""
    agent = settings.agents[name]
    argv = agent.argv or PROGRAMS.get(agent.protocol, ())
    if not argv or "/" in argv[0] or shutil.which(argv[0]) is None:
        return
    program = argv[0]
    if isinstance(sandbox, MicroVm) and not sandbox.has_own_image:
        return  # it shows what is on PATH, or is still to be made
    if sandbox.level is not Isolation.NONE and not _is_seen(program, sandbox):
        said = f"'{program}' is on PATH here, and cannot be run behind the walls"
        yield no("agents", "inside", said, "install it where the walls show it, such as /usr/local/bin")
    elif sandbox.level is not Isolation.NONE and agent.provider is None and preset_of(agent.argv) is not None:
        said = f"'{program}' calls a model, and [agents.{name}] names no provider: the walls let nothing out"
        yield no("agents", "network", said, f'write provider = "..." into [agents.{name}]; luminaguard init shows how')


def _is_seen(program: str, sandbox: Sandbox) -> bool:
    with tempfile.TemporaryDirectory(prefix="luminaguard-doctor-") as folder:
        tree = Mount(source=Path(folder), at=TREE_AT, writable=True)
        command = sandbox.enclose(("sh", "-c", 'command -v "$0"', program), Walls(tree=tree))
        return run_blocking(command.argv, command.cwd, command.env, timeout_s=20.0).exit_code == 0


def reviewer(settings: Settings, root: Path) -> Iterator[Check]:
    """Tell who reads the changes."""
    name = settings.review.agent
    if name is None:
        yield note("review", "agent", "none: the checks alone judge a change", "set [review] agent to have one read it")
        return
    if (why := _named(settings, name, root).missing()) is not None:
        yield no("review", "agent", why, f"mend [agents.{name}] in {settings.path}", who=Who.MACHINE)
        return
    yield yes("review", "agent", f"'{name}' reads each change; findings from '{settings.review.block_at}' on hold it")
