"""A GitLab of this process: stateful, and held to the endpoints and names of GitLab's REST documentation.

Written down from doc/api/*.md of gitlabhq/gitlabhq as the index has them (issues, issue_links, merge_requests, notes,
discussions, commits, branches, members, merge_request_approvals, merge_trains, projects, users).
"""

import re
from collections.abc import Mapping
from typing import Any

from gitlab_contract import judge
from lab_server import Body, Contract, LabServer, keys

P = "/projects/group%2Fsub%2Fproject"
PAGES = ("page", "per_page")

CONTRACT: Contract = {
    "GET /user": keys(),
    "GET /personal_access_tokens/self": keys(),
    f"GET {P}": keys(),
    f"GET {P}/members/all": keys(*PAGES),
    f"GET {P}/issues": keys(*PAGES, "scope", "state", "labels", "milestone", "assignee_username", "order_by", "sort"),
    f"POST {P}/issues": keys("title", "description", "labels"),
    f"GET {P}/issues/{{iid}}": keys(),
    f"PUT {P}/issues/{{iid}}": keys("state_event", "description", "title", "add_labels"),
    f"GET {P}/issues/{{iid}}/closed_by": keys(*PAGES),
    f"GET {P}/issues/{{iid}}/links": keys(),
    f"POST {P}/issues/{{iid}}/links": keys("target_project_id", "target_issue_iid", "link_type"),
    f"GET {P}/{{kind}}/{{iid}}/notes": keys(*PAGES, "sort", "order_by"),
    f"POST {P}/{{kind}}/{{iid}}/notes": keys("body"),
    f"PUT {P}/{{kind}}/{{iid}}/notes/{{id}}": keys("body"),
    f"DELETE {P}/{{kind}}/{{iid}}/notes/{{id}}": keys(),
    f"GET {P}/merge_requests": keys(*PAGES, "source_branch", "state", "order_by", "sort"),
    f"POST {P}/merge_requests": keys("source_branch", "target_branch", "title", "description", "labels"),
    f"GET {P}/merge_requests/{{iid}}": keys(),
    f"PUT {P}/merge_requests/{{iid}}": keys("title", "description", "target_branch", "add_labels", "state_event"),
    f"PUT {P}/merge_requests/{{iid}}/merge": keys(
        "sha",
        "squash",
        "squash_commit_message",
        "merge_commit_message",
        "auto_merge",
        "merge_when_pipeline_succeeds",
    ),
    f"POST {P}/merge_requests/{{iid}}/cancel_merge_when_pipeline_succeeds": keys(),
    f"GET {P}/merge_requests/{{iid}}/reviewers": keys(),
    f"GET {P}/merge_requests/{{iid}}/approvals": keys(),
    f"GET {P}/merge_requests/{{iid}}/discussions": keys(*PAGES),
    f"POST {P}/merge_requests/{{iid}}/discussions": keys("body", "position"),
    f"GET {P}/merge_trains/merge_requests/{{iid}}": keys(),
    f"POST {P}/merge_trains/merge_requests/{{iid}}": keys("sha", "squash", "auto_merge", "when_pipeline_succeeds"),
    f"GET {P}/repository/branches/{{branch}}": keys(),
    f"GET {P}/repository/commits/{{sha}}": keys(),
    f"GET {P}/repository/commits/{{sha}}/refs": keys("type", *PAGES),
    f"GET {P}/repository/commits/{{sha}}/statuses": keys("name", *PAGES),
    f"POST {P}/statuses/{{sha}}": keys("state", "name", "description", "target_url"),
    f"GET {P}/approval_rules": keys(*PAGES),
}

MESSAGE_404 = (404, {"message": "404 Not found"})


