"""People, the repository, labels, milestones and issues as GitHub's REST shows them."""

import zlib
from collections.abc import Sequence
from urllib.parse import quote

from luminaguard.forges.face.names import ISSUES_FROM, Urls, iso, node_id
from luminaguard.forges.face.site import View, login_of
from luminaguard.forges.face.tokens import Holder
from luminaguard.forges.records import IssueRecord, PullRecord
from luminaguard.forges.store import Comment
from luminaguard.forges.talk import GREY, Label
from luminaguard.model.ids import Json

Shape = dict[str, Json]

_USER_LINKS = ("followers", "subscriptions", "repos", "received_events")
_USER_TEMPLATES = {
    "following": "{/other_user}",
    "gists": "{/gist_id}",
    "starred": "{/owner}{/repo}",
    "events": "{/privacy}",
}
_REPO_LINKS = (
    *("contributors", "deployments", "downloads", "events", "forks", "hooks", "languages", "merges", "stargazers"),
    *("subscribers", "subscription", "tags", "teams"),
)
_REPO_TEMPLATES = {
    "archive": "{archive_format}{/ref}",
    "assignees": "{/user}",
    "blobs": "{/sha}",
    "branches": "{/branch}",
    "collaborators": "{/collaborator}",
    "comments": "{/number}",
    "commits": "{/sha}",
    "compare": "{base}...{head}",
    "contents": "{+path}",
    "git_commits": "{/sha}",
    "git_refs": "{/sha}",
    "git_tags": "{/sha}",
    "issue_comment": "{/number}",
    "issue_events": "{/number}",
    "issues": "{/number}",
    "keys": "{/key_id}",
    "labels": "{/name}",
    "milestones": "{/number}",
    "notifications": "{?since,all,participating}",
    "pulls": "{/number}",
    "releases": "{/id}",
    "statuses": "{/sha}",
    "trees": "{/sha}",
}


def number_for(text: str) -> int:
    """Give a number that always stands for the same text, below 2**31."""
    return zlib.crc32(text.encode()) & 0x7FFFFFFF


def user(urls: Urls, login: str) -> Shape:
    """Show a person, or a program."""
    here = urls.user(login)
    return {
        "login": login,
        "id": number_for(login),
        "node_id": node_id("U", login),
        "avatar_url": f"{urls.web}/{quote(login, safe='')}.png",
        "gravatar_id": "",
        "url": here,
        "html_url": f"{urls.web}/{quote(login, safe='')}",
        **{f"{name}_url": f"{here}/{name}" for name in _USER_LINKS},
        "organizations_url": f"{here}/orgs",
        **{f"{name}_url": f"{here}/{name}{more}" for name, more in _USER_TEMPLATES.items()},
        "type": "Bot" if login.endswith("[bot]") else "User",
        "site_admin": False,
    }


def whole_user(urls: Urls, holder: Holder) -> Shape:
    """Show who asks."""
    return {
        **user(urls, holder.login),
        **dict.fromkeys(("name", "company", "location", "email", "hireable", "bio", "twitter_username")),
        "blog": "",
        **dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0),
        **dict.fromkeys(("private_gists", "total_private_repos", "owned_private_repos"), 0),
        **dict.fromkeys(("disk_usage", "collaborators"), 0),
        "two_factor_authentication": False,
        "user_view_type": "private",
        "created_at": iso(0),
        "updated_at": iso(0),
    }


