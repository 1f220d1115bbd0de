"""Endpoints of pull requests: list, open, edit, what they change, reviews, merging."""

from typing import Literal, cast

from luminaguard.forges.face.answers import Answer, RefusalError, invalid, not_found
from luminaguard.forges.face.calls import Call, is_number, pull_in
from luminaguard.forges.face.diffs import caught_up, commits_of, diff_of, file_shapes, start_of, work_of
from luminaguard.forges.face.merging import MergeForm, closed_by, merge
from luminaguard.forges.face.pull_shapes import commit, line_comment, pull, review, whole_pull
from luminaguard.forges.face.site import Site, View
from luminaguard.forges.records import PullRecord
from luminaguard.forges.talk import LineComment, PullForm, Remark, Review, ReviewState
from luminaguard.model.ids import Json, Oid

STATES: dict[str, ReviewState] = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
}


def listed(call: Call) -> Answer:
    """List pull requests, newest first."""
    view = caught_up(call.view())
    state, head, base = call.query.get("state", "open"), call.query.get("head"), call.query.get("base")
    if state not in ("open", "closed", "all"):
        raise invalid("PullRequest", "state")
    branch = None if head is None else _branch(view.site, head)
    found = [
        it
        for it in view.snapshot.pulls.values()
        if (state == "all" or it.is_open is (state == "open"))
        and (head is None or it.branch == branch)
        and (base is None or it.target == base)
    ]
    by = "updated" if call.query.get("sort") == "updated" else "created"
    descending = call.query.get("direction", "desc" if by == "created" else "asc") == "desc"
    found.sort(key=lambda it: (getattr(it, by), it.number), reverse=descending)
    tips = view.site.heads() if found else {}
    return call.paged(found, lambda it: pull(view, it, base=tips.get(it.target, it.head)))


def _branch(site: Site, head: str) -> str | None:
    """Take the branch out of "owner:branch"; None where it is somebody else's."""
    owner, colon, branch = head.partition(":")
    if not colon:
        return head
    return branch if owner.lower() == site.owner.lower() else None


def made(call: Call) -> Answer:
    """Open a pull request for a branch."""
    call.must_be_full()
    head, base = call.text("head", "PullRequest"), call.text("base", "PullRequest")
    title = call.text("title", "PullRequest")
    body, draft = call.text("body", "PullRequest", otherwise=""), call.body.get("draft") is True
    number = open_pull(call.view(), head=head, base=base, title=title, body=body, author=call.holder.login, draft=draft)
    view = call.view()
    it = pull_in(view, number)
    return Answer(body=whole_pull(view, it, work=work_of(view.site, it)), status=201)


def open_pull(view: View, *, head: str, base: str, title: str, body: str, author: str, draft: bool) -> int:
    """Open a pull request as GitHub would, or refuse in its words; return the number."""
    site = view.site
    branch, heads = _branch(site, head), site.heads()
    tip = None if branch is None else heads.get(branch)
    onto = heads.get(base)
    if branch is None or tip is None or branch == base:
        raise invalid("PullRequest", "head")
    if onto is None:
        raise invalid("PullRequest", "base")
    if any(it.is_open and it.branch == branch for it in view.snapshot.pulls.values()):
        message = f"A pull request already exists for {site.owner}:{branch}."
        raise invalid("PullRequest", "head", code="custom", message=message)
    if site.git.run_blocking("rev-list", "--count", "--max-count=1", f"{onto}..{tip}").out.strip() == b"0":
        raise invalid("PullRequest", "base", code="custom", message=f"No commits between {base} and {branch}")
    return site.talk.open_pull(
        PullForm(
            branch=branch,
            head=tip,
            target=base,
            issue=_issue(view, body),
            title=title,
            body=body,
            author=author,
            is_draft=draft,
        )
    )


