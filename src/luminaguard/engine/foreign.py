"""What the forge demands before a change lands, and merging by the forge where it takes no push."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio

from luminaguard.engine.base import Drivers, Policy
from luminaguard.engine.book import Book
from luminaguard.engine.pulls import Pulls
from luminaguard.forges.base import CheckState, ForeignCheck, Merged, NotMerged, Rules
from luminaguard.model.faults import Fault, HostFault, Transient
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.work import Candidate, Change, Conflict, Verdict

RULES_S = 300.0
CHECK = "luminaguard"
"""The name of our own verdict on a commit."""
LATE_LOOKS, LATE_S = 10, 1.0
GOOD: tuple[CheckState, ...] = ("failed", "pending", "passed")
STAGE = "luminaguard/candidate"
"""The branch that candidates are shown on, for the checks of others to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A change on its way: what would land, with which message and date. `is_wanted` is asked while we wait."""

    change: Change
    candidate: Candidate
    message: str
    when: float
    is_wanted: Callable[[], bool]


class Foreign:
    """The forge as a gate. Where there is none that has rules, all is allowed and nothing awaited."""

    def __init__(self, drivers: Drivers, policy: Policy, book: Book, pulls: Pulls) -> None:
        self._drivers = drivers
        self._policy = policy
        self._book = book
        self._pulls = pulls
        self._rules: tuple[float, Rules] | None = None

    async def _rules_now(self) -> Rules:
        checking = self._drivers.checking
        if checking is None:
            return Rules()
        now = time.monotonic()
        if self._rules is None or now - self._rules[0] > RULES_S:
            self._rules = (now, await checking.rules(self._policy.target))
        return self._rules[1]

    async def merges(self) -> bool:
        """Tell whether the forge merges, not we.

        Raises:
            HostFault: it must, and cannot.
        """
        rules = await self._rules_now()
        is_forced = not rules.pushable or rules.needs_pull or rules.has_queue
        if self._policy.by == "push" or (self._policy.by == "auto" and not is_forced):
            return False
        if self._drivers.merging is not None:
            return True
        why = f": {rules.why}" if rules.why else ""
        raise HostFault(
            f"'{self._policy.target}' takes no push{why}, and {self._forge} cannot merge",
            hint="allow the push, or set [landing] by = 'push' where the rules are wrong",
        )

    @property
    def _forge(self) -> str:
        return self._drivers.forge.name

    async def judge(self, passage: Passage) -> Verdict | None:
        """Await the checks that the target requires of others, on what would land; None where it requires none.

        Raises:
            HostFault: one has not answered in the time that there is.
        """
        rules = await self._rules_now()
        is_merging = await self.merges()
        if not rules.required and not is_merging:
            return None
        commit = await (self._brought_up(passage) if is_merging else self._staged(passage))
        checking = self._drivers.checking
        assert checking is not None
        if CHECK in rules.required:
            await checking.report_check(commit, name=CHECK, state="passed", text="our checks passed on this tree")
        names = tuple(name for name in rules.required if name != CHECK)
        return await self._answered(passage, commit, names) if names else None

    async def _staged(self, passage: Passage) -> Oid:
        await self._drivers.trunk.stage(passage.candidate.commit, branch=STAGE)
        return passage.candidate.commit

    async def _brought_up(self, passage: Passage) -> Oid:
        head = await self._head(passage)
        for _ in range(LATE_LOOKS):
            pull = await self._pulls.bring_up(passage.change, head)
            if pull.head in (None, head):
                break
            await anyio.sleep(LATE_S)  # a forge may take some seconds to see a push
        return head

    async def _head(self, passage: Passage) -> Oid:
        """Give a commit that the forge can only merge into the tree that we tested, while the target stands still."""
        trunk, change, base = self._drivers.trunk, passage.change, passage.candidate.base
        if await trunk.is_in(base, change.commit):
            return change.commit
        message = f"Merge {self._policy.target} into the work on {change.issue}"
        made = await trunk.compose(change.commit, onto=base, style="merge", message=message, when=passage.when)
        assert not isinstance(made, Conflict), "what was composed once composes again"
        return made.commit

    async def _answered(self, passage: Passage, commit: Oid, names: tuple[str, ...]) -> Verdict:
        checking = self._drivers.checking
        assert checking is not None
        waits = _Waits(self._policy, self._book, passage.change)
        while True:
            try:
                seen = await checking.checks(commit)
            except Transient as fault:
                await waits.once_more(f"waits for {self._forge}: {fault.message}", hint="see whether it answers")
                continue
            asked = [_asked_for(seen, name) for name in names]
            verdict = _verdict(asked, seconds=waits.seconds)
            if verdict is not None:
                data: dict[str, Json] = {"ok": verdict.ok, "why": verdict.why, "commit": commit}
                await waits.write("foreign", {**data, "seconds": verdict.seconds})
                return verdict
            missing = [one.name for one in asked if one.state != "passed"]
            why = f"required by the rules of '{self._policy.target}': {', '.join(missing)}, on {commit[:12]}"
            await waits.once_more(f"waits for checks {why}", hint=f"checks of others must run for pushes to '{STAGE}'")
            if not passage.is_wanted():
                return Verdict(ok=True, why="nobody wants it any more")

    async def merge(self, passage: Passage, *, style: str) -> Oid | None:
        """Have the forge merge; None where the target moved first, or nobody wants it any more.

        Raises:
            HostFault: it refuses, or has not merged in the time that there is.
        """
        merging, trunk = self._drivers.merging, self._drivers.trunk
        assert merging is not None
        head, pull = await self._head(passage), self._pulls.of(passage.change.issue)
        waits = _Waits(self._policy, self._book, passage.change)
        if await trunk.tip(is_fresh=True) != passage.candidate.base:
            return None
        while passage.is_wanted():
            try:
                outcome = await merging.merge(
                    pull, head=head, style="merge" if style == "merge" else "squash", message=passage.message
                )
            except Transient as fault:
                outcome = NotMerged(why=fault.message, is_waiting=True)
            if isinstance(outcome, Merged):
                return outcome.commit
            if not outcome.is_waiting:
                await self._check_refusal(outcome, passage)
                return None
            await waits.once_more(f"waits for {self._forge}: {outcome.why}", hint="see what it waits for there")
        await self.leave(passage.change.issue)
        return None

    async def leave(self, issue: IssueId) -> None:
        """Take back what the forge was asked to merge; where it keeps it, a person is told."""
        if self._drivers.merging is None:
            return
        try:
            await self._drivers.merging.leave(self._pulls.of(issue))
        except Fault as fault:
            why = f"{self._forge} may still merge it: {fault.message}"
            await self._book.add_next(issue, "waiting", len(self._book.all(issue, "attempt")), {"why": why})

    async def wants_approval(self) -> str:
        """Say that the target wants approvals on the pull request before the forge merges it, "" where it does not."""
        rules = await self._rules_now()
        if not rules.approvals or not await self.merges():
            return ""
        times = "an approval" if rules.approvals == 1 else f"{rules.approvals} approvals"
        return f"the checks passed; '{self._policy.target}' wants {times} on the pull request"

    async def _check_refusal(self, outcome: NotMerged, passage: Passage) -> None:
        """Let a refusal pass whose reason is that the target moved: it is tried again on the new one."""
        if await self._drivers.trunk.tip(is_fresh=True) != passage.candidate.base:
            return
        raise HostFault(f"{self._forge} does not merge it: {outcome.why}", hint="do what it asks for there")


class _Waits:
    """Waits from look to look, writes down what for, and ends it when the time is over."""

    def __init__(self, policy: Policy, book: Book, change: Change) -> None:
        self._policy = policy
        self._book = book
        self._change = change
        self._said = ""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._began

    async def once_more(self, why: str, *, hint: str) -> None:
        minutes = self._policy.wait_minutes
        if self.seconds > minutes * 60:
            raise HostFault(f"{why}; no answer in {minutes:g} minutes", hint=f"{hint}, or raise [landing] wait_minutes")
        if why != self._said:
            await self.write("waiting", {"why": why})
            self._said = why
        await anyio.sleep(self._policy.poll_s)

    async def write(self, name: str, data: Mapping[str, Json]) -> None:
        await self._book.add_next(self._change.issue, name, self._change.attempt, data)


def _asked_for(checks: Sequence[ForeignCheck], name: str) -> ForeignCheck:
    """Give the check of a required name; of several, which a pattern or two programs give, the one that is least good.

    Gitea requires patterns, such as "ci/*"; a name that is there as it stands is none.
    """
    pattern = re.escape(name).replace(r"\*", ".*")
    found = [one for one in checks if one.name == name] or [one for one in checks if re.fullmatch(pattern, one.name)]
    return min(found, key=lambda one: GOOD.index(one.state), default=ForeignCheck(name=name, state="pending"))


def _verdict(asked: Sequence[ForeignCheck], *, seconds: float) -> Verdict | None:
    failed = [one for one in asked if one.state == "failed"]
    if failed:
        where = "\n".join(f"{one.name}: {one.url or 'no address given'}" for one in failed)
        why = f"required by the target and failed: {', '.join(one.name for one in failed)}"
        return Verdict(ok=False, why=why, log=where, seconds=seconds)
    if all(one.state == "passed" for one in asked):
        return Verdict(ok=True, why=f"{len(asked)} required by the target passed", seconds=seconds)
    return None