def repository(view: View, holder: Holder | None = None) -> Shape:
    """Show the repository; `holder` adds what only the whole of it has."""
    site, urls = view.site, view.urls
    here = urls.repo
    seen = view.snapshot
    open_issues = sum(it.is_open for it in seen.issues.values()) + sum(it.is_open for it in seen.pulls.values())
    shape: Shape = {
        "id": number_for(f"{site.owner}/{site.name}"),
        "node_id": node_id("R", f"{site.owner}/{site.name}"),
        "name": site.name,
        "full_name": f"{site.owner}/{site.name}",
        "owner": user(urls, site.owner),
        "private": True,
        "visibility": "private",
        "html_url": urls.page,
        "url": here,
        "clone_url": f"{urls.page}.git",
        "git_url": f"{urls.page}.git",
        "ssh_url": f"{urls.page}.git",
        "svn_url": urls.page,
        **{f"{name}_url": f"{here}/{name}" for name in _REPO_LINKS},
        **{f"{name}_url": f"{here}/{name.replace('_', '/')}{more}" for name, more in _REPO_TEMPLATES.items()},
        **dict.fromkeys(("description", "homepage", "language", "license", "mirror_url")),
        **dict.fromkeys(("fork", "archived", "disabled", "is_template"), False),
        **dict.fromkeys(("has_projects", "has_wiki", "has_pages", "has_downloads", "has_discussions"), False),
        "has_issues": True,
        **dict.fromkeys(("forks_count", "stargazers_count", "watchers_count", "size", "forks", "watchers"), 0),
        "open_issues_count": open_issues,
        "open_issues": open_issues,
        "default_branch": site.target,
        "topics": [],
        **dict.fromkeys(("pushed_at", "created_at", "updated_at"), iso(0)),
        "allow_rebase_merge": False,
        "allow_squash_merge": True,
        "allow_merge_commit": True,
        "allow_auto_merge": False,
        "delete_branch_on_merge": False,
    }
    if holder is None:
        return shape
    is_full = holder.rights == "full"
    may = {"admin": is_full, "maintain": is_full, "push": is_full, "triage": is_full, "pull": True}
    return {**shape, "subscribers_count": 0, "network_count": 0, "permissions": dict(may)}


def small_repository(view: View) -> Shape:
    """Show the repository as other things hold it."""
    left_out = ("license", "homepage", "language")  # where they are objects or addresses, null is not allowed
    return {key: value for key, value in repository(view).items() if key not in left_out}


def label(urls: Urls, it: Label) -> Shape:
    """Show a label."""
    return {
        "id": number_for(f"label:{it.name.lower()}"),
        "node_id": node_id("LA", it.name),
        "url": f"{urls.repo}/labels/{quote(it.name, safe='')}",
        "name": it.name,
        "color": it.colour,
        "default": False,
        "description": it.description,
    }


def labels(view: View, names: Sequence[str]) -> list[Json]:
    """Show labels by their names."""
    if not names:
        return []
    known = {it.name.lower(): it for it in view.site.talk.labels(())}
    return [label(view.urls, known.get(name.lower(), Label(name=name, colour=GREY))) for name in names]


def milestones(view: View) -> dict[str, int]:
    """Number the milestones in the order in which issues name them first."""
    named = dict.fromkeys(it.issue.milestone for it in view.snapshot.issues.values() if it.issue.milestone)
    return {str(title): number for number, title in enumerate(named, 1)}


def milestone(view: View, title: str | None) -> Shape | None:
    """Show a milestone; None where there is none."""
    if not title:
        return None
    inside = [it for it in view.snapshot.issues.values() if it.issue.milestone == title]
    number, urls = milestones(view).get(title, 0), view.urls
    here = f"{urls.repo}/milestones/{number}"
    is_open = any(it.is_open for it in inside)
    return {
        "url": here,
        "html_url": f"{urls.page}/milestone/{number}",
        "labels_url": f"{here}/labels",
        "id": number_for(f"milestone:{title}"),
        "node_id": node_id("MI", title),
        "number": number,
        "state": "open" if is_open else "closed",
        "title": title,
        "description": None,
        "creator": user(urls, view.site.owner),
        "open_issues": sum(it.is_open for it in inside),
        "closed_issues": sum(not it.is_open for it in inside),
        "created_at": iso(min((it.created for it in inside), default=0)),
        "updated_at": iso(max((it.updated for it in inside), default=0)),
        "closed_at": None if is_open else iso(max((it.closed or 0 for it in inside), default=0)),
        "due_on": None,
    }


def login_in(view: View, author: str | None) -> str:
    """Give the login of an author; what nobody signed is the owner's."""
    return view.site.owner if not author else author if author.endswith("[bot]") else login_of(author)


def association(view: View, author: str | None, said: str | None = None) -> str:
    """Give somebody's standing; who put the backlog here is the owner."""
    if said:
        return said.upper()
    return "OWNER" if login_in(view, author) in (view.site.owner, login_of(view.site.identity[0])) else "NONE"