class GitLabServer(LabServer):
    """Issues, merge requests and all that hangs on them. `me` is whose token it is.

    `scopes` are None where the token does not tell its own. `actions` are the lines of our texts that a GitLab would
    have carried out.
    """

    hidden = frozenset({"of", "kind", "assigned"})

    def __init__(self, *, has_blocking_links: bool = True) -> None:
        super().__init__(CONTRACT, "/api/v4", self._handlers(), judges=(judge(),))
        self.auth = "Bearer secret"
        self.me = "robot"
        self.has_blocking_links = has_blocking_links
        self.project: Body = {"id": 7, "path_with_namespace": "group/sub/project", "merge_trains_enabled": False}
        self.issues: dict[int, Body] = {}
        self.requests_by_iid: dict[int, Body] = {}
        self.notes: list[Body] = []
        self.links: list[tuple[int, int, str]] = []
        self.statuses: list[Body] = []
        self.members: dict[str, int] = {"maria": 40, "olga": 50}
        self.branches: dict[str, Body] = {"main": {"name": "main", "protected": False, "can_push": True}}
        self.heads: dict[str, str] = {}
        self.shown_lines: set[tuple[str, int]] = set()
        self.trains: dict[int, str] = {}
        self.refs: dict[str, list[str]] = {}
        self.approval_rules: list[Body] | None = None
        self.pipelines: dict[str, Body] = {}
        self.reviewers: list[Body] = []
        self.approvals: list[Body] = []
        self.scopes: list[str] | None = ["api"]
        self.actions: list[str] = []
        self.cancels = True
        self.merges = 0

    def _handlers(self) -> dict[str, Any]:
        names = {
            "GET /user": lambda query: (200, {"id": 1, "username": self.me}),
            f"GET {P}": lambda query: (200, self.project),
            "GET /personal_access_tokens/self": self._token,
            f"GET {P}/members/all": self._members,
            f"GET {P}/approval_rules": self._rules,
            f"GET {P}/issues/{{iid}}/closed_by": lambda iid, query: (200, []),
            f"GET {P}/merge_requests/{{iid}}/reviewers": lambda iid, query: (200, self.reviewers),
            f"GET {P}/merge_requests/{{iid}}/approvals": lambda iid, query: (200, {"approved_by": self.approvals}),
        }
        own = {
            "GET /issues": self._list_issues,
            "POST /issues": self._add_issue,
            "GET /issues/{iid}": self._one(lambda: self.issues),
            "PUT /issues/{iid}": self._edit_issue,
            "GET /issues/{iid}/links": self._list_links,
            "POST /issues/{iid}/links": self._link,
            "GET /merge_requests": self._list_requests,
            "POST /merge_requests": self._add_request,
            "GET /merge_requests/{iid}": self._one(lambda: self.requests_by_iid),
            "PUT /merge_requests/{iid}": self._edit_request,
            "PUT /merge_requests/{iid}/merge": self._merge,
            "POST /merge_requests/{iid}/cancel_merge_when_pipeline_succeeds": self._cancel,
            "GET /merge_requests/{iid}/discussions": self._discussions,
            "POST /merge_requests/{iid}/discussions": self._discuss,
            "GET /merge_trains/merge_requests/{iid}": self._train,
            "POST /merge_trains/merge_requests/{iid}": self._board,
            "GET /{kind}/{iid}/notes": self._list_notes,
            "POST /{kind}/{iid}/notes": self._add_note,
            "PUT /{kind}/{iid}/notes/{id}": self._edit_note,
            "DELETE /{kind}/{iid}/notes/{id}": self._drop_note,
            "GET /repository/branches/{branch}": self._branch,
            "GET /repository/commits/{sha}": self._commit,
            "GET /repository/commits/{sha}/refs": self._commit_refs,
            "GET /repository/commits/{sha}/statuses": self._list_statuses,
            "POST /statuses/{sha}": self._add_status,
        }
        return {**names, **{f"{key.partition(' ')[0]} {P}{key.partition(' ')[2]}": one for key, one in own.items()}}

    def add(self, title: str, body: str = "", *, labels: tuple[str, ...] = (), author: str = "maria") -> int:
        iid = max(self.issues, default=0) + 1
        self.issues[iid] = {
            "id": 1000 + iid,
            "iid": iid,
            "project_id": 7,
            "title": title,
            "description": body,
            "state": "opened",
            "labels": list(labels),
            "author": {"username": author},
            "milestone": None,
            "web_url": f"https://lab.test/group/sub/project/-/issues/{iid}",
            "references": {"full": f"group/sub/project#{iid}"},
            "time_stats": {"time_estimate": 0},
        }
        return iid

    def push(self, branch: str, head: str) -> None:
        self.heads[branch] = head
        for item in self.requests_by_iid.values():
            if item["source_branch"] == branch and item["state"] == "opened":
                item["sha"] = item["diff_refs"]["head_sha"] = head

    def comments(self, iid: int, kind: str = "issues") -> list[str]:
        return [note["body"] for note in self.notes if (note["kind"], note["of"]) == (kind, iid)]

    def says(self, iid: int, body: str, author: str, *, kind: str = "merge_requests", **more: Any) -> Body:
        note: Body = {
            "id": max((one["id"] for one in self.notes), default=0) + 1,
            "kind": kind,
            "of": iid,
            "body": body,
            "author": {"username": author},
            "system": False,
            "created_at": f"2026-11-21T10:{len(self.notes) // 60:02d}:{len(self.notes) % 60:02d}.000Z",
            "resolvable": False,
            **more,
        }
        self.notes.append(note)
        return note

    def approves(self, author: str, *, at: str | None = "2026-11-21T12:00:00.000Z") -> None:
        """Let somebody approve; servers before 18 do not tell when."""
        user = {"id": 10 + len(self.approvals), "username": author}
        self.approvals.append({"user": user} if at is None else {"user": user, "approved_at": at})

    def _token(self, query: Mapping[str, str]) -> tuple[int, Any]:
        return MESSAGE_404 if self.scopes is None else (200, {"id": 4, "active": True, "scopes": self.scopes})

    def _carried_out(self, text: str) -> None:
        """Note what GitLab's Gitlab::QuickActions::Extractor would take for an order."""
        self.actions += re.findall(r"^/(\w+)(?=\s|$)", text, re.MULTILINE)

    def _one(self, of: Any) -> Any:
        def handler(iid: int, query: Mapping[str, str]) -> tuple[int, Any]:
            return (200, of()[iid]) if iid in of() else MESSAGE_404

        return handler

    def _members(self, query: Mapping[str, str]) -> tuple[int, Any]:
        return 200, [{"username": name, "access_level": level} for name, level in self.members.items()]

    def _rules(self, query: Mapping[str, str]) -> tuple[int, Any]:
        return MESSAGE_404 if self.approval_rules is None else (200, self.approval_rules)

    def _list_issues(self, query: Mapping[str, str]) -> tuple[int, Any]:
        found = [one for _, one in sorted(self.issues.items(), reverse=query.get("sort", "desc") == "desc")]
        wanted = {label for label in query.get("labels", "").split(",") if label}
        found = [one for one in found if wanted <= set(one["labels"])]
        if "milestone" in query:
            found = [one for one in found if (one["milestone"] or {}).get("title") == query["milestone"]]
        if "assignee_username" in query:
            found = [one for one in found if query["assignee_username"] in one.get("assigned", ())]
        return 200, found

    def _add_issue(self, said: Body) -> tuple[int, Any]:
        labels = tuple(label for label in said.get("labels", "").split(",") if label)
        self._carried_out(said.get("description", ""))
        return 201, self.issues[self.add(said["title"], said.get("description", ""), labels=labels, author=self.me)]

    def _edit_issue(self, iid: int, said: Body) -> tuple[int, Any]:
        if iid not in self.issues:
            return MESSAGE_404
        if said.get("state_event") == "close":
            self.issues[iid]["state"] = "closed"
        if "description" in said:
            self._carried_out(said["description"])
            self.issues[iid]["description"] = said["description"]
        return 200, self.issues[iid]

    def _list_links(self, iid: int, query: Mapping[str, str]) -> tuple[int, Any]:
        there = [{**self.issues[b], "link_type": kind} for a, b, kind in self.links if a == iid]
        opposite = {"is_blocked_by": "blocks", "blocks": "is_blocked_by", "relates_to": "relates_to"}
        back = [{**self.issues[a], "link_type": opposite[kind]} for a, b, kind in self.links if b == iid]
        return 200, there + back

    def _link(self, iid: int, said: Body) -> tuple[int, Any]:
        target, kind = int(said["target_issue_iid"]), said.get("link_type", "relates_to")
        if iid not in self.issues or target not in self.issues:
            return MESSAGE_404
        if kind != "relates_to" and not self.has_blocking_links:
            return 403, {"message": "Blocked issues not available for current license"}
        if any({iid, target} == {a, b} for a, b, _ in self.links):
            return 409, {"message": "Issue(s) already assigned"}
        self.links.append((iid, target, kind))
        return 201, {"source_issue": self.issues[iid], "target_issue": self.issues[target], "link_type": kind}

    def _list_notes(self, kind: str, iid: int, query: Mapping[str, str]) -> tuple[int, Any]:
        return 200, [note for note in reversed(self.notes) if (note["kind"], note["of"]) == (kind, iid)]

    def _add_note(self, kind: str, iid: int, said: Body) -> tuple[int, Any]:
        if iid not in (self.issues if kind == "issues" else self.requests_by_iid):
            return MESSAGE_404
        self._carried_out(said["body"])
        return 201, self.says(iid, said["body"], self.me, kind=kind)

    def _edit_note(self, kind: str, iid: int, note: int, said: Body) -> tuple[int, Any]:
        found = next((one for one in self.notes if one["id"] == note), None)
        if found is None:
            return MESSAGE_404
        self._carried_out(said["body"])
        found["body"] = said["body"]
        return 200, found

    def _drop_note(self, kind: str, iid: int, note: int, said: Body) -> tuple[int, Any]:
        before = len(self.notes)
        self.notes = [one for one in self.notes if one["id"] != note]
        return (204, None) if len(self.notes) < before else MESSAGE_404

    def _list_requests(self, query: Mapping[str, str]) -> tuple[int, Any]:
        found = [one for _, one in sorted(self.requests_by_iid.items(), reverse=True)]
        return 200, [one for one in found if query.get("source_branch") in (None, one["source_branch"])]

    def _add_request(self, said: Body) -> tuple[int, Any]:
        branch, target = said["source_branch"], said["target_branch"]
        for one in self.requests_by_iid.values():
            if (one["source_branch"], one["target_branch"], one["state"]) == (branch, target, "opened"):
                return 409, {
                    "message": [f"Another open merge request already exists for this source branch: !{one['iid']}"]
                }
        self._carried_out(said.get("description", ""))
        iid = max(self.requests_by_iid, default=0) + 1
        head = self.heads.get(branch, "a" * 40)
        self.requests_by_iid[iid] = {
            "id": 5000 + iid,
            "iid": iid,
            "source_project_id": 7,
            "target_project_id": 7,
            "source_branch": branch,
            "target_branch": target,
            "title": said["title"],
            "description": said.get("description", ""),
            "labels": [label for label in said.get("labels", "").split(",") if label],
            "state": "opened",
            "sha": head,
            "draft": said["title"].startswith("Draft:"),
            "merge_commit_sha": None,
            "squash_commit_sha": None,
            "detailed_merge_status": "mergeable",
            "diff_refs": {"base_sha": "0" * 40, "start_sha": "0" * 40, "head_sha": head},
            "web_url": f"https://lab.test/group/sub/project/-/merge_requests/{iid}",
        }
        return 201, self.requests_by_iid[iid]

    def _edit_request(self, iid: int, said: Body) -> tuple[int, Any]:
        item = self.requests_by_iid.get(iid)
        if item is None:
            return MESSAGE_404
        self._carried_out(said.get("description", ""))
        item.update({key: said[key] for key in ("title", "description", "target_branch") if key in said})
        item["draft"] = item["title"].startswith("Draft:")
        item["labels"] = list(dict.fromkeys([*item["labels"], *filter(None, said.get("add_labels", "").split(","))]))
        if said.get("state_event") == "close" and item["state"] == "opened":
            item["state"] = "closed"
        if said.get("state_event") == "reopen" and item["state"] == "closed":
            item["state"] = "opened"
        return 200, item

    def _merge(self, iid: int, said: Body) -> tuple[int, Any]:
        item = self.requests_by_iid.get(iid)
        if item is None:
            return MESSAGE_404
        if item["state"] != "opened" or item["draft"]:
            return 405, {"message": "405 Method Not Allowed"}
        if said.get("sha") not in (None, item["sha"]):
            return 409, {"message": "SHA does not match HEAD of source branch"}
        if item["detailed_merge_status"] == "ci_still_running" and said.get("auto_merge"):
            item["merge_when_pipeline_succeeds"] = True
            return 200, item
        if item["detailed_merge_status"] != "mergeable":
            return 405, {"message": "405 Method Not Allowed"}
        self.merges += 1
        item.update({"state": "merged", "merge_commit_sha": f"{self.merges:040x}"})
        return 200, item

    def _cancel(self, iid: int, said: Body) -> tuple[int, Any]:
        """Answer 201 to either, as GitLab does: app/services/auto_merge_service.rb gives a hash without a status."""
        item = self.requests_by_iid[iid]
        if not item.get("merge_when_pipeline_succeeds") or not self.cancels:
            return 201, {"message": "Can't cancel the automatic merge", "status": "error", "http_status": 406}
        item["merge_when_pipeline_succeeds"] = False
        self.trains.pop(iid, None)
        return 201, {"status": "success"}

    def _train(self, iid: int, query: Mapping[str, str]) -> tuple[int, Any]:
        return (200, {"id": iid, "status": self.trains[iid]}) if iid in self.trains else MESSAGE_404

    def _board(self, iid: int, said: Body) -> tuple[int, Any]:
        if said.get("sha") != self.requests_by_iid[iid]["sha"]:
            return 409, {"message": "SHA does not match HEAD of source branch"}
        if iid in self.trains:
            return 409, {"message": "The merge request is already on a merge train"}
        self.trains[iid] = "fresh"
        self.requests_by_iid[iid]["merge_when_pipeline_succeeds"] = True
        return 201, [{"id": iid, "status": "fresh"}]

    def _discussions(self, iid: int, query: Mapping[str, str]) -> tuple[int, Any]:
        notes = [note for note in self.notes if (note["kind"], note["of"]) == ("merge_requests", iid)]
        return 200, [{"id": f"d{note['id']}", "notes": [note]} for note in notes]

    def _discuss(self, iid: int, said: Body) -> tuple[int, Any]:
        place = said["position"]
        if (place["new_path"], place["new_line"]) not in self.shown_lines:
            return 400, {"message": '400 Bad request - Note {:line_code=>["can\'t be blank"]}'}
        self._carried_out(said["body"])
        note = self.says(iid, said["body"], self.me, position=place, resolvable=True, resolved=False)
        return 201, {"id": f"d{note['id']}", "notes": [note]}

    def _branch(self, name: str, query: Mapping[str, str]) -> tuple[int, Any]:
        return (200, self.branches[name]) if name in self.branches else (404, {"message": "404 Branch Not Found"})

    def _commit(self, sha: str, query: Mapping[str, str]) -> tuple[int, Any]:
        return 200, {"id": sha, "last_pipeline": self.pipelines.get(sha)}

    def _commit_refs(self, sha: str, query: Mapping[str, str]) -> tuple[int, Any]:
        return 200, [{"type": "branch", "name": name} for name in self.refs.get(sha, [])]

    def _list_statuses(self, sha: str, query: Mapping[str, str]) -> tuple[int, Any]:
        newest = {one["name"]: one for one in self.statuses if one["sha"] == sha}
        return 200, [one for one in newest.values() if query.get("name") in (None, one["name"])]

    def _add_status(self, sha: str, said: Body) -> tuple[int, Any]:
        standing = next(
            (one for one in reversed(self.statuses) if (one["sha"], one["name"]) == (sha, said["name"])), {}
        )
        if standing.get("status") == said["state"] == "pending":
            return 400, {"message": "Cannot transition status via :enqueue from :pending"}
        made = {"id": len(self.statuses) + 1, "sha": sha, "allow_failure": False, **said, "status": said["state"]}
        self.statuses.append(made)
        return 201, made
