"""Forges where people review and talk: each with a way to play them, and to see what they see of us.

Everywhere issue 1 is open and takes the reports, and MARIA may write.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
from gitea_server import GiteaServer
from github_driver import driver_on
from github_server import Server
from gitlab_server import GitLabServer
from lab_drivers import Lab, filled, gitea_lab, gitlab_lab

from luminaguard.forges.all import format_of
from luminaguard.forges.base import (
    Checking,
    CheckState,
    Commenting,
    Discussing,
    Forge,
    Merging,
    ReportPlace,
    Reviewing,
    Stand,
    Writing,
)
from luminaguard.forges.file_backlog import FileBacklog
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.store import TrackerStore
from luminaguard.forges.talk import US, ReviewState, Talk
from luminaguard.forges.verdicts import StatusState, Verdicts
from luminaguard.model.ids import Oid

MARIA = "maria"
BY_HAND = Oid("d" * 40)
PLACE = ReportPlace(issue="1")
WORD: dict[Stand, ReviewState] = {"said": "COMMENTED", "changes": "CHANGES_REQUESTED", "approved": "APPROVED"}
GITEA_WORD: dict[Stand, str] = {"said": "COMMENT", "changes": "REQUEST_CHANGES", "approved": "APPROVED"}
STATUS: dict[CheckState, StatusState] = {"pending": "pending", "passed": "success", "failed": "failure"}


class Voice(Reviewing, Checking, Commenting, Discussing, Protocol):
    """What a forge that people talk on can do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A forge as a fresh process finds it, with its abilities."""

    forge: Forge
    voice: Voice
    writing: Writing | None = None
    merging: Merging | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What people see of our reviews of a pull request: how many, the lines that they stand on, and their texts."""

    reviews: int
    lines: frozenset[tuple[str, int]]
    text: str


class Ground(Protocol):
    """One forge, and the people on it. `association` is MARIA's; `tells_commits`: of a review, what it looked at."""

    association: str
    tells_commits: bool

    def opened(self) -> Opened: ...
    def push(self, branch: str, head: str) -> None: ...
    def shows(self, path: str, line: int) -> None: ...
    def shown(self, pull: str) -> Shown: ...
    def reviews(self, pull: str, stand: Stand, text: str) -> None: ...
    def says(self, pull: str, text: str, *, bot: bool = False) -> None: ...
    def says_on(self, issue: str, text: str) -> None: ...
    def judges(self, commit: Oid, name: str, state: CheckState) -> None: ...
    def closes(self, pull: str) -> None: ...
    def merges_by_hand(self, pull: str) -> Oid: ...


class MergingGround(Ground, Protocol):
    """A forge that merges by itself. `merges` counts how often it did, `changes` what it was asked for and did.

    After `makes_wait` a merge waits for checks; `has_handed_over` tells whether the forge does it when they are there.
    """

    def merges(self) -> int: ...
    def changes(self) -> int: ...
    def makes_wait(self, pull: str) -> None: ...
    def has_handed_over(self, pull: str) -> bool: ...


class LocalGround:
    """The local tracker, and its people as its face lets them in."""

    association = "owner"
    tells_commits = True

    def __init__(self, root: Path) -> None:
        self.store = TrackerStore(root / "tracker.db")
        self.store.add("First", body="Do it.")
        self.store.add("Second")

    def opened(self) -> Opened:
        tracker = LocalTracker(TrackerStore(self.store.path), report=PLACE)
        return Opened(forge=tracker, voice=tracker.talk, writing=tracker)

    def push(self, branch: str, head: str) -> None: ...

    def shows(self, path: str, line: int) -> None: ...

    def shown(self, pull: str) -> Shown:
        ours = [it for it in Talk(self.store).reviews(int(pull)) if it.author == US]
        lines = frozenset((line.path, line.line or 0) for it in ours for line in it.lines)
        return Shown(reviews=len(ours), lines=lines, text="\n".join(it.text for it in ours))

    def reviews(self, pull: str, stand: Stand, text: str) -> None:
        Talk(self.store).review(int(pull), author=MARIA, state=WORD[stand], text=text, head=Oid("a" * 40))

    def says(self, pull: str, text: str, *, bot: bool = False) -> None:
        Talk(self.store).say(f"pull:{pull}", text, author="agent-1[bot]" if bot else MARIA)

    def says_on(self, issue: str, text: str) -> None:
        self.store.comment(issue, text, author=MARIA)

    def judges(self, commit: Oid, name: str, state: CheckState) -> None:
        Verdicts(self.store).report(commit, context=name, state=STATUS[state], author=MARIA)

    def closes(self, pull: str) -> None:
        Talk(self.store).turn_pull(int(pull), is_closed=True, who=MARIA)

    def merges_by_hand(self, pull: str) -> Oid:
        self.store.mark_merged(pull, commit=BY_HAND, who=MARIA)
        return BY_HAND


