"""A Gitea of this process: stateful, and held to the endpoints and names of Gitea's own description.

Written down from go-gitea/gitea as the index has it: templates/swagger/v1_json.tmpl, modules/structs/{pull,pull_review,
status,repo_branch}.go, routers/api/v1/repo/issue_dependency.go, services/forms/repo_form.go (MergePullRequestForm).
"""

from collections.abc import Mapping
from typing import Any

from gitea_contracts import judges
from lab_server import Body, Contract, LabServer, keys

R = "/repos/org/project"
PAGES = ("page", "limit")

CONTRACT: Contract = {
    "GET /user": keys(),
    "GET /orgs/{org}/labels": keys(*PAGES),
    f"GET {R}": keys(),
    f"GET {R}/assignees": keys(),
    f"GET {R}/labels": keys(*PAGES),
    f"POST {R}/labels": keys("name", "color", "description"),
    f"GET {R}/issues": keys(*PAGES, "state", "labels", "q", "type", "milestones", "since", "before", "assigned_by"),
    f"POST {R}/issues": keys("title", "body", "labels", "milestone", "assignees", "closed"),
    f"GET {R}/issues/{{index}}": keys(),
    f"PATCH {R}/issues/{{index}}": keys("title", "body", "state", "milestone", "assignees"),
    f"POST {R}/issues/{{index}}/labels": keys("labels"),
    f"GET {R}/issues/{{index}}/dependencies": keys(*PAGES),
    f"POST {R}/issues/{{index}}/dependencies": keys("index", "owner", "repo"),
    f"GET {R}/issues/{{index}}/comments": keys("since", "before", *PAGES),
    f"POST {R}/issues/{{index}}/comments": keys("body"),
    f"PATCH {R}/issues/comments/{{id}}": keys("body"),
    f"DELETE {R}/issues/comments/{{id}}": keys(),
    f"GET {R}/pulls": keys(*PAGES, "state", "sort", "milestone", "labels"),
    f"POST {R}/pulls": keys("head", "base", "title", "body", "labels", "milestone", "assignees"),
    f"GET {R}/pulls/{{index}}": keys(),
    f"PATCH {R}/pulls/{{index}}": keys("title", "body", "base", "state", "labels"),
    f"POST {R}/pulls/{{index}}/merge": keys(
        "Do", "MergeTitleField", "MergeMessageField", "MergeCommitID", "head_commit_id", "merge_when_checks_succeed"
    ),
    f"DELETE {R}/pulls/{{index}}/merge": keys(),
    f"GET {R}/pulls/{{index}}/reviews": keys(*PAGES),
    f"POST {R}/pulls/{{index}}/reviews": keys("event", "body", "commit_id", "comments"),
    f"GET {R}/pulls/{{index}}/reviews/{{id}}/comments": keys(),
    f"GET {R}/branches/{{branch}}": keys(),
    f"GET {R}/commits/{{ref}}/statuses": keys(*PAGES, "sort", "state"),
    f"POST {R}/statuses/{{sha}}": keys("state", "target_url", "description", "context"),
}

PULL_ONLY = ("merged", "mergeable", "merge_commit_sha", "head", "base")
"""What a pull request has and an issue has not."""

MESSAGE_404 = (404, {"message": "The target couldn't be found.", "url": "https://git.test/api/swagger"})


