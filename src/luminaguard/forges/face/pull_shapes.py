"""Pull requests, reviews, verdicts and commits as GitHub's REST shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from luminaguard.forges.face.names import PULLS_FROM, iso, node_id
from luminaguard.forges.face.shapes import (
    Shape,
    association,
    labels,
    login_in,
    repository,
    small_repository,
    user,
)
from luminaguard.forges.face.site import View, login_of
from luminaguard.forges.records import PullRecord
from luminaguard.forges.talk import LineComment, Review
from luminaguard.forges.verdicts import CheckRun, Status
from luminaguard.model.ids import Json, Oid
from luminaguard.model.work import FileChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What git says of a pull request: whether it fits the target (None: nobody knows), and what it changes."""

    base: Oid
    fits: bool | None
    commits: int
    files: tuple[FileChange, ...]


def pull(view: View, it: PullRecord, *, base: Oid) -> Shape:
    """Show a pull request as lists hold it."""
    urls = view.urls
    here, page = f"{urls.repo}/pulls/{it.number}", f"{urls.page}/pull/{it.number}"
    is_merged = it.merged is not None and it.closed is not None
    return {
        "id": PULLS_FROM + it.number,
        "node_id": node_id("PR", it.number),
        "number": it.number,
        "state": "open" if it.is_open else "closed",
        "title": it.title,
        "body": it.body,
        **_links(view, it),
        "html_url": page,
        "user": user(urls, login_in(view, it.author)),
        "author_association": association(view, it.author),
        "labels": _labels(view, it.labels),
        "milestone": None,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "locked": False,
        "active_lock_reason": None,
        "draft": it.is_draft,
        "auto_merge": None,
        "created_at": iso(it.created),
        "updated_at": iso(it.updated),
        "closed_at": None if it.closed is None else iso(it.closed),
        "merged_at": iso(it.closed or 0) if is_merged else None,
        "merge_commit_sha": it.merged,
        "head": _end(view, it.branch, it.head),
        "base": _end(view, it.target, base),
        "_links": {name: {"href": address} for name, address in _hrefs(here, page, view, it).items()},
    }


def whole_pull(view: View, it: PullRecord, *, work: Work) -> Shape:
    """Show a pull request by itself, with what git says of it."""
    merged_by = None if it.merged is None or it.turn is None else user(view.urls, login_in(view, it.turn.who))
    reviews = view.site.talk.reviews(it.number)
    return {
        **pull(view, it, base=work.base),
        "merged": it.merged is not None,
        "merged_by": merged_by,
        "mergeable": work.fits,
        "rebaseable": False,
        "mergeable_state": mergeable_state(it, work),
        "comments": it.comments,
        "review_comments": sum(len(review.lines) for review in reviews),
        "maintainer_can_modify": False,
        "commits": work.commits,
        "additions": sum(file.added for file in work.files),
        "deletions": sum(file.removed for file in work.files),
        "changed_files": len(work.files),
    }


def mergeable_state(it: PullRecord, work: Work) -> str:
    """Say in GitHub's word how a pull request stands."""
    if not it.is_open or work.fits is None:
        return "unknown"
    return "dirty" if not work.fits else "draft" if it.is_draft else "clean"


def _labels(view: View, names: Sequence[str]) -> list[Json]:
    # GitHub's description of pull requests in lists knows no label without a description.
    return [{**it, "description": it["description"] or ""} for it in labels(view, names) if isinstance(it, dict)]


def _links(view: View, it: PullRecord) -> Shape:
    urls = view.urls
    here, page = f"{urls.repo}/pulls/{it.number}", f"{urls.page}/pull/{it.number}"
    return {
        "url": here,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "issue_url": f"{urls.repo}/issues/{it.number}",
        "commits_url": f"{here}/commits",
        "review_comments_url": f"{here}/comments",
        "review_comment_url": f"{urls.repo}/pulls/comments{{/number}}",
        "comments_url": f"{urls.repo}/issues/{it.number}/comments",
        "statuses_url": f"{urls.repo}/statuses/{it.head}",
    }


def _hrefs(here: str, page: str, view: View, it: PullRecord) -> dict[str, str]:
    links = {name.removesuffix("_url"): str(address) for name, address in _links(view, it).items()}
    return {"self": here, "html": page, **{name: links[name] for name in links if name not in ("url", "diff", "patch")}}


def _end(view: View, branch: str, commit: Oid) -> Shape:
    return {
        "label": f"{view.site.owner}:{branch}",
        "ref": branch,
        "sha": commit,
        "user": user(view.urls, view.site.owner),
        "repo": repository(view),
    }


def review(view: View, it: Review) -> Shape:
    """Show a review."""
    urls = view.urls
    page = f"{urls.page}/pull/{it.pull}#pullrequestreview-{it.seq}"
    here = f"{urls.repo}/pulls/{it.pull}"
    return {
        "id": it.seq,
        "node_id": node_id("PRR", it.seq),
        "user": user(urls, login_in(view, it.author)),
        "body": it.text,
        "state": it.state,
        "html_url": page,
        "pull_request_url": here,
        "_links": {"html": {"href": page}, "pull_request": {"href": here}},
        "submitted_at": iso(it.time),
        "commit_id": it.head,
        "author_association": association(view, it.author),
    }


