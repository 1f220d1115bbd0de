"""What is shown and said in the local tracker beside its issues, where people read it through the forge's face.

Every call is one transaction, or a look and one transaction: threads and processes at once make nothing twice.
"""

from collections.abc import Callable
from functools import partial

from anyio import to_thread

from luminaguard.forges.base import CheckState, Comment, Fate, ForeignCheck, ReportPlace, ReviewNote, Rules
from luminaguard.forges.base import Remark as Said
from luminaguard.forges.local_remarks import OWNER, is_person, remarks_of
from luminaguard.forges.marks import comment_key, mark, marked, report_key
from luminaguard.forges.store import Comment as Stored
from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import US, Remark, Talk
from luminaguard.forges.verdicts import CheckRun, Status, StatusState, Verdicts
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.work import Finding

_STATUS: dict[CheckState, StatusState] = {"pending": "pending", "passed": "success", "failed": "failure"}
_STATE: dict[StatusState, CheckState] = {"pending": "pending", "success": "passed"}
WHERE = 'name an issue for them in luminaguard.toml: [report] issue = "12"'
_GOOD = ("success", "neutral", "skipped")


class LocalTalk:
    """`Reviewing`, `Checking`, `Commenting` and `Discussing` over the store; its work is done in threads.

    `ready` is called before an issue is looked up; it may block.
    """

    def __init__(
        self, store: TrackerStore, *, report: ReportPlace | None = None, ready: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._talk = Talk(store)
        self._verdicts = Verdicts(store)
        self._report = report or ReportPlace()
        self._ready = ready

    async def post_review(self, pull: str, note: ReviewNote) -> None:
        """Show a review, its findings on their lines; the same commit's a second time changes nothing."""
        review = partial(self._talk.review_once, author=US, head=note.commit, text=_text(note), remarks=_on_lines(note))
        await to_thread.run_sync(review, pull)

    async def fate(self, pull: str) -> Fate:
        """Tell what became of a pull request, by the face or by us."""
        return await to_thread.run_sync(self._talk.fate, pull)

    async def remarks(self, pull: str) -> tuple[Said, ...]:
        """List what people have said, oldest first."""
        return await to_thread.run_sync(self._remarks, pull)

    async def rules(self, target: str) -> Rules:  # noqa: ARG002 the protocol's; all branches are alike here
        """Demand nothing: what guards the target here is our own queue."""
        return Rules()

    async def report_check(self, commit: Oid, *, name: str, state: CheckState, text: str) -> None:
        """Show a verdict of ours; keyed by commit and name, the last one stands."""
        settle = partial(self._verdicts.settle, context=name, state=_STATUS[state], author=US, description=text)
        await to_thread.run_sync(settle, commit)

    async def checks(self, commit: Oid) -> tuple[ForeignCheck, ...]:
        """List the newest verdict of each check, by name; runs and statuses of one name are both told."""
        return await to_thread.run_sync(self._checks, commit)

    async def tell(self, issue: IssueId, text: str) -> None:
        """Show our one status comment of the issue."""
        await to_thread.run_sync(self._show, issue, text, "status")

    async def post_report(self, text: str, *, title: str) -> str:
        """Post a report as a comment on the issue that the settings name; returns where it stands."""
        if self._report.category is not None:
            raise UserFault("the local tracker has no discussions for reports", hint=WHERE)
        if self._report.issue is None:
            raise UserFault("there is no place for reports in the local tracker", hint=WHERE)
        body = f"## {title}\n\n{text}"
        found = await to_thread.run_sync(self._show, self._report.issue, body, report_key(title))
        return f"issue {found.subject}, comment {found.seq}"

    async def comments(self, issue: IssueId) -> tuple[Comment, ...]:
        """List all comments on an issue, oldest first."""
        return await to_thread.run_sync(self._comments, issue)

    async def comment(self, issue: IssueId, text: str, *, key: str) -> None:
        """Add a comment; the same key a second time adds none and changes nothing."""
        await to_thread.run_sync(self._comment, issue, text, comment_key(key))

    def _remarks(self, pull: str) -> tuple[Said, ...]:
        number = self._talk.number_of(pull)
        return remarks_of(self._talk.reviews(number), self._talk.comments(f"pull:{number}"))

    def _checks(self, commit: Oid) -> tuple[ForeignCheck, ...]:
        runs, statuses = self._verdicts.runs(commit), self._verdicts.standing(commit)
        found = [*map(_from_run, runs), *map(_from_status, statuses)]
        return tuple(sorted(found, key=lambda it: it.name))

    def _show(self, issue: str, text: str, key: str) -> Stored:
        return self._talk.show(self._subject(issue), marked(text, key), mark=mark(key), author=US)

    def _comment(self, issue: str, text: str, key: str) -> None:
        self._talk.say_once(self._subject(issue), marked(text, key), mark=mark(key), author=US)

    def _comments(self, issue: str) -> tuple[Comment, ...]:
        return tuple(map(_told, self._talk.comments(self._subject(issue))))

    def _subject(self, issue: str) -> IssueId:
        self._ready()
        return self._store.show(issue).id


def _text(note: ReviewNote) -> str:
    listed = "\n".join(f"- **{one.severity}** `{one.file}`: {one.text}" for one in note.findings if not one.line)
    return f"{note.text}\n\n{listed}" if listed else note.text


def _on_lines(note: ReviewNote) -> tuple[Remark, ...]:
    return tuple(_on_line(one) for one in note.findings if one.line)


def _on_line(finding: Finding) -> Remark:
    return Remark(path=finding.file, line=finding.line, text=f"**{finding.severity}**: {finding.text}")


def _from_run(run: CheckRun) -> ForeignCheck:
    state: CheckState = "pending"
    if run.said.get("status") == "completed":
        state = "passed" if run.said.get("conclusion") in _GOOD else "failed"
    url = run.said.get("details_url")
    return ForeignCheck(name=run.name, state=state, url=url if isinstance(url, str) else None)


def _from_status(status: Status) -> ForeignCheck:
    return ForeignCheck(name=status.context, state=_STATE.get(status.state, "failed"), url=status.url)


def _told(it: Stored) -> Comment:
    # A comment takes the owner's full token, or one that is a bot's by its name: agents have those.
    association = OWNER if is_person(it.author) else "none"
    return Comment(id=str(it.seq), author=it.author, association=association, text=it.text, time=it.time)