def _issue(view: View, body: str) -> str:
    """Give the first issue that the body closes; "" where it closes none."""
    numbers = closed_by(body, repository=f"{view.site.owner}/{view.site.name}")
    return next((view.snapshot.id_of(it) for it in numbers if it in view.snapshot.issues), "")


def shown(call: Call) -> Answer:
    """Show a pull request, or its diff where that is asked for."""
    view = caught_up(call.view())
    it = pull_in(view, call.number())
    for word in ("diff", "patch"):
        if f".{word}" in call.accept:
            found = diff_of(view.site, it, as_patches=word == "patch")
            return Answer(body=found, media=f"application/vnd.github.{word}; charset=utf-8")
    return Answer(body=whole_pull(view, it, work=work_of(view.site, it)))


def edited(call: Call) -> Answer:
    """Change a pull request: what it says, where it goes, whether it is open."""
    call.must_be_full()
    it = pull_in(call.view(), call.number())
    changes = {key: call.text(key, "PullRequest", otherwise="") for key in ("title", "body") if key in call.body}
    if "base" in call.body:
        changes["target"] = call.text("base", "PullRequest")
        must_be_branch(call.site, changes["target"])
    call.site.talk.edit_pull(it.number, who=call.holder.login, **changes)
    if (state := call.body.get("state")) is not None:
        if state not in ("open", "closed"):
            raise invalid("PullRequest", "state")
        call.site.talk.turn_pull(it.number, is_closed=state == "closed", who=call.holder.login)
    return shown(call)


def must_be_branch(site: Site, base: str) -> None:
    """Refuse a base that is no branch."""
    if base not in site.heads():
        raise invalid("PullRequest", "base")


def files(call: Call) -> Answer:
    """List the files that a pull request changes."""
    view = caught_up(call.view())
    it = pull_in(view, call.number())
    work = work_of(view.site, it)
    start = start_of(view.site, it, work.base)
    found = file_shapes(view, it, work.files, start) if start is not None else []
    return call.paged(found, lambda shape: shape)


def commits(call: Call) -> Answer:
    """List the commits of a pull request."""
    view = caught_up(call.view())
    it = pull_in(view, call.number())
    base = view.site.commit(it.target)
    start = None if base is None else start_of(view.site, it, base)
    found = commits_of(view.site, f"{start}..{it.head}") if start is not None else []
    return call.paged(found, lambda said: commit(view, said))


def is_merged(call: Call) -> Answer:
    """Tell by the status whether it was merged."""
    if pull_in(call.view(), call.number()).merged is None:
        raise not_found()
    return Answer(status=204)


def merged(call: Call) -> Answer:
    """Merge a pull request."""
    call.must_be_full()
    view = caught_up(call.view())
    it = pull_in(view, call.number())
    form = MergeForm(
        style=style_of(call.text("merge_method", "PullRequest", otherwise="merge")),
        head=call.text("sha", "PullRequest", otherwise="") or None,
        title=call.text("commit_title", "PullRequest", otherwise="") or None,
        message=call.text("commit_message", "PullRequest") if call.body.get("commit_message") is not None else None,
    )
    oid = merge(call.site, it, form, who=call.holder.login)
    return Answer(body={"sha": oid, "merged": True, "message": "Pull Request successfully merged"})


def style_of(word: str) -> Literal["squash", "merge"]:
    """Take a way of merging."""
    if word == "squash":
        return "squash"
    if word != "merge":
        raise RefusalError(405, "Only squash and merge are allowed on this repository.")
    return "merge"


# Reviews


def reviews(call: Call) -> Answer:
    """List the reviews of a pull request, oldest first."""
    view = call.view()
    return call.paged(call.site.talk.reviews(pull_in(view, call.number()).number), lambda it: review(view, it))


