"""May a change go on? People's wishes, a review, a person's approval, then the queue; what says no sends it back."""

from luminaguard.engine.assignment import Assignment
from luminaguard.engine.lander import Blamed, Gone, Ticket
from luminaguard.engine.opening import write_closed
from luminaguard.engine.record import findings_json, text
from luminaguard.engine.remarks import remarks_text, take_approval, unanswered, wishes
from luminaguard.engine.results import GOES_ON, Again, HeldError, Hold, Over, Parked
from luminaguard.engine.session import Session
from luminaguard.engine.words import answer_to, is_over, is_stopped
from luminaguard.gates.base import Gate, Subject
from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json, Oid
from luminaguard.model.issue import IssueState
from luminaguard.model.work import Change, Conflict, Verdict

HUMAN = "the checks passed; landing.approve is 'human'"


class Gating:
    """The gates of one issue."""

    def __init__(self, session: Session, asked: Assignment, *, rank: float) -> None:
        self._session = session
        self._book = session.book
        self._asked = asked
        self._rank = rank
        self.id = asked.id

    def _fact(self, kind: str) -> Fact:
        found = self._book.get(self.id, kind)
        assert found is not None, kind
        return found

    async def let_through(self, change: Change, *, base: Oid) -> Again | Hold | Over | Parked:
        """Ask review and person, then land; say what came of it.

        Raises:
            HeldError: a budget is spent.
        """
        ticket = self._ticket(change)
        if (wished := self._wished()) is not None:
            return wished
        was_asked = self._book.get(self.id, f"approval_asked:{change.attempt}") is not None
        if was_asked and (others := await self._of_others(change)) is not None:
            return others
        if (sent_back := await self._review(change, ticket, base)) is not None:
            return sent_back
        why = HUMAN if self._session.policy.human else await self._session.lander.wants_approval()
        if why and (answer := await self._approval(change, ticket, why)) is not None:
            return answer
        if is_over(self._book, self.id) or is_stopped(self._book, self.id):
            return Parked()
        if (wished := self._wished()) is not None:
            return wished
        if (others := await self._of_others(change)) is not None:
            return others
        if await self._is_closed_there():
            return Parked()
        await self._book.add(self.id, f"queued:{change.attempt}", {"commit": change.commit})
        return await self._queue(ticket)

    def _wished(self) -> Again | None:
        """Send it back to the agent where people want something changed on the pull request."""
        if not wishes(self._book, self.id):
            return None
        remarks = unanswered(self._book, self.id)
        people = ", ".join(dict.fromkeys(text(remark.data, "author") for remark in remarks))
        what = f"{people} asked for changes on the pull request"
        return Again(why="remarks", what=what, feedback=remarks_text(remarks), has_work=True)

    async def _is_closed_there(self) -> bool:
        """Tell whether somebody has closed the issue meanwhile, and not because it landed; then nobody wants it."""
        issue = await self._session.drivers.forge.issue(self.id)
        if issue.state is not IssueState.CLOSED or await self._session.lander.landed(self.id) is not None:
            return False
        await write_closed(self._book, {self.id})
        return True

    async def _of_others(self, change: Change) -> Again | Hold | None:
        """Take in what people have put on the branch meanwhile: landed without it, the work would not be theirs."""
        branch, trunk = self._asked.branch, self._session.drivers.trunk
        found = await self._session.pulls.of_others(change)
        if found is None:
            return None
        if await trunk.is_in(change.commit, found):
            what = f"'{branch}' has commits of others: {found[:12]}"
            return Again(why="commits", what=what, feedback="", has_work=True, commit=found)
        why = f"'{branch}' has commits of others, {found[:12]}, that do not build upon {change.commit[:12]}"
        how = f"let it hold both, or merge it yourself; then: luminaguard retry {self.id}"
        return Hold(why=why, who="you", how=how, group=GOES_ON)

    def _ticket(self, change: Change) -> Ticket:
        # The commit's date is the time of a fact, so that a replay composes the very same commit.
        when = self._fact(f"agent:{change.attempt}").time
        return Ticket(
            change=change,
            issue=self._asked.issue,
            message=self._session.pulls.message(self._asked, closes=True),
            when=when,
            rank=self._rank,
        )

    async def _review(self, change: Change, ticket: Ticket, base: Oid) -> Again | Hold | None:
        review = self._session.drivers.review
        if review is None:
            return None
        kind = f"review:{change.attempt}"
        if self._book.get(self.id, kind) is None:
            # A review costs money: nobody is asked to read what the checks refuse.
            early = await self._early(change, ticket)
            if not isinstance(early, Verdict):
                return early
            await self._ask_review(review, kind, change, base, early)
        said = self._fact(kind).data
        if said["ok"]:
            return None
        what = f"the review holds it back: {text(said, 'why')}"
        return Again(why="review", what=what, feedback=text(said, "log"), has_work=True)

    async def _early(self, change: Change, ticket: Ticket) -> Verdict | Again | Hold:
        """Judge before somebody is asked; what is not green goes back at once."""
        early = await self._session.lander.judge_early(change, ticket)
        if isinstance(early, Blamed):
            return self._blamed(early)
        return early if isinstance(early, Verdict) and early.ok else self._sent_back(early)

    async def _ask_review(self, review: Gate, kind: str, change: Change, base: Oid, early: Verdict) -> None:
        doorway = self._session.doorway
        await doorway.until_open(self._session.movement)
        if (hold := doorway.stop(self.id)) is not None:
            raise HeldError(hold)
        subject = Subject(
            issue=self._asked.issue, commit=change.commit, base=base, attempt=change.attempt, checks=early
        )
        verdict = await review.judge(subject)
        data: dict[str, Json] = {
            "ok": verdict.ok,
            "why": verdict.why,
            "findings": findings_json(verdict.findings),
            "grade": verdict.grade,
            "seconds": verdict.seconds,
            "log": verdict.log,
            **doorway.spent(self.id, change.attempt, "review"),
        }
        await self._book.add(self.id, kind, data)

    async def _approval(self, change: Change, ticket: Ticket, why: str) -> Again | Hold | Parked | None:
        kind = f"approval_asked:{change.attempt}"
        if self._book.get(self.id, kind) is None:
            early = await self._early(change, ticket)
            if not isinstance(early, Verdict):
                return early
            await self._book.add(self.id, kind, {"why": why})
            await take_approval(self._book, self.id)
        asked = self._fact(kind)
        with self._session.movement.parked():
            while not (answer_to(self._book, asked) or is_over(self._book, self.id) or wishes(self._book, self.id)):
                await self._book.news(self.id)
        if (wished := self._wished()) is not None:
            return wished
        answer = answer_to(self._book, asked)
        return None if answer is not None and answer.name == "approved" else Parked()

    async def _queue(self, ticket: Ticket) -> Again | Hold | Over | Parked:
        result = await self._session.lander.submit(ticket)
        match result:
            case Fact():
                return Over()
            case Gone():
                return Parked()
            case Blamed():
                return self._blamed(result)
            case _:
                return self._sent_back(result)

    def _blamed(self, blamed: Blamed) -> Hold:
        why = f"'{self._session.policy.target}' itself fails: {blamed.base_verdict.why}"
        how = f"mend the target, then: luminaguard retry {self.id}"
        return Hold(why=why, who="you", how=how, group=GOES_ON)

    def _sent_back(self, result: Conflict | Verdict) -> Again:
        if isinstance(result, Conflict):
            what = f"it conflicts with '{self._session.policy.target}' in {', '.join(result.paths)}"
            feedback = f"{self._intents(result)}\n\n{result.hunks}"
            return Again(why="conflict", what=what, feedback=feedback, has_work=True)
        return Again(why="checks", what=result.why, feedback=f"{result.why}\n\n{result.log}", has_work=True)

    def _intents(self, conflict: Conflict) -> str:
        """Say what the other side wanted: the issues that landed on the same paths."""
        lines = []
        for subject in self._book.subjects():
            landed, planned = self._book.get(subject, "landed"), self._book.get(subject, "planned")
            if landed is None or planned is None:
                continue
            files = landed.data["files"]
            assert isinstance(files, list)
            touched = {str(it["path"]) for it in files if isinstance(it, dict)}
            if touched & set(conflict.paths):
                lines.append(f"#{subject} landed: {text(planned.data, 'title')}")
        return "\n".join(lines)
