"""A small GitHub in this process: what it is told stays told, so that a second comment shows. It breaks on demand.

It answers with the few fields that it means; a `Judge` completes them and holds them against GitHub's own description.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol

import httpx

FULL = "octo/demo"
API = "https://api.github.com"
Item = dict[str, Any]
Reply = tuple[int, Any]

CLOSING = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)", re.IGNORECASE)


class Judging(Protocol):
    """Holds both sides against a contract, and completes answers by it."""

    def request(self, request: httpx.Request) -> None: ...
    def completed(self, request: httpx.Request, status: int, body: Any) -> Any: ...
    def queried(self, query: str, variables: dict[str, Any], data: Any) -> Any: ...


@dataclass(slots=True)
class Broken:
    """How one request goes wrong. `late_s`: the server acts so much later than it was given up."""

    how: str
    late_s: float = 0.0


def user(login: str) -> Item:
    return {"login": login, "id": sum(map(ord, login)), "type": "Bot" if login.endswith("[bot]") else "User"}


@dataclass
class Server(httpx.AsyncBaseTransport):
    """The state, the clock, and how to break. `faults` is asked once for every request."""

    me: str = "robot"
    now: float = 1_800_000_000.0
    judge: Judging | None = None
    faults: Iterator[Broken | None] = field(default_factory=lambda: iter(()))
    items: dict[int, Item] = field(default_factory=dict)
    comments: dict[int, Item] = field(default_factory=dict)
    reviews: dict[int, Item] = field(default_factory=dict)
    line_comments: dict[int, Item] = field(default_factory=dict)
    statuses: list[Item] = field(default_factory=list)
    runs: dict[int, Item] = field(default_factory=dict)
    discussions: list[Item] = field(default_factory=list)
    blocked: dict[int, list[int]] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    contained: set[tuple[str, str]] = field(default_factory=set)
    files: list[Item] = field(default_factory=list)
    protection: Item | None = None
    rules: list[Item] = field(default_factory=list)
    has_queue: bool = False
    queue: list[int] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)
    auto: set[int] = field(default_factory=set)
    auto_allowed: bool = False
    merges: list[int] = field(default_factory=list)
    keywords_close: bool = True
    takes_lines: bool = True
    knows_relations: bool = True
    moved_to: str | None = None
    refuses: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    scopes: str | None = None
    can: Item = field(default_factory=lambda: {"push": True, "pull": True, "admin": False})
    seen: list[httpx.Request] = field(default_factory=list)
    late: list[tuple[float, httpx.Request]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    ids: Iterator[int] = field(default_factory=lambda: count(5001))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now

    # what tests set up and look at

    def add_issue(self, title: str, **more: Any) -> int:
        number = next(self.numbers)
        self.items[number] = {
            "number": number,
            "id": 1000 + number,
            "node_id": f"I_{number}",
            "title": title,
            "body": "",
            "state": "open",
            "state_reason": None,
            "labels": [],
            "user": user("alice"),
            "author_association": "OWNER",
            "milestone": None,
            "created": self.now,
            "events": [],
            **more,
        }
        return number

    def comment_on(self, number: int, body: str, *, login: str | None = None) -> Item:
        made = next(self.ids)
        comment = {
            "id": made,
            "number": number,
            "body": body,
            "user": user(login or self.me),
            "created_at": self.time(),
            "updated_at": self.time(),
            "author_association": "OWNER",
            "html_url": f"https://github.com/{FULL}/issues/{number}#issuecomment-{made}",
        }
        self.comments[made] = comment
        return comment

    def comments_on(self, number: int) -> list[str]:
        return [one["body"] for one in self.comments.values() if one["number"] == number]

    def pulls(self) -> list[Item]:
        return [one for one in self.items.values() if "head" in one]

    def time(self) -> str:
        return datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # the transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.seen.append(request)
        self.now += 0.01
        self._catch_up()
        fault = next(self.faults, None)
        if fault is not None and fault.how not in ("late", "moved head"):
            return self._fault(request, fault)
        if fault is not None and fault.how == "late":
            self.late.append((self.now + fault.late_s, request))
            self.now += 30.0 if fault.late_s > 30 else 0.0
            raise httpx.ReadTimeout("no answer", request=request)
        if fault is not None and request.url.path.endswith("/merge"):
            return self._response(
                request, 409, {"message": "Head branch was modified. Review and try the merge again."}
            )
        return self._served(request)

    def _catch_up(self) -> None:
        due = [request for when, request in self.late if when <= self.now]
        self.late = [(when, request) for when, request in self.late if when > self.now]
        for request in due:
            self._served(request)

    def _fault(self, request: httpx.Request, fault: Broken) -> httpx.Response:
        if fault.how == "unreachable":
            raise httpx.ConnectError("connection refused", request=request)
        if fault.how == "limit":
            headers = {"retry-after": "3"}
            return self._response(request, 403, {"message": "You have exceeded a secondary rate limit."}, headers)
        if fault.how == "500":
            return self._response(request, 500, {"message": "Server Error"})
        if fault.how == "422":
            return self._response(request, 422, {"message": "Validation Failed", "errors": []})
        if fault.how == "timeout":
            raise httpx.ReadTimeout("no answer", request=request)
        answer = self._served(request)  # it acted, and then
        if fault.how == "502 after":
            return self._response(request, 502, "<html>Bad Gateway</html>")
        if fault.how == "truncated":
            return httpx.Response(answer.status_code, content=answer.content[: len(answer.content) // 2] or b"{")
        assert fault.how == "timeout after", fault
        raise httpx.ReadTimeout("no answer", request=request)

    def _response(
        self, request: httpx.Request, status: int, body: Any, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        content = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        kind = {"content-type": "application/json; charset=utf-8"} if content else {}
        return httpx.Response(status, content=content, headers={**kind, **(headers or {})}, request=request)

    def _served(self, request: httpx.Request) -> httpx.Response:
        if self.judge is not None:
            self.judge.request(request)
        path = request.url.path
        for form, (status, headers) in self.refuses.items():
            if re.search(form, f"{request.method} {path}"):
                return self._response(request, status, {"message": "Resource not accessible"}, headers)
        if path == "/graphql":
            return self._graphql(request)
        if self.moved_to is not None and path.startswith(f"/repos/{FULL}"):
            place = f"{API}/repositories/1{path.removeprefix(f'/repos/{FULL}')}"
            return self._response(request, 301, {"message": "Moved Permanently", "url": place}, {"location": place})
        status, body = self._routed(request, path.replace("/repositories/1", f"/repos/{FULL}", 1))
        headers = self._headers(request, status, body)
        if headers.pop("unchanged", ""):
            return self._response(request, 304, None, headers)
        if isinstance(body, list) and request.method == "GET":
            body, headers = self._paged(request, body, headers)
        if self.judge is not None and status < 400:
            body = self.judge.completed(request, status, body)
        return self._response(request, status, body, headers)

    def _headers(self, request: httpx.Request, status: int, body: Any) -> dict[str, str]:
        headers = {"x-ratelimit-remaining": "4999", "x-ratelimit-reset": str(int(self.now) + 3600)}
        if self.scopes is not None:
            headers["x-oauth-scopes"] = self.scopes
        if request.method == "GET" and status == 200:
            headers["etag"] = f'"{hashlib.sha256(json.dumps([str(request.url), body]).encode()).hexdigest()[:16]}"'
            if request.headers.get("if-none-match") == headers["etag"]:
                headers["unchanged"] = "yes"
        return headers

    def _paged(self, request: httpx.Request, body: list[Any], headers: dict[str, str]) -> tuple[Any, dict[str, str]]:
        size, page = int(request.url.params.get("per_page", 30)), int(request.url.params.get("page", 1))
        if len(body) > size * page:
            headers["link"] = f'<{request.url.copy_merge_params({"page": page + 1})}>; rel="next"'
        return body[size * (page - 1) : size * page], headers

    def _routed(self, request: httpx.Request, path: str) -> Reply:
        said = json.loads(request.content) if request.content else {}
        asked = dict(request.url.params)
        for method, form, answer in ROUTES:
            found = re.fullmatch(form, path)
            if found is not None and method == request.method:
                return answer(self, said if request.method != "GET" else asked, *found.groups())
        return 404, {"message": "Not Found"}

    # issues

    def issue_json(self, item: Item) -> Item:
        number = item["number"]
        shown = {key: value for key, value in item.items() if key not in ("created", "events", "head", "base")}
        shown |= {
            "url": f"{API}/repos/{FULL}/issues/{number}",
            "repository_url": f"{API}/repos/{FULL}",
            "html_url": f"https://github.com/{FULL}/issues/{number}",
            "created_at": "2026-11-01T00:00:00Z",
            "updated_at": "2026-11-01T00:00:00Z",
            "closed_at": None if item["state"] == "open" else "2026-11-02T00:00:00Z",
            "labels": [{"name": name, "id": 1, "color": "ffffff"} for name in item["labels"]],
        }
        if "head" in item:
            shown["pull_request"] = {"url": "", "html_url": "", "diff_url": "", "patch_url": ""}
        if self.knows_relations:
            waits = self.blocked.get(number, [])
            shown["issue_dependencies_summary"] = {
                "blocked_by": sum(self.items[one]["state"] == "open" for one in waits),
                "total_blocked_by": len(waits),
                "blocking": 0,
                "total_blocking": 0,
            }
            children = [one for one, parent in self.parents.items() if parent == number]
            shown["sub_issues_summary"] = {"total": len(children), "completed": 0, "percent_completed": 0}
            parent = self.parents.get(number)
            shown["parent_issue_url"] = f"{API}/repos/{FULL}/issues/{parent}" if parent else None
        return shown

    def list_issues(self, asked: Item) -> Reply:
        state, labels = asked.get("state", "open"), [one for one in asked.get("labels", "").split(",") if one]
        found = [
            item
            for item in self.items.values()
            if state in ("all", item["state"])
            and set(labels) <= set(item["labels"])
            and ("milestone" not in asked or str((item["milestone"] or {}).get("number")) == asked["milestone"])
            and ("assignee" not in asked or asked["assignee"] in item.get("assigned", ()))
        ]
        found.sort(key=lambda item: item["number"], reverse=asked.get("direction", "desc") == "desc")
        return 200, [self.issue_json(item) for item in found]

    def make_issue(self, said: Item) -> Reply:
        number = self.add_issue(
            said["title"], body=said.get("body", ""), labels=list(said.get("labels", [])), user=user(self.me)
        )
        return 201, self.issue_json(self.items[number])

    def one_issue(self, _: Item, number: str) -> Reply:
        item = self.items.get(int(number))
        return (200, self.issue_json(item)) if item else (404, {"message": "Not Found"})

    def change_issue(self, said: Item, number: str) -> Reply:
        item = self.items.get(int(number))
        if item is None:
            return 404, {"message": "Not Found"}
        item.update(said)
        return 200, self.issue_json(item)

    def waits(self, _: Item, number: str) -> Reply:
        if not self.knows_relations:
            return 404, {"message": "Not Found"}
        return 200, [self.issue_json(self.items[one]) for one in self.blocked.get(int(number), [])]

    def add_wait(self, said: Item, number: str) -> Reply:
        blocker = said["issue_id"] - 1000
        if blocker not in self.items or not self.knows_relations:
            return 404, {"message": "Not Found"}
        self.blocked.setdefault(int(number), []).append(blocker)
        return 201, self.issue_json(self.items[int(number)])

    def subs(self, _: Item, number: str) -> Reply:
        return 200, [self.issue_json(self.items[one]) for one, parent in self.parents.items() if parent == int(number)]

    def parent(self, _: Item, number: str) -> Reply:
        parent = self.parents.get(int(number))
        return (200, self.issue_json(self.items[parent])) if parent else (404, {"message": "Not Found"})

    def timeline(self, _: Item, number: str) -> Reply:
        return 200, self.items[int(number)]["events"] if int(number) in self.items else []

    def add_labels(self, said: Item, number: str) -> Reply:
        item = self.items[int(number)]
        item["labels"] = list(dict.fromkeys([*item["labels"], *said["labels"]]))
        return 200, [{"name": name, "id": 1, "color": "ffffff"} for name in item["labels"]]

    def list_comments(self, _: Item, number: str) -> Reply:
        return 200, [one for one in self.comments.values() if one["number"] == int(number)]

    def make_comment(self, said: Item, number: str) -> Reply:
        if int(number) not in self.items:
            return 404, {"message": "Not Found"}
        return 201, self.comment_on(int(number), said["body"])

    def change_comment(self, said: Item, made: str) -> Reply:
        comment = self.comments.get(int(made))
        if comment is None:
            return 404, {"message": "Not Found"}
        comment["body"] = said["body"]
        return 200, comment

    def drop_comment(self, _: Item, made: str) -> Reply:
        return (204, None) if self.comments.pop(int(made), None) else (404, {"message": "Not Found"})

    # pull requests

    def pull_json(self, item: Item) -> Item:
        shown = self.issue_json(item)
        for key in ("pull_request", "issue_dependencies_summary", "sub_issues_summary", "parent_issue_url"):
            shown.pop(key, None)
        head, base = item["head"], item["base"]
        repo = {"full_name": FULL, "name": "demo", "owner": user("octo")}
        return shown | {
            "html_url": f"https://github.com/{FULL}/pull/{item['number']}",
            "head": {"ref": head, "sha": item["sha"], "label": f"octo:{head}", "repo": repo, "user": user("octo")},
            "base": {"ref": base, "sha": "0" * 40, "label": f"octo:{base}", "repo": repo, "user": user("octo")},
            "merged": item["merged_at"] is not None,
            "mergeable": item.get("mergeable", True),
            "mergeable_state": item.get("mergeable_state", "clean"),
            "merge_commit_sha": item["merge_commit_sha"],
        }

    def list_pulls(self, asked: Item) -> Reply:
        state = asked.get("state", "open")
        found = [
            one
            for one in self.pulls()
            if state in ("all", one["state"]) and asked.get("head", f"octo:{one['head']}") == f"octo:{one['head']}"
        ]
        return 200, [self.pull_json(one) for one in sorted(found, key=lambda one: -one["number"])]

    def make_pull(self, said: Item) -> Reply:
        if any(one["state"] == "open" and one["head"] == said["head"] for one in self.pulls()):
            why = {"resource": "PullRequest", "code": "custom", "message": "A pull request already exists."}
            return 422, {"message": "Validation Failed", "errors": [why]}
        if said["head"] not in self.branches:
            return 422, {"message": "Validation Failed", "errors": [{"field": "head", "code": "invalid"}]}
        number = self.add_issue(said["title"], body=said.get("body", ""), user=user(self.me))
        self.items[number] |= {
            "node_id": f"PR_{number}",
            "head": said["head"],
            "base": said["base"],
            "sha": self.branches[said["head"]],
            "draft": said.get("draft", False),
            "merged_at": None,
            "merge_commit_sha": None,
        }
        return 201, self.pull_json(self.items[number])

    def one_pull(self, _: Item, number: str) -> Reply:
        item = self.items.get(int(number))
        return (200, self.pull_json(item)) if item and "head" in item else (404, {"message": "Not Found"})

    def change_pull(self, said: Item, number: str) -> Reply:
        self.items[int(number)].update(said)
        return self.one_pull({}, number)

    def merge(self, said: Item, number: str) -> Reply:
        item = self.items[int(number)]
        if item["merged_at"] is not None or item["state"] != "open":
            return 405, {"message": "Pull Request is not mergeable"}
        if said["sha"] != item["sha"]:
            return 409, {"message": "Head branch was modified. Review and try the merge again."}
        if item.get("mergeable_state", "clean") != "clean" or item.get("mergeable", True) is not True:
            return 405, {"message": "At least 1 approving review is required."}
        return 200, {"sha": self.merged(item), "merged": True, "message": "Pull Request successfully merged"}

    def merged(self, item: Item) -> str:
        self.merges.append(item["number"])
        commit = hashlib.sha1(f"merge {item['number']}".encode()).hexdigest()
        item |= {"merged_at": self.time(), "merge_commit_sha": commit, "state": "closed"}
        for number in map(int, CLOSING.findall(item["body"])):
            source = {"issue": self.issue_json(item) | {"pull_request": {"merged_at": item["merged_at"]}}}
            self.items[number]["events"].append({"event": "cross-referenced", "source": source})
            if self.keywords_close:
                self.items[number] |= {"state": "closed", "state_reason": "completed"}
        return commit

    def list_files(self, _: Item, number: str) -> Reply:
        return 200, self.files

    def list_reviews(self, _: Item, number: str) -> Reply:
        return 200, [one for one in self.reviews.values() if one["number"] == int(number)]

    def make_review(self, said: Item, number: str) -> Reply:
        shown = {one["filename"] for one in self.files}
        lines = said.get("comments", [])
        if any(one["path"] not in shown for one in lines) or (lines and not self.takes_lines):
            return 422, {"message": "Unprocessable Entity", "errors": ["Line could not be resolved"]}
        made = next(self.ids)
        state = {"COMMENT": "COMMENTED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "APPROVE": "APPROVED"}[said["event"]]
        self.reviews[made] = {
            "id": made,
            "number": int(number),
            "body": said["body"],
            "state": state,
            "user": user(self.me),
            "submitted_at": self.time(),
            "author_association": "OWNER",
            "commit_id": said.get("commit_id"),
            "asked": said.get("comments", []),
        }
        return 200, self.reviews[made]

    def list_line_comments(self, _: Item, number: str) -> Reply:
        return 200, [one for one in self.line_comments.values() if one["number"] == int(number)]

    # checks and rules

    def make_status(self, said: Item, sha: str) -> Reply:
        status = {"id": next(self.ids), "sha": sha, "created_at": self.time(), "updated_at": self.time(), **said}
        self.statuses.append(status)
        return 201, status

    def list_statuses(self, _: Item, sha: str) -> Reply:
        return 200, [one for one in reversed(self.statuses) if one["sha"] == sha]

    def combined(self, _: Item, sha: str) -> Reply:
        newest = {one["context"]: one for one in self.statuses if one["sha"] == sha}
        listed = list(newest.values())
        repository = {"full_name": FULL, "name": "demo", "owner": user("octo")}
        return 200, {
            "state": "success",
            "statuses": listed,
            "total_count": len(listed),
            "sha": sha,
            "repository": repository,
        }

    def make_run(self, said: Item) -> Reply:
        made = next(self.ids)
        app = {"id": 7, "slug": "luminaguard", "name": "LuminaGuard", "owner": user("octo")}
        self.runs[made] = {"id": made, "conclusion": None, "app": app, **said}
        return 201, self.runs[made]

    def change_run(self, said: Item, made: str) -> Reply:
        self.runs[int(made)].update(said)
        return 200, self.runs[int(made)]

    def list_runs(self, asked: Item, sha: str) -> Reply:
        found = [
            one
            for one in self.runs.values()
            if one["head_sha"] == sha and asked.get("check_name", one["name"]) == one["name"]
        ]
        return 200, {"total_count": len(found), "check_runs": found}

    def branch(self, _: Item, name: str) -> Reply:
        if name not in self.branches:
            return 404, {"message": "Branch not found"}
        return 200, {
            "name": name,
            "commit": {"sha": self.branches[name]},
            "protected": self.protection is not None,
            "protection": {"enabled": self.protection is not None},
        }

    def branch_protection(self, _: Item, name: str) -> Reply:
        return (200, self.protection) if self.protection is not None else (404, {"message": "Branch not protected"})

    def branch_rules(self, _: Item, name: str) -> Reply:
        return 200, self.rules

    def compare(self, _: Item, base: str, head: str) -> Reply:
        held = (base, head) in self.contained
        return 200, {"status": "behind" if held else "diverged", "ahead_by": 0, "behind_by": 1, "total_commits": 0}

    def whole(self, _: Item) -> Reply:
        full = self.moved_to or FULL
        return 200, {"full_name": full, "name": full.split("/")[1], "private": False, "permissions": self.can}

    def whoami(self, _: Item) -> Reply:
        return 200, {**user(self.me), "user_view_type": "private", "two_factor_authentication": True}

    def milestones(self, _: Item) -> Reply:
        found = {one["milestone"]["number"]: one["milestone"] for one in self.items.values() if one["milestone"]}
        return 200, list(found.values())

    # GraphQL

    def _graphql(self, request: httpx.Request) -> httpx.Response:
        said = json.loads(request.content)
        query, variables = said["query"], said["variables"]
        answer = next(answer for word, answer in QUERIES if word in query)
        data = answer(self, variables)
        if isinstance(data, str):
            errors = [{"type": "UNPROCESSABLE", "message": data, "path": [], "locations": []}]
            return self._response(request, 200, {"data": None, "errors": errors})
        if self.judge is not None:
            data = self.judge.queried(query, variables, data)
        return self._response(request, 200, {"data": data})

    def of_node(self, node: str) -> Item:
        return next(one for one in self.items.values() if one["node_id"] == node)

    def turned(self, said: Item, *, is_draft: bool) -> Any:
        self.of_node(said["id"])["draft"] = is_draft
        name = "convertPullRequestToDraft" if is_draft else "markPullRequestReadyForReview"
        return {name: {"pullRequest": {"isDraft": is_draft}}}

    def enqueue(self, said: Item) -> Any:
        item = self.of_node(said["id"])
        if said["head"] != item["sha"]:
            return "the head has moved"
        if item["number"] in self.queue:
            return "it is already in the queue"
        self.queue.append(item["number"])
        return {"enqueuePullRequest": {"mergeQueueEntry": {"position": len(self.queue)}}}

    def automerge(self, said: Item) -> Any:
        item = self.of_node(said["id"])
        self.auto.add(item["number"])
        return {"enablePullRequestAutoMerge": {"pullRequest": {"number": item["number"]}}}

    def pull_state(self, said: Item) -> Any:
        number = said["number"]
        queued = number in self.queue
        dropped = {"__typename": "RemovedFromMergeQueueEvent", "reason": self.dropped.get(number)}
        return {
            "repository": {
                "autoMergeAllowed": self.auto_allowed,
                "pullRequest": {
                    "isInMergeQueue": queued,
                    "mergeQueueEntry": {"position": self.queue.index(number) + 1, "state": "QUEUED"}
                    if queued
                    else None,
                    "autoMergeRequest": {"mergeMethod": "SQUASH"} if number in self.auto else None,
                    "timelineItems": {"nodes": [dropped] if number in self.dropped else []},
                },
            }
        }

    def discussion_made(self, said: Item) -> Any:
        made = {"id": f"D_{len(self.discussions)}", "url": f"https://github.com/{FULL}/discussions/9", **said}
        self.discussions.append(made)
        return {"createDiscussion": {"discussion": made}}

    def discussion_changed(self, said: Item) -> Any:
        found = next(one for one in self.discussions if one["id"] == said["id"])
        found["body"] = said["body"]
        return {"updateDiscussion": {"discussion": found}}


REPO = f"/repos/{FULL}"
ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("GET", "/user", Server.whoami),
    ("GET", REPO, Server.whole),
    ("GET", f"{REPO}/issues", Server.list_issues),
    ("POST", f"{REPO}/issues", Server.make_issue),
    ("GET", rf"{REPO}/issues/(\d+)", Server.one_issue),
    ("PATCH", rf"{REPO}/issues/(\d+)", Server.change_issue),
    ("GET", rf"{REPO}/issues/(\d+)/dependencies/blocked_by", Server.waits),
    ("POST", rf"{REPO}/issues/(\d+)/dependencies/blocked_by", Server.add_wait),
    ("GET", rf"{REPO}/issues/(\d+)/sub_issues", Server.subs),
    ("GET", rf"{REPO}/issues/(\d+)/parent", Server.parent),
    ("GET", rf"{REPO}/issues/(\d+)/timeline", Server.timeline),
    ("POST", rf"{REPO}/issues/(\d+)/labels", Server.add_labels),
    ("GET", rf"{REPO}/issues/(\d+)/comments", Server.list_comments),
    ("POST", rf"{REPO}/issues/(\d+)/comments", Server.make_comment),
    ("PATCH", rf"{REPO}/issues/comments/(\d+)", Server.change_comment),
    ("DELETE", rf"{REPO}/issues/comments/(\d+)", Server.drop_comment),
    ("GET", f"{REPO}/milestones", Server.milestones),
    ("GET", f"{REPO}/pulls", Server.list_pulls),
    ("POST", f"{REPO}/pulls", Server.make_pull),
    ("GET", rf"{REPO}/pulls/(\d+)", Server.one_pull),
    ("PATCH", rf"{REPO}/pulls/(\d+)", Server.change_pull),
    ("PUT", rf"{REPO}/pulls/(\d+)/merge", Server.merge),
    ("GET", rf"{REPO}/pulls/(\d+)/files", Server.list_files),
    ("GET", rf"{REPO}/pulls/(\d+)/reviews", Server.list_reviews),
    ("POST", rf"{REPO}/pulls/(\d+)/reviews", Server.make_review),
    ("GET", rf"{REPO}/pulls/(\d+)/comments", Server.list_line_comments),
    ("POST", rf"{REPO}/statuses/(\w+)", Server.make_status),
    ("GET", rf"{REPO}/commits/(\w+)/statuses", Server.list_statuses),
    ("GET", rf"{REPO}/commits/(\w+)/status", Server.combined),
    ("GET", rf"{REPO}/commits/(\w+)/check-runs", Server.list_runs),
    ("POST", f"{REPO}/check-runs", Server.make_run),
    ("PATCH", rf"{REPO}/check-runs/(\d+)", Server.change_run),
    ("GET", rf"{REPO}/branches/([^/]+)", Server.branch),
    ("GET", rf"{REPO}/branches/([^/]+)/protection", Server.branch_protection),
    ("GET", rf"{REPO}/rules/branches/([^/]+)", Server.branch_rules),
    ("GET", rf"{REPO}/compare/(\w+)\.\.\.(\w+)", Server.compare),
)

CATEGORY = {"id": "C_1", "name": "Reports", "slug": "reports"}
QUERIES: tuple[tuple[str, Callable[[Server, Item], Any]], ...] = (
    ("viewer", lambda server, _: {"viewer": {"login": server.me}}),
    ("mergeQueue(branch", lambda server, _: {"repository": {"mergeQueue": {"id": "Q"} if server.has_queue else None}}),
    ("markPullRequestReadyForReview", lambda server, said: server.turned(said, is_draft=False)),
    ("convertPullRequestToDraft", lambda server, said: server.turned(said, is_draft=True)),
    ("enqueuePullRequest", Server.enqueue),
    ("enablePullRequestAutoMerge", Server.automerge),
    ("isInMergeQueue", Server.pull_state),
    ("discussionCategories", lambda *_: {"repository": {"id": "R_1", "discussionCategories": {"nodes": [CATEGORY]}}}),
    ("createDiscussion", Server.discussion_made),
    ("updateDiscussion", Server.discussion_changed),
    ("discussions(", lambda server, _: {"repository": {"discussions": {"nodes": list(server.discussions)}}}),
)
