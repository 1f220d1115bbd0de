"""The ASGI application: which address leads to which endpoint."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from luminaguard.forges.face import about, commits, issues, pulls, relations
from luminaguard.forges.face.answers import RefusalError, refused
from luminaguard.forges.face.calls import Endpoint, served
from luminaguard.forges.face.graphql import execute
from luminaguard.forges.face.site import Site
from luminaguard.forges.face.smart_http import SmartHttp, write_rules
from luminaguard.forges.face.tokens import Tokens

REPO = "/repos/{owner}/{repo}"
ISSUE = f"{REPO}/issues/{{number}}"
PULL = f"{REPO}/pulls/{{number}}"
COMMIT = f"{REPO}/commits/{{ref:path}}"
BRANCH = f"{REPO}/branches/{{branch:path}}"

# The order counts where a path may hold slashes: the longer address first.
ENDPOINTS: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/", about.root),
    ("GET", "/user", about.me),
    ("GET", "/meta", about.meta),
    ("GET", "/rate_limit", about.rate_limit),
    ("GET", REPO, about.shown),
    ("GET", f"{REPO}/issues", issues.listed),
    ("POST", f"{REPO}/issues", issues.made),
    ("GET", f"{REPO}/issues/comments/{{number}}", issues.shown_comment),
    ("PATCH", f"{REPO}/issues/comments/{{number}}", issues.edited_comment),
    ("DELETE", f"{REPO}/issues/comments/{{number}}", issues.deleted_comment),
    ("GET", ISSUE, issues.shown),
    ("PATCH", ISSUE, issues.edited),
    ("GET", f"{ISSUE}/comments", issues.comments),
    ("POST", f"{ISSUE}/comments", issues.commented),
    ("GET", f"{ISSUE}/labels", issues.labels_of),
    ("POST", f"{ISSUE}/labels", issues.labelled),
    ("PUT", f"{ISSUE}/labels", issues.relabelled),
    ("DELETE", f"{ISSUE}/labels", issues.unlabelled),
    ("DELETE", f"{ISSUE}/labels/{{name}}", issues.unlabelled),
    ("GET", f"{ISSUE}/dependencies/blocked_by", relations.blocked_by),
    ("POST", f"{ISSUE}/dependencies/blocked_by", relations.block),
    ("DELETE", f"{ISSUE}/dependencies/blocked_by/{{issue_id}}", relations.unblock),
    ("GET", f"{ISSUE}/dependencies/blocking", relations.blocking),
    ("GET", f"{ISSUE}/sub_issues", relations.sub_issues),
    ("POST", f"{ISSUE}/sub_issues", relations.adopted),
    ("DELETE", f"{ISSUE}/sub_issue", relations.disowned),
    ("GET", f"{ISSUE}/parent", relations.parent),
    ("GET", f"{REPO}/labels", issues.all_labels),
    ("POST", f"{REPO}/labels", issues.made_label),
    ("GET", f"{REPO}/labels/{{name}}", issues.shown_label),
    ("GET", f"{REPO}/milestones", issues.all_milestones),
    ("GET", f"{REPO}/pulls", pulls.listed),
    ("POST", f"{REPO}/pulls", pulls.made),
    ("GET", PULL, pulls.shown),
    ("PATCH", PULL, pulls.edited),
    ("GET", f"{PULL}/files", pulls.files),
    ("GET", f"{PULL}/commits", pulls.commits),
    ("GET", f"{PULL}/merge", pulls.is_merged),
    ("PUT", f"{PULL}/merge", pulls.merged),
    ("GET", f"{PULL}/reviews", pulls.reviews),
    ("POST", f"{PULL}/reviews", pulls.reviewed),
    ("GET", f"{PULL}/reviews/{{review_id}}", pulls.shown_review),
    ("GET", f"{PULL}/reviews/{{review_id}}/comments", pulls.comments_of_review),
    ("GET", f"{PULL}/comments", pulls.line_comments),
    ("POST", f"{PULL}/comments", pulls.line_commented),
    ("POST", f"{PULL}/comments/{{comment_id}}/replies", pulls.line_commented),
    ("POST", f"{REPO}/statuses/{{sha}}", commits.stated),
    ("POST", f"{REPO}/check-runs", commits.run_made),
    ("GET", f"{REPO}/check-runs/{{number}}", commits.run_shown),
    ("PATCH", f"{REPO}/check-runs/{{number}}", commits.run_edited),
    ("GET", f"{COMMIT}/status", commits.combined),
    ("GET", f"{COMMIT}/statuses", commits.statuses),
    ("GET", f"{COMMIT}/check-runs", commits.runs),
    ("GET", COMMIT, commits.shown),
    ("GET", f"{REPO}/branches", commits.branches),
    ("GET", f"{BRANCH}/protection", commits.protection),
    ("GET", BRANCH, commits.branch),
    ("GET", f"{REPO}/rules/branches/{{branch:path}}", commits.rules),
    ("GET", f"{REPO}/git/ref/heads/{{name:path}}", commits.ref),
    ("DELETE", f"{REPO}/git/refs/heads/{{name:path}}", commits.ref_deleted),
)


def face(site: Site, tokens: Tokens, *, folder: Path) -> Starlette:
    """Make the application. `folder` takes the rules that git asks before a push is taken."""
    write_rules(folder / "hooks")
    git = SmartHttp(site=site, tokens=tokens, hooks=folder / "hooks")
    fetched = Route("/{owner}/{repo}/info/refs", git, methods=["GET"])
    services = ("git-upload-pack", "git-receive-pack")
    served_too = (Route(f"/{{owner}}/{{repo}}/{service}", git, methods=["POST"]) for service in services)
    return _application([*_routes(site, tokens), fetched, *served_too])


def face_without_git(site: Site, tokens: Tokens) -> Starlette:
    """Make the application for programs that have a repository of their own."""
    return _application(_routes(site, tokens))


def _routes(site: Site, tokens: Tokens) -> list[BaseRoute]:
    routes: list[BaseRoute] = []
    for prefix in ("", "/api/v3"):  # as on github.com, and as on GitHub Enterprise
        for method, path, endpoint in ENDPOINTS:
            routes.append(Route(prefix + path, served(endpoint, site, tokens), methods=[method]))
    graphql = served(execute.endpoint, site, tokens)
    routes += [Route(path, graphql, methods=["POST"]) for path in ("/graphql", "/api/graphql")]
    return routes


def _application(routes: list[BaseRoute]) -> Starlette:
    return Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown, ClientDisconnect: _gone})


async def _unknown(_request: Request, _error: Exception) -> Response:
    return refused(RefusalError(404, "Not Found"))


async def _gone(_request: Request, _error: Exception) -> Response:
    """Answer a caller that hung up before it had asked: nobody reads it, and nothing was done."""
    return Response(status_code=400)
