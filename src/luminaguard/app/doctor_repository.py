"""What the doctor asks of the repository: git itself, the target, the working tree, hooks, and what a run left."""

from collections.abc import Iterator
from pathlib import Path

from luminaguard.app.doctor_check import Check, no, note, yes
from luminaguard.app.folders import slug
from luminaguard.app.project import OURS, Project
from luminaguard.app.steering import is_at_work
from luminaguard.app.working import is_unfinished
from luminaguard.host.detached import is_running
from luminaguard.host.git import Git, Places
from luminaguard.host.process import run_blocking
from luminaguard.host.trunk import AHEAD
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.ids import RunId

SHOWN = 5


def git_version() -> Iterator[Check]:
    """Tell which git there is; whether it is new enough is the repository's check."""
    yield yes("git", "version", run_blocking(("git", "version")).out.decode(errors="replace").strip())


def repository(places: Places, git: Git) -> Iterator[Check]:
    """Tell where the repository is and whether it has a commit."""
    is_bare = places.root == places.common
    yield yes("git", "repository", f"{places.root}{' (bare)' if is_bare else ''}")
    if git.run_blocking("rev-list", "--max-count=1", "--all").out:
        yield yes("git", "commit", "there is one")
    else:
        yield no("git", "commit", "there is no commit yet, so nothing to work on", "git add -A && git commit")


def target(project: Project) -> Iterator[Check]:
    """Tell whether the branch that changes land on is there, and who its commits will be by."""
    git, name = project.git, project.target
    tip = git.run_blocking("rev-parse", "--verify", "--quiet", f"refs/heads/{name}^{{commit}}", ok=(0, 1, 128))
    if tip.exit_code != 0:
        way_out = f"git branch {name}, or name another: [landing] target in luminaguard.toml, or --target"
        yield no("git", "target", f"there is no branch '{name}'", way_out)
        return
    yield yes("git", "target", f"changes land on '{name}', now at {tip.out.decode()[:12]}")
    by = "{} <{}>".format(*project.trunk.identity)
    if project.trunk.identity == OURS:
        way_out = "git config user.name NAME; git config user.email ADDRESS"
        yield note("git", "identity", f"git knows no name and address; commits will be by {by}", way_out)
    else:
        yield yes("git", "identity", f"commits will be by {by}")


def working_tree(project: Project) -> Iterator[Check]:
    """Tell whether the user's files are as committed, and what it means where they are not."""
    group, git = "working tree", project.git
    if project.places.root == project.places.common:
        yield yes(group, "clean", "a bare repository has none")
        return
    ran = git.run_blocking("status", "--porcelain=v1", "-z", "--no-renames")
    paths = [entry[3:] for entry in ran.out.decode(errors="replace").split("\0") if entry]
    if paths:
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        said = f"not as committed: {', '.join(paths[:SHOWN])}{more}. Your files are never overwritten: they follow a "
        said += "landing only where it does not touch these, else it waits beside the branch"
        yield note(group, "clean", said, "git commit, or git stash, before luminaguard run")
    else:
        yield yes(group, "clean", "nothing differs from the last commit, so it can follow every landing")
    yield from _pending(project)


def _pending(project: Project) -> Iterator[Check]:
    branch = f"refs/heads/{project.target}"
    ran = project.git.run_blocking("rev-list", "--count", f"{branch}..{AHEAD}", ok=(0, 128))
    count = int(ran.out) if ran.exit_code == 0 else 0
    if count:
        said = f"{count} landed beside '{project.target}', because your files were in the way ({AHEAD})"
        yield note("working tree", "pending", said, "luminaguard problems says what to type")


def hooks(git: Git, places: Places) -> Iterator[Check]:
    """Name the user's hooks: a landing runs none."""
    ran = run_blocking(("git", "-C", str(git.root), "config", "--type=path", "core.hooksPath"))
    said = ran.out.decode(errors="replace").strip()
    folder = git.root / said if said else places.common / "hooks"
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [entry.name for entry in entries if entry.suffix != ".sample" and entry.is_file()]
    if not names:
        yield yes("hooks", "hooks", "there are none")
        return
    way_out = "put what must hold into [checks] run"
    yield note("hooks", "hooks", f"{', '.join(names)} in {folder}: landings do not run them", way_out)


def run_at_work(project: Project) -> Iterator[Check]:
    """Tell whether a run is at work, and what one that is not left behind."""
    state = project.places.state
    if is_at_work(state / "lock"):
        pid = (state / "lock").read_text(encoding="ascii", errors="replace").strip() or "unknown"
        yield note("run", "at work", f"a run is at work (process {pid})", "luminaguard status --follow")
        return
    yield yes("run", "at work", "none")
    yield from _left(state)
    locks = project.trunk.lock_files()
    if locks:
        yield note("run", "locks", f"left behind: {', '.join(map(str, locks))}", "luminaguard run clears them")


def _left(state: Path) -> Iterator[Check]:
    if not (state / "journal.db").exists():
        return
    with SqliteJournal(state / "journal.db") as journal:
        runs = journal.runs()
        if not runs or not is_unfinished(journal.facts(runs[-1])):
            return
    yield note("run", "unfinished", f"{runs[-1]} is not over", "luminaguard run goes on with it")
    agents = _agents_running(state, runs[-1])
    if agents:
        said = f"{len(agents)} of the run still at work: #{', #'.join(agents)}"
        yield note("run", "agents", said, "luminaguard run attaches to them; luminaguard cancel stops them")


def _agents_running(state: Path, run: RunId) -> list[str]:
    places = sorted((state / "attempts" / slug(run)).glob("*/*.*/"))
    return [place.parent.name for place in places if is_running(place)]