def line_comment(view: View, it: Review, line: LineComment) -> Shape:
    """Show what a review says of a line."""
    urls = view.urls
    here, above = f"{urls.repo}/pulls/comments/{line.seq}", f"{urls.repo}/pulls/{it.pull}"
    page = f"{urls.page}/pull/{it.pull}#discussion_r{line.seq}"
    place: Shape = {"line": line.line, "original_line": line.line} if line.line is not None else {}
    answers: Shape = {} if line.answers is None else {"in_reply_to_id": line.answers}
    return {
        "id": line.seq,
        "node_id": node_id("PRRC", line.seq),
        "pull_request_review_id": it.seq,
        "url": here,
        "html_url": page,
        "pull_request_url": above,
        "_links": {"self": {"href": here}, "html": {"href": page}, "pull_request": {"href": above}},
        "diff_hunk": "",
        "path": line.path,
        "side": line.side,
        "subject_type": "file" if line.line is None else "line",
        **place,
        **answers,
        "commit_id": it.head,
        "original_commit_id": it.head,
        "user": user(urls, login_in(view, it.author)),
        "body": line.text,
        "created_at": iso(it.time),
        "updated_at": iso(it.time),
        "author_association": association(view, it.author),
    }


def status(view: View, it: Status) -> Shape:
    """Show a status."""
    return {**small_status(view, it), "creator": user(view.urls, login_in(view, it.author))}


def small_status(view: View, it: Status) -> Shape:
    """Show a status without who gave it."""
    return {
        "url": f"{view.urls.repo}/statuses/{it.head}",
        "avatar_url": f"{view.urls.web}/{login_in(view, it.author)}.png",
        "id": it.seq,
        "node_id": node_id("SC", it.seq),
        "state": it.state,
        "description": it.description,
        "target_url": it.url,
        "context": it.context,
        "created_at": iso(it.time),
        "updated_at": iso(it.time),
    }


def combined_status(view: View, head: Oid, statuses: Sequence[Status]) -> Shape:
    """Show what the statuses of a commit say together."""
    states = {it.state for it in statuses}
    worst = "failure" if states & {"error", "failure"} else "success" if states == {"success"} else "pending"
    here = f"{view.urls.repo}/commits/{head}"
    return {
        "state": worst,
        "statuses": [small_status(view, it) for it in statuses],
        "sha": head,
        "total_count": len(statuses),
        "repository": small_repository(view),
        "commit_url": here,
        "url": f"{here}/status",
    }


def check_run(view: View, it: CheckRun) -> Shape:
    """Show a check run."""
    here = f"{view.urls.repo}/check-runs/{it.seq}"
    page = f"{view.urls.page}/runs/{it.seq}"
    output = it.said.get("output")
    said = output if isinstance(output, dict) else {}
    return {
        "id": it.seq,
        "node_id": node_id("CR", it.seq),
        "name": it.name,
        "head_sha": it.head,
        "external_id": it.said.get("external_id") or "",
        "url": here,
        "html_url": page,
        "details_url": it.said.get("details_url") or page,
        "status": it.said.get("status") or "queued",
        "conclusion": it.said.get("conclusion"),
        "started_at": it.said.get("started_at"),
        "completed_at": it.said.get("completed_at"),
        "output": {
            **{key: said.get(key) for key in ("title", "summary", "text")},
            "annotations_count": 0,
            "annotations_url": f"{here}/annotations",
        },
        "check_suite": {"id": it.seq},
        "app": None,
        "pull_requests": [],
    }


def file(view: View, it: FileChange, *, head: Oid, blob: str | None, how: str, patch: str) -> Shape:
    """Show a file that a pull request changes."""
    return {
        "sha": blob,
        "filename": it.path,
        "status": how,
        "additions": it.added,
        "deletions": it.removed,
        "changes": it.added + it.removed,
        "blob_url": f"{view.urls.page}/blob/{head}/{it.path}",
        "raw_url": f"{view.urls.page}/raw/{head}/{it.path}",
        "contents_url": f"{view.urls.repo}/contents/{it.path}?ref={head}",
        **({"patch": patch} if patch else {}),
    }


def commit(view: View, said: Sequence[str]) -> Shape:
    """Show a commit: oid, tree, parents, author (name, address, date), committer, message, as git tells them."""
    oid, tree, parents, *people, message = said
    here = f"{view.urls.repo}/commits/{oid}"
    git = f"{view.urls.repo}/git"
    author, committer = (dict(zip(("name", "email", "date"), it, strict=True)) for it in (people[:3], people[3:6]))
    return {
        "url": here,
        "sha": oid,
        "node_id": node_id("C", oid),
        "html_url": f"{view.urls.page}/commit/{oid}",
        "comments_url": f"{here}/comments",
        "commit": {
            "url": f"{git}/commits/{oid}",
            "author": dict(author),
            "committer": dict(committer),
            "message": message,
            "comment_count": 0,
            "tree": {"sha": tree, "url": f"{git}/trees/{tree}"},
        },
        "author": user(view.urls, login_of(author["name"])),
        "committer": user(view.urls, login_of(committer["name"])),
        "parents": [
            {"sha": it, "url": f"{view.urls.repo}/commits/{it}", "html_url": f"{view.urls.page}/commit/{it}"}
            for it in parents.split()
        ],
    }
