"""A small GitHub's GraphQL: what the driver asks for by it, known by a word of the query."""

from collections.abc import Callable
from typing import Any

from github_rest import Rest
from github_world import FULL, Item


class GraphQL(Rest):
    """Answers with `data`, or with a text: what is wrong with it."""

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
        self.dropped.pop(item["number"], None)
        return {"enqueuePullRequest": {"mergeQueueEntry": {"position": len(self.queue)}}}

    def automerge(self, said: Item) -> Any:
        item = self.of_node(said["id"])
        self.auto.add(item["number"])
        return {"enablePullRequestAutoMerge": {"pullRequest": {"number": item["number"]}}}

    def dequeue(self, said: Item) -> Any:
        number = self.of_node(said["id"])["number"]
        if number not in self.queue:
            return "it is not in the queue"
        if self.keeps_queue:
            return "it is being merged"
        self.queue.remove(number)
        self.dropped[number] = "removed by a user"
        return {"dequeuePullRequest": {"mergeQueueEntry": {"position": 1}}}

    def no_automerge(self, said: Item) -> Any:
        item = self.of_node(said["id"])
        if item["number"] not in self.auto:
            return "Can't disable auto-merge for this pull request"
        self.auto.remove(item["number"])
        return {"disablePullRequestAutoMerge": {"pullRequest": {"number": item["number"]}}}

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


CATEGORY = {"id": "C_1", "name": "Reports", "slug": "reports"}
QUERIES: tuple[tuple[str, Callable[[GraphQL, Item], Any]], ...] = (
    ("viewer", lambda server, _: {"viewer": {"login": server.me}}),
    ("mergeQueue(branch", lambda server, _: {"repository": {"mergeQueue": {"id": "Q"} if server.has_queue else None}}),
    ("markPullRequestReadyForReview", lambda server, said: server.turned(said, is_draft=False)),
    ("convertPullRequestToDraft", lambda server, said: server.turned(said, is_draft=True)),
    ("enqueuePullRequest", GraphQL.enqueue),
    ("enablePullRequestAutoMerge", GraphQL.automerge),
    ("dequeuePullRequest", GraphQL.dequeue),
    ("disablePullRequestAutoMerge", GraphQL.no_automerge),
    ("isInMergeQueue", GraphQL.pull_state),
    ("discussionCategories", lambda *_: {"repository": {"id": "R_1", "discussionCategories": {"nodes": [CATEGORY]}}}),
    ("createDiscussion", GraphQL.discussion_made),
    ("updateDiscussion", GraphQL.discussion_changed),
    ("discussions(", lambda server, _: {"repository": {"discussions": {"nodes": list(server.discussions)}}}),
)