class FileGround(LocalGround):
    """A folder of Markdown, with the local tracker behind it; every forge that is opened has yet to read it."""

    def __init__(self, root: Path) -> None:
        self.store = TrackerStore(root / "tracker.db")
        self.root = root
        for number, title in enumerate(("First", "Second"), start=1):
            path = root / "issues" / f"{number}.md"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"# {title}\n")

    def opened(self) -> Opened:
        path = self.root / "issues"
        tracker = LocalTracker(TrackerStore(self.store.path), report=PLACE)
        forge = FileBacklog(path, source=format_of(path), root=self.root, tracker=tracker)
        return Opened(forge=forge, voice=forge.talk)

    def says_on(self, issue: str, text: str) -> None:
        anyio.run(self.opened().forge.backlog)  # as `serve --forge` does before it lets people in
        super().says_on(issue, text)


class GitHubGround:
    """A GitHub of this process."""

    association = "owner"
    tells_commits = True

    def __init__(self, _: Path) -> None:
        self.server = Server()
        self.server.add_issue("First", body="Do it.")
        self.server.add_issue("Second")

    def opened(self) -> Opened:
        forge = driver_on(self.server, report=PLACE)
        return Opened(forge=forge, voice=forge, writing=forge, merging=forge)

    def push(self, branch: str, head: str) -> None:
        self.server.branches[branch] = head

    def shows(self, path: str, line: int) -> None:
        self.server.files.append({"filename": path, "patch": f"@@ -{line} +{line} @@\n+new"})

    def shown(self, pull: str) -> Shown:
        ours = [one for one in self.server.reviews.values() if one["user"]["login"] == self.server.me]
        lines = frozenset((line["path"], line["line"]) for one in ours for line in one["asked"])
        return Shown(reviews=len(ours), lines=lines, text="\n".join(one["body"] for one in ours))

    def reviews(self, pull: str, stand: Stand, text: str) -> None:
        made = next(self.server.ids)
        self.server.now += 1
        self.server.reviews[made] = {
            "id": made,
            "number": int(pull),
            "body": text,
            "state": WORD[stand],
            "user": {"login": MARIA, "id": 12, "type": "User"},
            "submitted_at": self.server.time(),
            "author_association": "OWNER",
            "commit_id": "a" * 40,
        }

    def says(self, pull: str, text: str, *, bot: bool = False) -> None:
        self.server.now += 1
        self.server.comment_on(int(pull), text, login="ci[bot]" if bot else MARIA)

    def says_on(self, issue: str, text: str) -> None:
        self.says(issue, text)

    def judges(self, commit: Oid, name: str, state: CheckState) -> None:
        self.server.now += 1
        self.server.make_status({"state": STATUS[state], "context": name, "description": ""}, commit)

    def closes(self, pull: str) -> None:
        self.server.items[int(pull)]["state"] = "closed"

    def merges_by_hand(self, pull: str) -> Oid:
        return Oid(self.server.merged(self.server.items[int(pull)]))

    def merges(self) -> int:
        return len(self.server.merges)

    def changes(self) -> int:
        return self.server.changes()

    def makes_wait(self, pull: str) -> None:
        self.server.items[int(pull)]["mergeable_state"] = "blocked"
        self.server.auto_allowed = True

    def has_handed_over(self, pull: str) -> bool:
        return int(pull) in self.server.auto


