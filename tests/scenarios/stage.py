"""A repository on which a run is played, and the questions that a test asks of it afterwards."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from luminaguard.forges.store import TrackerStore
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import Fact
from luminaguard.model.ids import IssueId

MUST_RUN = "LUMINAGUARD_MUST_RUN"
WAIT_S = 120.0
LOOK_S = 0.01
Ran = subprocess.CompletedProcess[str]
# Writes the issue's number into its own file and commits.
WORK = """
cat > "${PROMPT_TO:-/dev/null}"
echo "start $LUMINAGUARD_ISSUE.$LUMINAGUARD_ATTEMPT"
echo "$LUMINAGUARD_ATTEMPT" > "$LUMINAGUARD_ISSUE.txt"
git add -A; git commit -q -m "work" && echo "made $(git rev-parse HEAD)"
"""
# Waits in the middle until the test lets go.
WAIT = """
echo waiting
count=0
while [ ! -e "$LET_GO" ] && [ $count -lt 30000 ]; do sleep 0.02; count=$((count + 1)); done
"""


@dataclass(slots=True)
class Stage:
    """One repository. `agent` is the script of its only agent, run by sh; `checks` judge it."""

    root: Path
    isolation: str
    env: dict[str, str]
    vm_image: Path | None = None
    sessions: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def patience_s(self) -> float:
        return 600.0 if self.vm_image is None else 900.0

    @property
    def state(self) -> Path:
        return self.root / ".git/luminaguard"

    @property
    def tracker(self) -> TrackerStore:
        return TrackerStore(self.state / "tracker.db")

    # The repository.

    def git(self, *args: str, ok: Sequence[int] = (0,)) -> str:
        ran = subprocess.run(("git", "-C", str(self.root), *args), env=self.env, capture_output=True, check=False)
        assert ran.returncode in ok, (args, ran.stderr.decode(errors="replace"))
        return ran.stdout.decode(errors="surrogateescape").rstrip("\n")

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def commit(self, message: str, files: dict[str, str]) -> str:
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def set_up(self, *, agent: str, checks: Sequence[str] = ("true",), settings: str = "") -> None:
        """Commit the settings and the agent's script. `settings` may hold tables, after the keys of [run]."""
        text = f"""\
[run]
isolation = "{self.isolation}"
agent = "scripted"
{f'vm_image = "{self.vm_image}"' if self.vm_image else ""}

[agents.scripted]
protocol = "command"
argv = ["sh", "tools/agent.sh"]

[checks]
run = {json.dumps(list(checks))}

{settings}
"""
        self.commit("Set up", {"luminaguard.toml": text, "tools/agent.sh": agent})

    def issue(self, number: str, title: str, body: str = "", **said: str | tuple[str, ...]) -> None:
        self.tracker.add(title, id=number, body=body, **said)  # type: ignore[arg-type]

    def subjects(self, ref: str = "main") -> list[str]:
        """The first lines of a branch's first-parent history, oldest first."""
        return self.git("log", "--first-parent", "--reverse", "--format=%s", ref).splitlines()

    def show(self, path: str, ref: str = "main") -> str:
        return self.git("show", f"{ref}:{path}")

    # The command line.

    def say(self, *words: str) -> Ran:
        """Type a command and wait for its end."""
        argv = (sys.executable, "-m", "luminaguard", *words)
        return subprocess.run(
            argv, cwd=self.root, env=self.env, text=True, capture_output=True, check=False, timeout=self.patience_s
        )

    def run(self, *words: str) -> Ran:
        return self.say("run", *words)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a session that the test stops, or waits for."""
        argv = (sys.executable, "-m", "luminaguard", "run", *words)
        log = (self.root.parent / f"{self.root.name}-{len(self.sessions)}.log").open("w", encoding="utf-8")
        with log:
            session = subprocess.Popen(argv, cwd=self.root, env=self.env, text=True, stdout=log, stderr=log)
        self.sessions.append(session)
        return session

    def said(self, session: subprocess.Popen[str]) -> str:
        """What a session has printed so far."""
        name = f"{self.root.name}-{self.sessions.index(session)}.log"
        return (self.root.parent / name).read_text(encoding="utf-8")

    def report(self) -> dict[str, object]:
        told: dict[str, object] = json.loads(self.say("report", "--json").stdout)
        return told

    def issues_told(self) -> dict[str, dict[str, object]]:
        """The issues of `status --json`, by id."""
        return {issue["id"]: issue for issue in json.loads(self.say("status", "--json").stdout)["issues"]}

    # Facts.

    def facts(self, subject: str | None = None, *names: str) -> list[Fact]:
        """The facts of the last run, of a subject, of these names."""
        path = self.state / "journal.db"
        if not path.exists():
            return []
        with SqliteJournal(path) as journal:
            runs = journal.runs()
            facts = journal.facts(runs[-1]) if runs else ()
        return [fact for fact in facts if subject in (None, fact.subject) and (not names or fact.name in names)]

    def wait_for(self, what: str, is_so: Callable[[], object]) -> None:
        """Look until something is so."""
        until = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < until, (
                f"waited {WAIT_S:g} s: {what}; facts: {[it.kind for it in self.facts()]}; "
                f"sessions: {[(it.poll(), self.said(it)) for it in self.sessions]}"
            )
            time.sleep(LOOK_S)

    def wait_for_fact(self, subject: str, kind: str) -> None:
        """Wait until a fact is written down."""
        self.wait_for(f"{kind} of {subject}", lambda: any(fact.kind == kind for fact in self.facts(subject)))

    def wait_for_word(self, issue: str, word: str) -> None:
        """Wait until an issue's agent has said a line."""
        self.wait_for(f"{word!r} of {issue}", lambda: word in [line for log in self.logs(issue) for line in log])

    def logs(self, issue: str | None = None) -> list[list[str]]:
        """What the agents said, a list of lines for each start."""
        pattern = f"attempts/*/{issue or '*'}/*.*/log"
        return [path.read_text(encoding="utf-8", errors="replace").splitlines() for path in self.state.glob(pattern)]

    def prompt(self, issue: str, attempt: int) -> str:
        (path,) = self.state.glob(f"attempts/*/{issue}/{attempt}.prompt.md")
        return path.read_text(encoding="utf-8")

    def shims(self, issue: str) -> list[int]:
        """The process ids of the shims that an issue's agents run under."""
        found = [path.with_name("pid") for path in self.state.glob(f"attempts/*/{issue}/*.*/spec.json")]
        # Written by the one who forked the shim: that may be after the agent's first words, and be seen half done.
        self.wait_for("the shims' ids", lambda: all(it.exists() and it.read_text().endswith("\n") for it in found))
        return [int(path.read_text(encoding="ascii")) for path in found]

    # Processes.

    def alive(self) -> list[str]:
        """Every process that works in this repository, by its command line."""
        return [words for _, words in self.processes()]

    def processes(self) -> Iterator[tuple[int, str]]:
        """Every process that works in this repository: its id and its command line."""
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid() and self._is_ours(folder):
                with contextlib.suppress(OSError):
                    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    yield int(folder.name), words

    def _is_ours(self, process: Path) -> bool:
        # A shim shows in what it holds open, a program in its words or its environment. A dead one has no words.
        mark = os.fsencode(self.root)
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if words and (mark in words or mark in (process / "environ").read_bytes()):
                return True
            return bool(words) and any(mark in os.fsencode(fd.readlink()) for fd in (process / "fd").iterdir())
        return False

    def end_everything(self) -> None:
        """End what a failed test left running."""
        for session in self.sessions:
            if session.poll() is None:
                session.kill()
            session.wait()
        for _ in range(100):
            left = [pid for pid, _ in self.processes()]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(LOOK_S)

    # What must hold, whatever happened.

    def must_be_whole(self, *, landed: Sequence[str], closed: bool = True) -> None:
        """Every promise that a kill may break."""
        subjects = self.subjects()
        for issue in landed:
            here = [subject for subject in subjects if subject.endswith(f"(#{issue})")]
            assert len(here) == 1, (issue, subjects)
            assert len(self.facts(issue, "landed")) == 1
            if closed:
                assert self.tracker.show(IssueId(issue)).state == "closed"
        self._must_have_proof(landed)
        self._must_have_lost_nothing()
        self._must_be_tidy()

    def _must_have_proof(self, landed: Sequence[str]) -> None:
        green = {fact.data["tree"] for fact in self.facts(None, "checks") if fact.data["ok"]}
        for issue in landed:
            (fact,) = self.facts(issue, "landed")
            assert fact.data["tree"] in green
            assert self.git("rev-parse", f"{fact.data['commit']}^{{tree}}") == fact.data["tree"]

    def _must_have_lost_nothing(self) -> None:
        said = {line.split()[1] for log in self.logs() for line in log if line.startswith("made ")}
        kept = set(self.git("rev-list", "--all").splitlines())
        assert said <= kept, said - kept

    def _must_be_tidy(self) -> None:
        fsck = subprocess.run(
            ("git", "-C", str(self.root), "fsck", "--full", "--no-dangling"),
            env=self.env,
            capture_output=True,
            check=False,
        )
        assert (fsck.returncode, fsck.stdout) == (0, b""), fsck
        assert [str(path) for path in (self.root / ".git").rglob("*.lock")] == []
        assert self.git("status", "--porcelain") == ""
        assert self.git("rev-parse", "HEAD") == self.git("rev-parse", "main")
        self.wait_for(f"the end of {self.alive()}", lambda: not self.alive())
        left = [*self.state.glob("workspaces/*"), *self.state.glob("git-*"), *self.state.glob("snapshots/new-*")]
        assert left == []
        self._must_have_no_groups()

    def _must_have_no_groups(self) -> None:
        specs = [json.loads(path.read_bytes()) for path in self.state.rglob("spec.json")]
        groups = [Path(group["path"]) for spec in specs for group in spec["cgroups"]]
        self.wait_for("control groups to go", lambda: not any(group.exists() for group in groups))

    def starts(self, issue: str) -> int:
        """How often an issue's agents said that they start; as many facts must say so."""
        said = sum(line.startswith("start ") for log in self.logs(issue) for line in log)
        assert said <= len(self.facts(issue, "placed"))
        return said


def go(stage: Stage) -> Path:
    """The file that lets a waiting agent, or check, go on."""
    return stage.root.parent / "go"


def skip_or_fail(why: str) -> None:
    """Skip with the reason; where the machine is meant to be able, fail with it."""
    if os.environ.get(MUST_RUN):
        pytest.fail(f"{MUST_RUN} is set, but {why}")
    pytest.skip(why)


def new_stage(root: Path, *, isolation: str, vm_image: Path | None = None) -> Stage:
    """Make a repository with one commit, for a person who has a name and no other settings."""
    root.mkdir(parents=True)
    # The programs of the environment that the tests run in come first, so that a project's own tests find pytest.
    path = os.pathsep.join(dict.fromkeys((str(Path(sys.executable).parent), *os.environ["PATH"].split(os.pathsep))))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "LUMINAGUARD_"))}
    env = {**kept, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    stage = Stage(root=root, isolation=isolation, env=env, vm_image=vm_image)
    stage.git("init", "-q", "-b", "main")
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        stage.git("config", name, value)
    stage.commit("Begin", {"README.md": "hello\n"})
    return stage
