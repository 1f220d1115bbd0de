"""Facts: what happened, written once and never changed. Everything that a person is told is made from these.

A fact is unique by (run, subject, kind). The subject is "run" or an issue id. A kind is a name, or a name and a number,
"agent:2", where the same thing can happen again. `KINDS` is the whole vocabulary, with the keys of each `data`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from luminaguard.model.ids import Json, RunId

RUN = "run"
"""The subject of facts about the run as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One row of the journal. `time` is seconds since the epoch, UTC."""

    seq: int
    time: float
    run: RunId
    subject: str
    kind: str
    data: Mapping[str, Json]

    @property
    def name(self) -> str:
        """The kind without its numbers: "agent" of "agent:2"."""
        return self.kind.partition(":")[0]

    @property
    def number(self) -> int:
        """The first number of the kind, 0 where it has none: 2 of "agent:2" and of "placed:2.1"."""
        head = self.kind.partition(":")[2].partition(".")[0]
        return int(head) if head.isdigit() else 0


KINDS: Mapping[str, str] = {
    # subject "run"
    "started": "target, base, slots, isolation, agent, backlog, checks: [command], checks_from, style, approve, "
    "review: the reviewing agent | null, forecast: {makespan_s, lower_bound_s, sequential_s}, notices: [text]",
    "session": "N. pid, isolation: the level in force, reason, asked: [id]",
    "session_ended": "N. outcome: done | held | interrupted, notes: [text] on what was counted, told: the seq "
    "up to which the forge knows",
    "base_checks": "N. the target itself was judged: ok, why, tree, seconds, cached, commands, log",
    "verified": "N, then N.M. commits_on_target, trees_tested, issues_closed: bool, details: [text], unproven: [id] "
    "that landed and is not proven to be on the target, why, how: what to type",
    "paused": "N. by",
    "resumed": "N. by",
    "limited": "N. a provider takes no calls for a while: provider, since, until, why",
    # subject: an issue, in the order in which a task goes
    "planned": "title, kind, needs: [id], wave, estimate_s, priority, risk, branch, deliverables: [text], issue: {...}",
    "ready": "",
    "attempt": "N. start: oid, target: oid, why: first | retry | limited | conflict | checks | review | "
    "remarks | commits | person, feedback: text, words: [text] that a person said, words_up_to, remarks_up_to",
    "placed": "N.K. agent start K of attempt N: place, isolation, agent",
    "agent": "N. ended: exited | timeout | lost | killed | taken_over (others made it), exit_code, seconds, "
    "commit: oid | null, problem: text | null, files: [{path, added, removed}], committed_for_agent: bool, log, "
    "input_tokens, output_tokens, usd",
    "asked": "ID. an agent wants to do what the policy leaves to a person: attempt, what",
    "again": "N. attempt N came to nothing and another will follow: why, what, feedback, commit: what others "
    "made of it",
    "published": "N. branch, commit, pull_request",
    "passed": "N. our checks passed, the pull request is a draft no more: pull_request",
    "remark": "N. a person said on the pull request: id, author, text, stand: said | changes | approved, path | null, "
    "line, time",
    "review": "N. ok, why, findings: [{severity, file, line, text}], grade, seconds, log, "
    "input_tokens, output_tokens, usd",
    "approval_asked": "N. candidate, why",
    "queued": "N. commit",
    "candidate": "N.M. try M in the queue of attempt N: commit, tree, base",
    "conflict": "N.M. base, paths: [path], hunks",
    "checks": "N.M. ok, why, tree, seconds, cached, commands: [{command, exit_code, seconds}], log, "
    "again: bool, the same tree once more, fingerprint: of the commands and the walls",
    "waiting": "N.M. for checks of others, or for the forge to merge: why",
    "foreign": "N.M. checks of others that the target requires answered: ok, why, commit, seconds",
    "landing": "N.M. intent: candidate, tree, base, by: push | forge",
    "landed": "commit, tree, base, files: [{path, added, removed}], checkouts: [text], attempt, by: push | forge",
    "closing": "intent: pull_request",
    "closed": "state, closed: bool, note: on the branch",
    "held": "N. why, who: who must act, how: what to type, group: approval | trust | work | review | budget | landing",
    "failed": "N. why, how",
    # subject: an issue, added by a person
    "approved": "N. by",
    "rejected": "N. by, why",
    "retry": "N. by, text",
    "cancelled": "N. by",
    "said": "N. by, text: for the agent at work, or the next one",
    "answered": "ID. ok: bool, by: the answer to `asked`",
    "released": "by: the author gate's hold is lifted",
}