class GitLabGround:
    """A GitLab of this process: its people say with the merge request's reviewers how they stand."""

    association = "member"
    tells_commits = False

    def __init__(self, _: Path) -> None:
        self.lab = filled(gitlab_lab())
        assert isinstance(self.lab.server, GitLabServer)
        self.server = self.lab.server

    def opened(self) -> Opened:
        return _opened(self.lab)

    def push(self, branch: str, head: str) -> None:
        self.server.push(branch, head)

    def shows(self, path: str, line: int) -> None:
        self.server.shown_lines.add((path, line))

    def shown(self, pull: str) -> Shown:
        ours = [one for one in self.server.notes if one["author"]["username"] == self.server.me]
        places = [one["position"] for one in ours if "position" in one]
        lines = frozenset((place["new_path"], place["new_line"]) for place in places)
        plain = [one["body"] for one in ours if "position" not in one]
        return Shown(reviews=len(plain), lines=lines, text="\n".join(plain))

    def reviews(self, pull: str, stand: Stand, text: str) -> None:
        who = {"id": 12, "username": MARIA}
        state = {"said": "reviewed", "changes": "requested_changes", "approved": "approved"}[stand]
        self.server.reviewers = [{"user": who, "state": state}]
        self.server.approvals = [{"user": who, "approved_at": NEXT_YEAR}] if stand == "approved" else []
        if text:
            self.says(pull, text)

    def says(self, pull: str, text: str, *, bot: bool = False) -> None:
        self.server.says(int(pull.removeprefix("!")), text, "project_7_bot_abc" if bot else MARIA)

    def says_on(self, issue: str, text: str) -> None:
        self.server.says(int(issue), text, MARIA, kind="issues")

    def judges(self, commit: Oid, name: str, state: CheckState) -> None:
        made: dict[str, Any] = {"id": len(self.server.statuses) + 1, "sha": commit, "name": name}
        word = {"pending": "pending", "passed": "success", "failed": "failed"}[state]
        self.server.statuses.append({**made, "status": word, "allow_failure": False})

    def merges(self) -> int:
        return self.server.merges

    def changes(self) -> int:
        return len(self.server.changes)

    def makes_wait(self, pull: str) -> None:
        self._item(pull)["detailed_merge_status"] = "ci_still_running"

    def has_handed_over(self, pull: str) -> bool:
        return bool(self._item(pull).get("merge_when_pipeline_succeeds"))

    def closes(self, pull: str) -> None:
        self._item(pull)["state"] = "closed"

    def merges_by_hand(self, pull: str) -> Oid:
        self._item(pull).update({"state": "merged", "merge_commit_sha": BY_HAND})
        return BY_HAND

    def _item(self, pull: str) -> dict[str, Any]:
        return self.server.requests_by_iid[int(pull.removeprefix("!"))]


class GiteaGround:
    """A Gitea of this process."""

    association = "member"
    tells_commits = True

    def __init__(self, _: Path) -> None:
        self.lab = filled(gitea_lab())
        assert isinstance(self.lab.server, GiteaServer)
        self.server = self.lab.server

    def opened(self) -> Opened:
        return _opened(self.lab)

    def push(self, branch: str, head: str) -> None:
        self.server.push(branch, head)

    def shows(self, path: str, line: int) -> None: ...

    def shown(self, pull: str) -> Shown:
        ours = [one for one in self.server.reviews if one["user"]["login"] == self.server.me]
        made = {one["id"] for one in ours}
        lines = frozenset((one["path"], one["position"]) for one in self.server.lines if one["review"] in made)
        return Shown(reviews=len(ours), lines=lines, text="\n".join(one["body"] for one in ours))

    def reviews(self, pull: str, stand: Stand, text: str) -> None:
        self.server.review(int(pull), GITEA_WORD[stand], text, MARIA)

    def says(self, pull: str, text: str, *, bot: bool = False) -> None:
        self.server.says(int(pull), text, "gitea-actions" if bot else MARIA)

    def says_on(self, issue: str, text: str) -> None:
        self.server.says(int(issue), text, MARIA)

    def judges(self, commit: Oid, name: str, state: CheckState) -> None:
        made: dict[str, Any] = {"id": len(self.server.statuses) + 1, "sha": commit, "context": name}
        self.server.statuses.append({**made, "status": STATUS[state], "description": "", "target_url": ""})

    def merges(self) -> int:
        return self.server.merges

    def changes(self) -> int:
        return len(self.server.changes)

    def makes_wait(self, pull: str) -> None:
        self.server.waits_for_checks = True

    def has_handed_over(self, pull: str) -> bool:
        return int(pull) in self.server.scheduled

    def closes(self, pull: str) -> None:
        self.server.pulls[int(pull)]["state"] = "closed"

    def merges_by_hand(self, pull: str) -> Oid:
        self.server.merged(self.server.pulls[int(pull)], BY_HAND)
        return BY_HAND


NEXT_YEAR = "2027-11-21T10:00:00.000Z"
"""Later than all that is said on the servers of this process."""


def _opened(lab: Lab) -> Opened:
    forge = lab.opened()
    return Opened(forge=forge, voice=forge, writing=forge, merging=forge)
