"""A person steers: each word becomes a fact that the session at work, or the next one, reads."""

import getpass
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from luminaguard.app.folders import attempts_folder
from luminaguard.host.detached import ask_to_stop
from luminaguard.host.git import Git, Places, find_repository
from luminaguard.host.locks import try_lock
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import RUN, Fact
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json, RunId, natural
from luminaguard.reports.standing import open_question


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Something that was written: in a file, or kept in a fact."""

    what: str
    path: Path | None = None
    kept: str = ""
    is_prompt: bool = False

    def text(self) -> str:
        """Read it, whatever bytes it holds."""
        return self.kept if self.path is None else self.path.read_bytes().decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOf:
    """An issue's work: from `base` to `commit`; landed, or on its branch."""

    base: str
    commit: str
    is_landed: bool


class LastRun:
    """The latest run of a repository, as its journal tells it. Use as a context manager."""

    def __init__(self, places: Places) -> None:
        """Open the journal.

        Raises:
            UserFault: there has been no run yet.
        """
        path = places.state / "journal.db"
        if not path.exists():
            raise no_run_yet()
        with ExitStack() as stack:
            self._journal = stack.enter_context(SqliteJournal(path))
            runs = self._journal.runs()
            if not runs:
                raise no_run_yet()
            stack.pop_all()
        self.run: RunId = runs[-1]
        self._places = places

    def __enter__(self) -> "LastRun":
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.__exit__()

    def facts(self, *, after: int = 0) -> tuple[Fact, ...]:
        """Read the run's facts."""
        return self._journal.facts(self.run, after=after)

    def is_at_work(self) -> bool:
        """Tell whether a session holds the orchestrator's lock now."""
        return is_at_work(self._places.state / "lock")

    def approve(self, issue: str) -> str:
        """Say yes to what an agent asks, let a change land, or an untrusted issue be worked on; return to what.

        Raises:
            UserFault: nothing of that issue waits for a yes.
        """
        facts = self._of(issue)
        if (question := open_question(facts)) is not None:
            self._answer(facts, question, ok=True)
            return f"its agent may: {question.data['what']}"
        asked, stopped = _last(facts, "approval_asked"), _last(facts, "held")
        answer = _last(facts, "approved", "rejected")
        if stopped and stopped.data.get("group") == "trust" and not _last(facts, "released"):
            self._add(facts, "released", {"by": getpass.getuser()}, is_counted=False)
            return "its author is trusted for this issue"
        if asked is None or (answer is not None and answer.seq > asked.seq) or _is_over(facts):
            raise UserFault(f"nothing of #{issue} waits for approval", hint="luminaguard problems")
        self._add(facts, "approved", {"by": getpass.getuser()})
        return "it may land"

    def reject(self, issue: str, why: str) -> str:
        """Say no to what an agent asks, or to a change; return to what.

        Raises:
            UserFault: it has landed, or nothing of it was ever made.
        """
        facts = self._unlanded(issue)
        if (question := open_question(facts)) is not None:
            self._answer(facts, question, ok=False)
            if why:
                self._add(facts, "said", {"by": getpass.getuser(), "text": why})
            return f"its agent may not: {question.data['what']}"
        if _last(facts, "attempt") is None:
            name = facts[0].subject
            raise UserFault(f"nothing was made for #{name} yet", hint=f"luminaguard cancel {name} takes it out")
        self._add(facts, "rejected", {"by": getpass.getuser(), "why": why})
        return "it does not land"

    def _answer(self, facts: Sequence[Fact], question: Fact, *, ok: bool) -> None:
        data: dict[str, Json] = {"ok": ok, "by": getpass.getuser()}
        self._journal.add_now(self.run, facts[0].subject, f"answered:{question.number}", data)

    def say(self, issue: str, words: str) -> str:
        """Leave words for an issue's agent; return who will hear them.

        Raises:
            UserFault: it has landed or is cancelled, so nobody would, or there are no words.
        """
        facts = self._unlanded(issue)
        if not words.strip():
            raise UserFault("there is nothing to say", hint="luminaguard say ISSUE TEXT")
        if _is_over(facts):
            raise UserFault(f"#{facts[0].subject} is cancelled", hint=f"luminaguard retry {facts[0].subject}")
        self._add(facts, "said", {"by": getpass.getuser(), "text": words})
        last = _last(facts, "placed", "agent")
        if last is not None and last.name == "placed":
            return "its agent hears it at its next turn, or the next attempt begins with it"
        return "its next attempt begins with it"

    def pause(self) -> None:
        """Let no agent start until `resume`; those at work go on, and so does what lands.

        Raises:
            UserFault: it is paused already.
        """
        if self._is_paused():
            raise UserFault("the run is paused already", hint="luminaguard resume")
        self._add_to_run("paused")

    def resume(self) -> None:
        """Let agents start again.

        Raises:
            UserFault: it is not paused.
        """
        if not self._is_paused():
            raise UserFault("the run is not paused", hint="luminaguard status")
        self._add_to_run("resumed")

    def _is_paused(self) -> bool:
        word = _last([fact for fact in self.facts() if fact.subject == RUN], "paused", "resumed")
        return word is not None and word.name == "paused"

    def _add_to_run(self, name: str) -> None:
        count = sum(1 for fact in self.facts() if fact.subject == RUN and fact.name == name) + 1
        self._journal.add_now(self.run, RUN, f"{name}:{count}", {"by": getpass.getuser()})

    def retry(self, issue: str, text: str) -> None:
        """Ask for another try at a held, failed or rejected issue.

        Raises:
            UserFault: nothing has stopped it.
        """
        facts = self._of(issue)
        held, landed = _last(facts, "held"), _last(facts, "landed")
        if landed and (held is None or held.seq < landed.seq):
            self._unlanded(issue)
        stop, lift = _last(facts, "held", "failed", "rejected", "cancelled"), _last(facts, "retry")
        if stop is None or (lift is not None and lift.seq > stop.seq):
            raise UserFault(f"#{issue} is not held, failed, rejected or cancelled", hint="luminaguard status")
        self._add(facts, "retry", {"by": getpass.getuser(), "text": text})

    def cancel(self, issue: str | None) -> tuple[str, ...]:
        """Stop an issue, or every issue that has not landed; return which."""
        if issue is not None:
            stopped = [self._unlanded(issue)]
        else:
            subjects = dict.fromkeys(fact.subject for fact in self.facts() if fact.subject != RUN)
            stopped = [facts for subject in subjects if not _is_over(facts := self._of(subject))]
        for facts in stopped:
            self._add(facts, "cancelled", {"by": getpass.getuser()})
        return tuple(facts[0].subject for facts in stopped)

    def stop_agents(self, issues: Sequence[str]) -> None:
        """Ask the agents of these issues to stop; a session at work does the same when it reads the fact."""
        for issue in issues:
            for place in self._attempts(IssueId(issue)).glob("*.*/"):
                ask_to_stop(place)

    def logs(self, issue: IssueId, *, attempt: int | None) -> tuple["Log", ...]:
        """List what was written for an issue, attempt by attempt: prompt, agent, then the checks that said no."""
        facts = self._of(issue)
        numbers = sorted({fact.number for fact in facts if fact.name == "attempt"})
        found: list[Log] = []
        for number in numbers if attempt is None else [attempt]:
            found += self._agent_logs(issue, number)
            for fact in facts:
                if fact.name in ("checks", "review") and fact.number == number and fact.data.get("log"):
                    found.append(
                        Log(what=f"attempt {number}: {fact.name}: {fact.data['why']}", kept=str(fact.data["log"]))
                    )
        return tuple(found)

    def _agent_logs(self, issue: IssueId, number: int) -> list["Log"]:
        folder = self._attempts(issue)
        prompt = folder / f"{number}.prompt.md"
        logs = [Log(what=f"attempt {number}: prompt", path=prompt, is_prompt=True)] if prompt.exists() else []
        starts = sorted(folder.glob(f"{number}.*/log"), key=lambda path: natural(path.parent.name))
        return logs + [Log(what=f"attempt {number}, start {n}: agent", path=path) for n, path in enumerate(starts, 1)]

    def live_logs(self, issue: IssueId) -> tuple[Path, ...]:
        """Name the logs of its agents, in the order in which they were begun."""
        return tuple(sorted(self._attempts(issue).glob("*.*/log"), key=lambda path: natural(path.parent.name)))

    def _attempts(self, issue: IssueId) -> Path:
        return attempts_folder(self._places.state / "attempts", self.run, issue)

    def diff(self, issue: str, *, is_stat: bool) -> str:
        """Show what an issue's work changes, as git shows it.

        Raises:
            UserFault: nothing was made for it yet.
        """
        work = self.work_of(issue)
        form = ("--stat",) if is_stat else ("--no-color", "--no-ext-diff", "--no-textconv")
        span = f"{work.base}{'..' if work.is_landed else '...'}{work.commit}"
        ran = Git(self._places.root).run_blocking("diff", *form, span)
        return ran.out.decode("utf-8", errors="replace")

    def work_of(self, issue: str) -> "WorkOf":
        """Name the commits between which an issue's work lies.

        Raises:
            UserFault: nothing was made for it yet.
        """
        facts = self._of(issue)
        if landed := _last(facts, "landed"):
            return WorkOf(base=str(landed.data["base"]), commit=str(landed.data["commit"]), is_landed=True)
        made = next((fact for fact in reversed(facts) if fact.name == "agent" and fact.data.get("commit")), None)
        if made is None:
            raise UserFault(
                f"nothing was made for #{facts[0].subject} yet", hint=f"luminaguard logs {facts[0].subject}"
            )
        opened = next(fact for fact in facts if fact.kind == f"attempt:{made.number}")
        return WorkOf(base=str(opened.data["target"]), commit=str(made.data["commit"]), is_landed=False)

    def _of(self, issue: str) -> list[Fact]:
        name = issue.removeprefix("#")
        facts = [fact for fact in self.facts() if fact.subject == name]
        if not facts or name == RUN:
            raise UserFault(f"the run {self.run} has no issue #{name}", hint="luminaguard status lists them")
        return facts

    def _unlanded(self, issue: str) -> list[Fact]:
        facts = self._of(issue)
        if _last(facts, "landed"):
            raise UserFault(f"#{facts[0].subject} has landed", hint="open a new issue to change it again")
        return facts

    def _add(self, facts: Sequence[Fact], name: str, data: Mapping[str, Json], *, is_counted: bool = True) -> None:
        count = sum(1 for fact in facts if fact.name == name) + 1
        self._journal.add_now(self.run, facts[0].subject, f"{name}:{count}" if is_counted else name, data)


def _is_over(facts: Sequence[Fact]) -> bool:
    word = _last(facts, "landed", "cancelled", "retry")
    return word is not None and word.name != "retry"


def last_run(repo: Path) -> LastRun:
    """Open the latest run of the repository that holds a folder.

    Raises:
        UserFault: there is no repository, or no run in it yet.
    """
    return LastRun(find_repository(repo))


def no_run_yet() -> UserFault:
    """Say that there is nothing to look at."""
    return UserFault("there has been no run in this repository yet", hint="luminaguard run")


def _last(facts: Sequence[Fact], *names: str) -> Fact | None:
    return next((fact for fact in reversed(facts) if fact.name in names), None)


def is_at_work(lock: Path) -> bool:
    """Tell whether somebody holds the orchestrator's lock."""
    if not lock.exists():
        return False
    fd = try_lock(lock)
    if fd is not None:
        os.close(fd)
    return fd is None
