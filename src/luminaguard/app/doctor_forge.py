"""What the doctor asks of a forge behind a network: who we are there, what we may do, what the target demands."""

from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType

from luminaguard.app.doctor_check import Check, asked, no, note, yes
from luminaguard.app.project import Project, RemoteForge
from luminaguard.app.settings_tables import BacklogSource, LandingBy
from luminaguard.forges.base import Lacking, Permission, Rules
from luminaguard.forges.gathering import each
from luminaguard.model.faults import HostFault
from luminaguard.reports.wording import counted

GROUP = "forge"
ANSWER_WITHIN_S = 60.0
LEAST: Mapping[BacklogSource, str] = MappingProxyType(
    {
        BacklogSource.GITHUB: "issues, pull requests, contents and statuses: write (a classic token: the scope repo)",
        BacklogSource.GITLAB: "the scope api, and the role Developer",
        BacklogSource.GITEA: "write:issue, write:repository and read:user",
    }
)
"""What a token must at least be allowed, as each forge calls it."""


async def forge(project: Project) -> list[Check]:
    """Look at the forge, and at the remote that git speaks with; one that does not answer hides no other."""
    asks: list[tuple[str, Callable[[], AsyncIterator[Check]]]] = []
    if (remote := project.reached) is not None:
        asks += [
            ("reachable", lambda: _account(project, remote)),
            ("permissions", lambda: _permissions(project, remote)),
            ("branch protection", lambda: _protection(project, remote)),
        ]
    if project.remote is not None:
        asks.append(("git", lambda: _git(project)))
    # All at once: a forge that does not answer is waited for as long as each of them tries again.
    found = await each(asks, lambda ask: asked(GROUP, *ask))
    return [check for checks in found for check in checks]


async def _account(project: Project, remote: RemoteForge) -> AsyncIterator[Check]:
    who = await remote.who()
    yield yes(GROUP, "reachable", f"{project.backlog} answers{f', and knows us as {who}' if who else ''}")


async def _permissions(project: Project, remote: RemoteForge) -> AsyncIterator[Check]:
    found = await remote.lacking()
    way_out = f"a token, or an App, needs at least {LEAST[project.settings.backlog.source]}"
    for permission in found.permissions:
        yield _lacks(permission, way_out)
    if found.unsure:
        yield note(GROUP, "permissions", found.unsure, way_out)
    if found == Lacking():
        yield yes(GROUP, "permissions", "all that a run needs are there")


def _lacks(permission: Permission, way_out: str) -> Check:
    said = f"lacking: {permission.why}"
    name = f"{permission.name}: {permission.level}"
    return no(GROUP, name, said, way_out) if permission.is_needed else note(GROUP, name, said, way_out)


async def _protection(project: Project, remote: RemoteForge) -> AsyncIterator[Check]:
    rules = await remote.rules(project.target)
    why = f" ({rules.why})" if rules.why else ""
    yield _landing(project, rules, f"{'takes' if rules.pushable else 'takes no'} pushes of ours{why}")
    for said in _demands(rules):
        yield note(GROUP, "demanded", said)


def _landing(project: Project, rules: Rules, found: str) -> Check:
    """Say what follows for landing from what the target takes and what [landing] by says."""
    name, by, said = "branch protection", project.settings.landing.by, f"'{project.target}' {found}"
    merges = f"{project.settings.backlog.source} merges what lands"
    if by is LandingBy.FORGE:
        return yes(GROUP, name, f'{said}; [landing] by = "forge": {merges}')
    if rules.pushable:
        return yes(GROUP, name, f"{said}: landings are pushed")
    if by is LandingBy.PUSH:
        return no(GROUP, name, f'{said}, and [landing] by = "push"', 'let us push there, or set [landing] by = "auto"')
    return note(GROUP, name, f"{said}: {merges}", "let us push there to land exactly the commits that were tested")


def _demands(rules: Rules) -> list[str]:
    said = []
    if rules.required:
        said.append(f"{counted(len(rules.required), 'check')} of the repository: {', '.join(rules.required)}")
    if rules.approvals:
        said.append(f"{counted(rules.approvals, 'approval')} by people, for each pull request")
    if rules.has_queue:
        said.append("changes go through the forge's own merge queue")
    return said


async def _git(project: Project) -> AsyncIterator[Check]:
    """Ask the remote for the target, then whether it would take a branch; nothing is sent there."""
    remote, ref = project.remote or "", f"refs/heads/{project.target}"
    env = await project.let_in()
    seen = await project.git.run("ls-remote", remote, ref, env=env, ok=(0, 1, 128), timeout_s=ANSWER_WITHIN_S)
    if seen.exit_code != 0:
        raise HostFault(f"git cannot read '{remote}': {_last_line(seen.err)}", hint=f"git ls-remote {remote} shows why")
    if not seen.out:
        yield no(GROUP, "git", f"'{remote}' has no branch '{project.target}'", f"git push {remote} {project.target}")
        return
    words = ("push", "--dry-run", "--no-verify", "--quiet", remote, f"{ref}:refs/heads/luminaguard/doctor")
    tried = await project.git.run(*words, env=env, ok=(0, 1, 128), timeout_s=ANSWER_WITHIN_S)
    if tried.exit_code == 0:
        yield yes(GROUP, "git", f"'{remote}' can be read, and lets us push branches")
    else:
        said = f"'{remote}' can be read, and takes no push: {_last_line(tried.err)}"
        yield no(GROUP, "git", said, "let the token, or the key, write the repository's contents")


def _last_line(said: bytes) -> str:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