class GiteaServer(LabServer):
    """Issues, pull requests and all that hangs on them; one sequence of numbers for both. `me` is whose token it is.

    A Forgejo does not tell whether it lets a pull request be marked as merged by hand.
    """

    hidden = frozenset({"of", "review", "assigned"})
    whole = frozenset({f"GET {R}/issues/{{index}}/comments"})

    def __init__(self, *, allow_manual_merge: bool = True, is_forgejo: bool = False) -> None:
        super().__init__(CONTRACT, "/api/v1", self._handlers(), judges=judges("forgejo" if is_forgejo else "gitea"))
        self.auth = "token secret"
        self.page_most = 50
        self.me = "robot"
        self.may_read_user = True
        self.allows_manual_merge = allow_manual_merge
        self.repository: Body = {"full_name": "org/project"}
        if not is_forgejo:
            self.repository["allow_manual_merge"] = allow_manual_merge
        self.repository["permissions"] = {"admin": False, "push": True, "pull": True}
        self.has_dependencies = True
        self.items: dict[int, Body] = {}
        self.pulls: dict[int, Body] = {}
        self.notes: list[Body] = []
        self.needs: list[tuple[int, int]] = []
        self.labels: list[Body] = []
        self.statuses: list[Body] = []
        self.reviews: list[Body] = []
        self.lines: list[Body] = []
        self.writers = ["maria"]
        self.branches: dict[str, Body] = {
            "main": {"name": "main", "protected": False, "user_can_push": True, "user_can_merge": True}
        }
        self.heads: dict[str, str] = {}
        self.waits_for_checks = False
        self.scheduled: set[int] = set()
        self.refuses_to_cancel = False
        self.merges = 0

    def _handlers(self) -> dict[str, Any]:
        names = {
            "GET /user": self._myself,
            "GET /orgs/{org}/labels": lambda org, query: MESSAGE_404,
            f"GET {R}": lambda query: (200, self.repository),
        }
        own = {
            "GET /assignees": lambda query: (200, [self._user(name) for name in self.writers]),
            "GET /labels": lambda query: (200, self.labels),
            "POST /labels": self._add_label,
            "GET /issues": self._list,
            "POST /issues": self._add,
            "GET /issues/{index}": self._one,
            "PATCH /issues/{index}": self._edit,
            "POST /issues/{index}/labels": self._label,
            "GET /issues/{index}/dependencies": self._dependencies,
            "POST /issues/{index}/dependencies": self._depend,
            "GET /issues/{index}/comments": self._list_notes,
            "POST /issues/{index}/comments": self._add_note,
            "PATCH /issues/comments/{id}": self._edit_note,
            "DELETE /issues/comments/{id}": self._drop_note,
            "GET /pulls": self._list_pulls,
            "POST /pulls": self._add_pull,
            "GET /pulls/{index}": self._pull,
            "PATCH /pulls/{index}": self._edit_pull,
            "POST /pulls/{index}/merge": self._merge,
            "DELETE /pulls/{index}/merge": self._unschedule,
            "GET /pulls/{index}/reviews": self._list_reviews,
            "POST /pulls/{index}/reviews": self._add_review,
            "GET /pulls/{index}/reviews/{id}/comments": self._list_lines,
            "GET /branches/{branch}": self._branch,
            "GET /commits/{ref}/statuses": self._list_statuses,
            "POST /statuses/{sha}": self._add_status,
        }
        return {**names, **{f"{key.partition(' ')[0]} {R}{key.partition(' ')[2]}": one for key, one in own.items()}}

    def add(self, title: str, body: str = "", *, labels: tuple[str, ...] = (), author: str = "maria") -> int:
        index = self._next()
        self.items[index] = {
            "id": 1000 + index,
            "number": index,
            "title": title,
            "body": body,
            "state": "open",
            "labels": [self._labelled(name) for name in labels],
            "user": self._user(author),
            "milestone": None,
            "pull_request": None,
            "html_url": f"https://git.test/org/project/issues/{index}",
            "repository": {"full_name": "org/project"},
        }
        return index

    def push(self, branch: str, head: str) -> None:
        self.heads[branch] = head
        for item in self.pulls.values():
            if item["head"]["ref"] == branch and item["state"] == "open":
                item["head"]["sha"] = head

    def comments(self, index: int) -> list[str]:
        return [note["body"] for note in self.notes if note["of"] == index]

    def says(self, index: int, body: str, author: str) -> Body:
        number = max((note["id"] for note in self.notes), default=0) + 1
        note: Body = {
            "id": number,
            "of": index,
            "body": body,
            "user": self._user(author),
            "created_at": f"2026-11-21T10:{len(self.notes) // 60:02d}:{len(self.notes) % 60:02d}Z",
            "html_url": f"https://git.test/org/project/issues/{index}#issuecomment-{number}",
        }
        self.notes.append(note)
        return note

    def review(self, index: int, state: str, body: str, author: str, *, lines: tuple[Body, ...] = ()) -> Body:
        made: Body = {
            "id": len(self.reviews) + 1,
            "of": index,
            "state": state,
            "body": body,
            "user": self._user(author),
            "dismissed": False,
            "commit_id": self.pulls[index]["head"]["sha"],
            "comments_count": len(lines),
            "submitted_at": f"2026-11-21T11:00:{len(self.reviews):02d}Z",
        }
        self.reviews.append(made)
        for line in lines:
            self.lines.append({"id": len(self.lines) + 1, "review": made["id"], "user": self._user(author), **line})
        return made

    def _myself(self, query: Mapping[str, str]) -> tuple[int, Any]:
        refused = {
            "message": "token does not have at least one of required scope(s): [read:user]",
            "url": "https://git.test",
        }
        return (200, self._user(self.me)) if self.may_read_user else (403, refused)

    def _user(self, name: str) -> Body:
        return {"id": -2 if name == "gitea-actions" else 10 + len(name), "login": name}

    def _next(self) -> int:
        return max([*self.items, *self.pulls], default=0) + 1

    def _labelled(self, name: str) -> Body:
        found = next((one for one in self.labels if one["name"] == name), None)
        return found if found is not None else self._add_label({"name": name, "color": "#fff"})[1]

    def _add_label(self, said: Body) -> tuple[int, Any]:
        made = {"id": 300 + len(self.labels), "name": said["name"], "color": said["color"]}
        self.labels.append(made)
        return 201, made

    def _list(self, query: Mapping[str, str]) -> tuple[int, Any]:
        wanted = {label for label in query.get("labels", "").split(",") if label} & {one["name"] for one in self.labels}
        found = [one for _, one in sorted(self.items.items(), reverse=True)]
        found = [one for one in found if wanted <= {label["name"] for label in one["labels"]}]
        if "milestones" in query:
            found = [one for one in found if (one["milestone"] or {}).get("title") == query["milestones"]]
        if "assigned_by" in query:
            found = [one for one in found if query["assigned_by"] in one.get("assigned", ())]
        return 200, found

    def _add(self, said: Body) -> tuple[int, Any]:
        index = self.add(said["title"], said.get("body", ""), author=self.me)
        self.items[index]["labels"] = [one for one in self.labels if one["id"] in said.get("labels", [])]
        return 201, self.items[index]

    def _one(self, index: int, query: Mapping[str, str]) -> tuple[int, Any]:
        if index in self.pulls:
            pull = self.pulls[index]
            of_issues = {key: one for key, one in pull.items() if key not in PULL_ONLY}
            return 200, {**of_issues, "pull_request": {"merged": pull["merged"]}}
        return (200, self.items[index]) if index in self.items else MESSAGE_404

    def _edit(self, index: int, said: Body) -> tuple[int, Any]:
        if index not in self.items:
            return MESSAGE_404
        self.items[index].update(said)
        return 201, self.items[index]

    def _label(self, index: int, said: Body) -> tuple[int, Any]:
        item = (self.pulls if index in self.pulls else self.items)[index]
        item["labels"] = [one for one in self.labels if one["id"] in said["labels"] or one in item["labels"]]
        return 200, item["labels"]

    def _dependencies(self, index: int, query: Mapping[str, str]) -> tuple[int, Any]:
        if not self.has_dependencies or index not in self.items:
            return MESSAGE_404
        return 200, [self.items[need] for issue, need in self.needs if issue == index]

    def _depend(self, index: int, said: Body) -> tuple[int, Any]:
        if not self.has_dependencies or not {index, said["index"]} <= set(self.items):
            return MESSAGE_404
        if (index, said["index"]) in self.needs:
            return 500, {"message": "issue dependency does already exist"}
        self.needs.append((index, said["index"]))
        return 201, self.items[index]

    def _list_notes(self, index: int, query: Mapping[str, str]) -> tuple[int, Any]:
        return 200, [note for note in self.notes if note["of"] == index]

    def _add_note(self, index: int, said: Body) -> tuple[int, Any]:
        if index not in self.items and index not in self.pulls:
            return MESSAGE_404
        return 201, self.says(index, said["body"], self.me)

    def _edit_note(self, note: int, said: Body) -> tuple[int, Any]:
        found = next((one for one in self.notes if one["id"] == note), None)
        if found is None:
            return MESSAGE_404
        found["body"] = said["body"]
        return 200, found

    def _drop_note(self, note: int, said: Body) -> tuple[int, Any]:
        before = len(self.notes)
        self.notes = [one for one in self.notes if one["id"] != note]
        return (204, None) if len(self.notes) < before else MESSAGE_404

    def _list_pulls(self, query: Mapping[str, str]) -> tuple[int, Any]:
        found = [one for _, one in sorted(self.pulls.items(), reverse=True)]
        return 200, [one for one in found if query.get("state", "open") in ("all", one["state"])]

    def _add_pull(self, said: Body) -> tuple[int, Any]:
        for one in self.pulls.values():
            if (one["head"]["ref"], one["base"]["ref"], one["state"]) == (said["head"], said["base"], "open"):
                return 409, {"message": f"pull request already exists for these targets [id: {one['id']}]"}
        index, head = self._next(), self.heads.get(said["head"], "a" * 40)
        self.pulls[index] = {
            "id": 5000 + index,
            "number": index,
            "title": said["title"],
            "body": said.get("body", ""),
            "state": "open",
            "labels": [one for one in self.labels if one["id"] in said.get("labels", [])],
            "user": self._user(self.me),
            "merged": False,
            "mergeable": True,
            "merge_commit_sha": None,
            "head": {"label": said["head"], "ref": said["head"], "sha": head, "repo_id": 9},
            "base": {"label": said["base"], "ref": said["base"], "sha": "0" * 40, "repo_id": 9},
            "html_url": f"https://git.test/org/project/pulls/{index}",
        }
        return 201, self.pulls[index]

    def _pull(self, index: int, query: Mapping[str, str]) -> tuple[int, Any]:
        return (200, self.pulls[index]) if index in self.pulls else MESSAGE_404

    def _edit_pull(self, index: int, said: Body) -> tuple[int, Any]:
        item = self.pulls.get(index)
        if item is None:
            return MESSAGE_404
        item.update({key: said[key] for key in ("title", "body") if key in said})
        if "state" in said and not item["merged"]:
            item["state"] = said["state"]
        return 201, item

    def _merge(self, index: int, said: Body) -> tuple[int, Any]:
        item = self.pulls.get(index)
        if item is None:
            return MESSAGE_404
        if item["state"] != "open" or item["title"].startswith("WIP:"):
            return 405, {"message": "Please try again later"}
        if said["Do"] == "manually-merged":
            if not self.repository.get("allow_manual_merge", self.allows_manual_merge):
                return 405, {"message": "Wrong commit ID"}
            self.merged(item, said["MergeCommitID"])
            return 200, None
        if said.get("head_commit_id") not in (None, item["head"]["sha"]):
            return 409, {"message": "head out of date"}
        if self.waits_for_checks:
            if not said.get("merge_when_checks_succeed"):
                return 405, {"message": "Not all required status checks successful"}
            if index in self.scheduled:
                return 409, {"message": "pull request is already scheduled to auto merge when checks succeed"}
            self.scheduled.add(index)
            return 201, None
        self.merges += 1
        self.merged(item, f"{self.merges:040x}")
        return 200, None

    def _unschedule(self, index: int, said: Body) -> tuple[int, Any]:
        if self.refuses_to_cancel:
            return 403, {"message": "user has no permission to cancel the scheduled auto merge"}
        if index not in self.scheduled:
            return MESSAGE_404
        self.scheduled.remove(index)
        return 204, None

    def merged(self, item: Body, commit: str) -> None:
        item.update({"state": "closed", "merged": True, "merge_commit_sha": commit})

    def _list_reviews(self, index: int, query: Mapping[str, str]) -> tuple[int, Any]:
        return 200, [review for review in self.reviews if review["of"] == index]

    def _add_review(self, index: int, said: Body) -> tuple[int, Any]:
        if said["commit_id"] != self.pulls[index]["head"]["sha"] and said["comments"]:
            return 422, {"message": "the commit is not there"}
        lines = tuple(
            {"body": line["body"], "path": line["path"], "position": line["new_position"]} for line in said["comments"]
        )
        return 200, self.review(index, said["event"], said["body"], self.me, lines=lines)

    def _list_lines(self, index: int, review: int, query: Mapping[str, str]) -> tuple[int, Any]:
        return 200, [line for line in self.lines if line["review"] == review]

    def _branch(self, name: str, query: Mapping[str, str]) -> tuple[int, Any]:
        return (200, self.branches[name]) if name in self.branches else MESSAGE_404

    def _list_statuses(self, ref: str, query: Mapping[str, str]) -> tuple[int, Any]:
        found = [one for one in reversed(self.statuses) if one["sha"] == ref]
        return 200, [{key: value for key, value in one.items() if key != "sha"} for one in found]

    def _add_status(self, sha: str, said: Body) -> tuple[int, Any]:
        made = {"id": len(self.statuses) + 1, "context": said["context"], "status": said["state"]}
        self.statuses.append({**made, "sha": sha, "description": said.get("description", ""), "target_url": ""})
        return 201, made
