"""Whatever happens, in whatever order: the promises of the merge queue hold."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.work import Candidate, Change, Conflict, Verdict
from luminaguard.queue.policy import (
    Accepted,
    Answer,
    Asking,
    BaseJudged,
    Clashed,
    Compose,
    Composed,
    Dropped,
    Enqueued,
    Event,
    Foundered,
    Judge,
    JudgeBase,
    Judged,
    Land,
    Landed,
    Moved,
    State,
    Withdrawn,
    decide,
)

ISSUES = [IssueId(name) for name in "abcde"]
ISSUE = st.sampled_from(ISSUES)


class World(RuleBasedStateMachine):
    """A target, checks and people around the queue: every legal answer may come, and arrivals at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.asked: Asking | None = None
        self.tip = 0
        self.made = 0
        self.composed: Candidate | None = None
        self.green: set[Oid] = set()
        self.queued: Counter[Change] = Counter()
        self.settled: Counter[Change] = Counter()
        self.ranks: dict[Change, tuple[float, int]] = {}
        self.withdrawn: set[Change] = set()
        self.landed: list[Candidate] = []

    def tell(self, event: Event) -> None:
        decision = decide(self.state, event)
        self.state = decision.state
        for action in decision.actions:
            if isinstance(action, Asking):
                assert self.asked is None, "only one thing is under way"
                self.asked = action
                self.expect(action)
                continue
            self.settled[action.change] += 1
            assert not isinstance(action, Accepted) or self.landed, "accepted and never landed"
            if isinstance(action, Dropped):
                assert action.change in self.withdrawn or isinstance(event, Foundered)

    def expect(self, action: Asking) -> None:
        match action:
            case Compose(changes=(change,)):
                waiting = [other for other in self.queued if not self.settled[other] and other != change]
                if self.state.testing is not None and self.composed is None:
                    first = min([change, *waiting], key=lambda one: self.ranks[one])
                    assert first == change, "by rank, then by arrival"
            case Judge(candidate=candidate):
                assert candidate == self.composed
            case JudgeBase(base=base):
                assert self.composed is not None
                assert base == self.composed.base
            case Land(candidate=candidate):
                assert candidate == self.composed, "only the latest candidate may land"
                assert candidate.tree in self.green, "nothing lands that was not judged green"

    def answer(self, event: Answer) -> None:
        assert self.asked is not None
        self.asked = None
        self.tell(event)

    @rule(issue=ISSUE, rank=st.sampled_from([0.0, 1.0, 2.0]))
    def enqueue(self, issue: IssueId, rank: float) -> None:
        if any(change.issue == issue and not self.settled[change] for change in self.queued):
            return  # a task waits for its change before it makes another
        number = len(self.queued)
        change = Change(issue=issue, attempt=number, commit=Oid(f"{number:040x}"), title="")
        self.queued[change] += 1
        self.ranks[change] = (-rank, number)
        if self.asked is None:
            self.composed = None
        self.tell(Enqueued(change=change, rank=rank))

    @rule(issue=ISSUE)
    def withdraw(self, issue: IssueId) -> None:
        self.withdrawn |= {it for it in self.queued if it.issue == issue and not self.settled[it]}
        self.tell(Withdrawn(issue=issue))

    @precondition(lambda self: isinstance(self.asked, Compose))
    @rule()
    def compose(self) -> None:
        self.made += 1
        made = Candidate(commit=Oid(f"c{self.made}"), tree=Oid(f"t{self.made}"), base=Oid(f"b{self.tip}"))
        self.composed = made
        self.answer(Composed(candidate=made))

    @precondition(lambda self: isinstance(self.asked, Compose))
    @rule()
    def clash(self) -> None:
        self.composed = None
        self.answer(Clashed(conflict=Conflict(base=Oid(f"b{self.tip}"), paths=(), hunks="")))

    @precondition(lambda self: isinstance(self.asked, Judge))
    @rule(ok=st.booleans())
    def judge(self, ok: bool) -> None:  # noqa: FBT001 hypothesis passes it by name
        assert self.composed is not None
        if ok:
            self.green.add(self.composed.tree)
        if self.state.is_withdrawn:
            self.composed = None
        self.answer(Judged(verdict=Verdict(ok=ok, why="")))

    @precondition(lambda self: isinstance(self.asked, JudgeBase))
    @rule(ok=st.booleans())
    def judge_base(self, ok: bool) -> None:  # noqa: FBT001 hypothesis passes it by name
        before = self.state.testing
        self.answer_settling(BaseJudged(verdict=Verdict(ok=ok, why="")))
        assert before is not None
        assert self.settled[before.change] == 1

    def answer_settling(self, event: Answer) -> None:
        self.composed = None
        self.answer(event)

    @precondition(lambda self: isinstance(self.asked, Land))
    @rule()
    def land(self) -> None:
        assert isinstance(self.asked, Land)
        self.tip += 1
        self.landed.append(self.asked.candidate)
        self.answer_settling(Landed())

    @precondition(lambda self: isinstance(self.asked, Land))
    @rule()
    def move(self) -> None:
        self.tip += 1
        is_dropped = self.state.is_withdrawn
        if is_dropped:
            self.composed = None
        self.answer(Moved())

    @precondition(lambda self: self.asked is not None)
    @rule()
    def founder(self) -> None:
        self.answer_settling(Foundered())

    @invariant()
    def each_is_settled_at_most_once(self) -> None:
        assert all(count == 1 for count in self.settled.values())

    @invariant()
    def it_is_never_stuck(self) -> None:
        open_ = [change for change in self.queued if not self.settled[change]]
        assert bool(open_) == (self.asked is not None)
        held = [entry.change for entry in self.state.waiting]
        held += [self.state.testing.change] if self.state.testing else []
        assert sorted(held, key=str) == sorted(open_, key=str)

    def teardown(self) -> None:
        for _ in range(1000):
            match self.asked:
                case None:
                    break
                case Compose():
                    self.compose()
                case Judge():
                    self.judge(ok=False)
                case JudgeBase():
                    self.judge_base(ok=True)
                case Land():
                    self.land()
        assert self.settled == self.queued, "every change is settled exactly once"


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=60, stateful_step_count=40)
