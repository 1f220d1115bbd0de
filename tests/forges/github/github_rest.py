"""A small GitHub's REST: one method for each call, and the table of them."""

import hashlib
import re
from collections.abc import Callable

from github_world import API, FULL, Item, Reply, World, user

CLOSING = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)", re.IGNORECASE)


class Rest(World):
    """Answers with the few fields that it means; the status comes first."""

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
        app = {"id": 7, "client_id": "Iv23seven", "slug": "luminaguard", "name": "LuminaGuard", "owner": user("octo")}
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


REPO = f"/repos/{FULL}"
ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("GET", "/user", Rest.whoami),
    ("GET", REPO, Rest.whole),
    ("GET", f"{REPO}/issues", Rest.list_issues),
    ("POST", f"{REPO}/issues", Rest.make_issue),
    ("GET", rf"{REPO}/issues/(\d+)", Rest.one_issue),
    ("PATCH", rf"{REPO}/issues/(\d+)", Rest.change_issue),
    ("GET", rf"{REPO}/issues/(\d+)/dependencies/blocked_by", Rest.waits),
    ("POST", rf"{REPO}/issues/(\d+)/dependencies/blocked_by", Rest.add_wait),
    ("GET", rf"{REPO}/issues/(\d+)/sub_issues", Rest.subs),
    ("GET", rf"{REPO}/issues/(\d+)/parent", Rest.parent),
    ("GET", rf"{REPO}/issues/(\d+)/timeline", Rest.timeline),
    ("POST", rf"{REPO}/issues/(\d+)/labels", Rest.add_labels),
    ("GET", rf"{REPO}/issues/(\d+)/comments", Rest.list_comments),
    ("POST", rf"{REPO}/issues/(\d+)/comments", Rest.make_comment),
    ("PATCH", rf"{REPO}/issues/comments/(\d+)", Rest.change_comment),
    ("DELETE", rf"{REPO}/issues/comments/(\d+)", Rest.drop_comment),
    ("GET", f"{REPO}/milestones", Rest.milestones),
    ("GET", f"{REPO}/pulls", Rest.list_pulls),
    ("POST", f"{REPO}/pulls", Rest.make_pull),
    ("GET", rf"{REPO}/pulls/(\d+)", Rest.one_pull),
    ("PATCH", rf"{REPO}/pulls/(\d+)", Rest.change_pull),
    ("PUT", rf"{REPO}/pulls/(\d+)/merge", Rest.merge),
    ("GET", rf"{REPO}/pulls/(\d+)/files", Rest.list_files),
    ("GET", rf"{REPO}/pulls/(\d+)/reviews", Rest.list_reviews),
    ("POST", rf"{REPO}/pulls/(\d+)/reviews", Rest.make_review),
    ("GET", rf"{REPO}/pulls/(\d+)/comments", Rest.list_line_comments),
    ("POST", rf"{REPO}/statuses/(\w+)", Rest.make_status),
    ("GET", rf"{REPO}/commits/(\w+)/statuses", Rest.list_statuses),
    ("GET", rf"{REPO}/commits/(\w+)/status", Rest.combined),
    ("GET", rf"{REPO}/commits/(\w+)/check-runs", Rest.list_runs),
    ("POST", f"{REPO}/check-runs", Rest.make_run),
    ("PATCH", rf"{REPO}/check-runs/(\d+)", Rest.change_run),
    ("GET", rf"{REPO}/branches/([^/]+)", Rest.branch),
    ("GET", rf"{REPO}/branches/([^/]+)/protection", Rest.branch_protection),
    ("GET", rf"{REPO}/rules/branches/([^/]+)", Rest.branch_rules),
    ("GET", rf"{REPO}/compare/(\w+)\.\.\.(\w+)", Rest.compare),
)