def issue(view: View, it: IssueRecord) -> Shape:
    """Show an issue."""
    said, urls = it.issue, view.urls
    here = f"{urls.repo}/issues/{it.number}"
    parent = view.snapshot.parent.get(it.number)
    return {
        "id": ISSUES_FROM + it.number,
        "node_id": node_id("I", it.number),
        "number": it.number,
        "title": said.title,
        "body": said.body,
        "state": said.state.value,
        "state_reason": None if it.turn is None else it.turn.reason,
        **_issue_links(urls, it.number),
        "html_url": f"{urls.page}/issues/{it.number}",
        "user": user(urls, login_in(view, said.author)),
        "author_association": association(view, said.author, said.association),
        "labels": labels(view, said.labels),
        "milestone": milestone(view, said.milestone),
        "assignee": None,
        "assignees": [],
        "locked": False,
        "active_lock_reason": None,
        "comments": it.comments,
        "created_at": iso(it.created),
        "updated_at": iso(it.updated),
        "closed_at": None if it.closed is None else iso(it.closed),
        "closed_by": None if it.is_open or it.turn is None else user(urls, login_in(view, it.turn.who)),
        "parent_issue_url": None if parent is None else f"{urls.repo}/issues/{parent}",
        "sub_issues_summary": sub_issues_summary(view, it.number),
        "issue_dependencies_summary": dependencies_summary(view, it.number),
        "timeline_url": f"{here}/timeline",
    }


def pull_as_issue(view: View, it: PullRecord) -> Shape:
    """Show a pull request where issues are listed: every one is an issue too."""
    urls = view.urls
    page, here = f"{urls.page}/pull/{it.number}", f"{urls.repo}/pulls/{it.number}"
    links: Shape = {"url": here, "html_url": page, "diff_url": f"{page}.diff", "patch_url": f"{page}.patch"}
    is_merged = it.merged is not None and it.closed is not None
    return {
        "id": ISSUES_FROM + it.number,
        "node_id": node_id("PR", it.number),
        "number": it.number,
        "title": it.title,
        "body": it.body,
        "state": "open" if it.is_open else "closed",
        "state_reason": None,
        **_issue_links(urls, it.number),
        "html_url": page,
        "user": user(urls, login_in(view, it.author)),
        "author_association": association(view, it.author),
        "labels": labels(view, it.labels),
        "milestone": None,
        "assignee": None,
        "assignees": [],
        "locked": False,
        "active_lock_reason": None,
        "comments": it.comments,
        "created_at": iso(it.created),
        "updated_at": iso(it.updated),
        "closed_at": None if it.closed is None else iso(it.closed),
        "draft": it.is_draft,
        "pull_request": {**links, "merged_at": iso(it.closed or 0) if is_merged else None},
    }


def _issue_links(urls: Urls, number: int) -> Shape:
    here = f"{urls.repo}/issues/{number}"
    return {
        "url": here,
        "repository_url": urls.repo,
        "labels_url": f"{here}/labels{{/name}}",
        "comments_url": f"{here}/comments",
        "events_url": f"{here}/events",
    }


def sub_issues_summary(view: View, number: int) -> Shape:
    """Count the issues below an issue."""
    below = [view.snapshot.issues[child] for child in view.snapshot.children.get(number, ())]
    done = sum(not it.is_open for it in below)
    return {"total": len(below), "completed": done, "percent_completed": 100 * done // len(below) if below else 0}


def dependencies_summary(view: View, number: int) -> Shape:
    """Count what an issue waits for and what waits for it: the open ones, and all."""
    seen = view.snapshot
    before, after = seen.blocked_by.get(number, ()), seen.blocking.get(number, ())
    return {
        "blocked_by": sum(seen.issues[it].is_open for it in before),
        "blocking": sum(seen.issues[it].is_open for it in after),
        "total_blocked_by": len(before),
        "total_blocking": len(after),
    }


def comment(view: View, it: Comment, number: int) -> Shape:
    """Show a comment on the issue or pull request with that number."""
    urls = view.urls
    kind = "pull" if number in view.snapshot.pulls else "issues"
    return {
        "id": it.seq,
        "node_id": node_id("IC", it.seq),
        "url": f"{urls.repo}/issues/comments/{it.seq}",
        "html_url": f"{urls.page}/{kind}/{number}#issuecomment-{it.seq}",
        "issue_url": f"{urls.repo}/issues/{number}",
        "body": it.text,
        "user": user(urls, login_in(view, it.author)),
        "author_association": association(view, it.author),
        "created_at": iso(it.time),
        "updated_at": iso(it.edited or it.time),
    }
