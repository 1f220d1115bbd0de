"""What a small GitHub knows: issues, pull requests and all that is said of them; what tests set up, and look at."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

FULL = "octo/demo"
API = "https://api.github.com"
Item = dict[str, Any]
Reply = tuple[int, Any]


def user(login: str) -> Item:
    return {"login": login, "id": sum(map(ord, login)), "type": "Bot" if login.endswith("[bot]") else "User"}


@dataclass
class World:
    """The state and the clock. `me` is whose token it is."""

    me: str = "robot"
    now: float = 1_800_000_000.0
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
    keeps_queue: bool = False
    dropped: dict[int, str] = field(default_factory=dict)
    auto: set[int] = field(default_factory=set)
    auto_allowed: bool = False
    merges: list[int] = field(default_factory=list)
    keywords_close: bool = True
    takes_lines: bool = True
    knows_relations: bool = True
    moved_to: str | None = None
    scopes: str | None = None
    can: Item = field(default_factory=lambda: {"push": True, "pull": True, "admin": False})
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    ids: Iterator[int] = field(default_factory=lambda: count(5001))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now

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

    def comment_on(self, number: int, body: str, *, login: str | None = None, standing: str = "OWNER") -> Item:
        made = next(self.ids)
        comment = {
            "id": made,
            "number": number,
            "body": body,
            "user": user(login or self.me),
            "created_at": self.time(),
            "updated_at": self.time(),
            "author_association": standing,
            "html_url": f"https://github.com/{FULL}/issues/{number}#issuecomment-{made}",
        }
        self.comments[made] = comment
        return comment

    def review_on(self, number: int, state: str, body: str, *, login: str, standing: str = "MEMBER") -> Item:
        """Let somebody review in one of GitHub's words for it: APPROVED, CHANGES_REQUESTED, COMMENTED, …"""
        made = next(self.ids)
        self.now += 1.0
        review = {
            "id": made,
            "number": number,
            "state": state,
            "body": body,
            "user": user(login),
            "submitted_at": self.time(),
            "author_association": standing,
            "commit_id": self.items[number]["sha"],
        }
        self.reviews[made] = review
        return review

    def comments_on(self, number: int) -> list[str]:
        return [one["body"] for one in self.comments.values() if one["number"] == number]

    def pulls(self) -> list[Item]:
        return [one for one in self.items.values() if "head" in one]

    def time(self, *, after_s: float = 0.0) -> str:
        return datetime.fromtimestamp(self.now + after_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