def reviewed(call: Call) -> Answer:
    """Add a review, with its comments on lines."""
    call.must_be_full()
    view = caught_up(call.view())
    it = pull_in(view, call.number())
    event, body = call.text("event", "PullRequestReview"), call.text("body", "PullRequestReview", otherwise="")
    if event not in STATES:
        raise invalid("PullRequestReview", "event")
    if event != "APPROVE" and not body and not call.body.get("comments"):
        raise invalid("PullRequestReview", "body", code="missing_field")
    if event == "APPROVE" and it.author in (call.holder.login, None):
        raise RefusalError(422, "Review Can not approve your own pull request")
    found = call.site.talk.review(
        it.number,
        author=call.holder.login,
        state=STATES[event],
        text=body,
        head=_head(call, it),
        remarks=[_remark(said) for said in _comments(call)],
    )
    return Answer(body=review(view, found))


def _head(call: Call, it: PullRecord) -> Oid:
    """Take the commit that is meant; the branch's own where none is named."""
    named = call.text("commit_id", "PullRequestReview", otherwise="")
    if named and call.site.commit(named) is None:
        raise invalid("PullRequestReview", "commit_id")
    return Oid(named) if named else it.head


def _comments(call: Call) -> list[dict[str, Json]]:
    said = call.body.get("comments") or []
    if not isinstance(said, list) or not all(isinstance(it, dict) for it in said):
        raise invalid("PullRequestReview", "comments")
    return cast("list[dict[str, Json]]", said)


def _remark(said: dict[str, Json]) -> Remark:
    path, body, line, side = (said.get(key) for key in ("path", "body", "line", "side"))
    line = said.get("position") if line is None else line
    if not isinstance(path, str) or not path or not isinstance(body, str) or not body:
        raise invalid("PullRequestReviewComment", "path" if not isinstance(path, str) else "body")
    if side not in (None, "LEFT", "RIGHT"):
        raise invalid("PullRequestReviewComment", "side")
    if line is None:
        return Remark(path=path, text=body, side=str(side or "RIGHT"))
    if not is_number(line) or line < 1:
        raise invalid("PullRequestReviewComment", "line")
    return Remark(path=path, text=body, line=line, side=str(side or "RIGHT"))


def _review(call: Call, view: View) -> Review:
    wanted = call.number("review_id")
    found = [it for it in call.site.talk.reviews(pull_in(view, call.number()).number) if it.seq == wanted]
    if not found:
        raise not_found()
    return found[0]


def shown_review(call: Call) -> Answer:
    """Show a review."""
    view = call.view()
    return Answer(body=review(view, _review(call, view)))


def comments_of_review(call: Call) -> Answer:
    """List what a review says of lines."""
    view = call.view()
    it = _review(call, view)
    return call.paged(it.lines, lambda line: line_comment(view, it, line))


def line_comments(call: Call) -> Answer:
    """List what all reviews say of lines, oldest first."""
    view = call.view()
    found = _lines(view, pull_in(view, call.number()))
    return call.paged(found, lambda pair: line_comment(view, *pair))


def _lines(view: View, it: PullRecord) -> list[tuple[Review, LineComment]]:
    return [(one, line) for one in view.site.talk.reviews(it.number) for line in one.lines]


def line_commented(call: Call) -> Answer:
    """Comment on one line, or answer such a comment."""
    call.must_be_full()
    view = caught_up(call.view())
    it = pull_in(view, call.number())
    remark = _answer(call, _lines(view, it)) or _remark(dict(call.body))
    found = call.site.talk.review(
        it.number, author=call.holder.login, state="COMMENTED", text="", head=_head(call, it), remarks=[remark]
    )
    return Answer(body=line_comment(view, found, found.lines[0]), status=201)


def _answer(call: Call, lines: list[tuple[Review, LineComment]]) -> Remark | None:
    wanted = call.params.get("comment_id", call.body.get("in_reply_to"))
    if wanted is None:
        return None
    found = next((line for _, line in lines if str(line.seq) == str(wanted)), None)
    if found is None:
        raise not_found()
    said = call.text("body", "PullRequestReviewComment")
    return Remark(path=found.path, text=said, line=found.line, side=found.side, answers=found.seq)
