"""GitHub's search words, as far as `gh` writes them."""

import shlex
from collections.abc import Callable, Mapping

from luminaguard.forges.face.shapes import login_in
from luminaguard.forges.face.site import View
from luminaguard.forges.records import IssueRecord, PullRecord

Either = IssueRecord | PullRecord
Test = Callable[[View, Either, str], bool]


def found_by(view: View, query: str) -> list[Either]:
    """Find issues and pull requests, newest first."""
    words = _words(query)
    everything: list[Either] = [*view.snapshot.issues.values(), *view.snapshot.pulls.values()]
    found = [it for it in everything if all(_is_meant(view, it, word) for word in words)]
    return sorted(found, key=lambda it: (it.created, it.number), reverse=True)


def _words(query: str) -> list[str]:
    try:
        return shlex.split(query)
    except ValueError:
        return query.replace('"', " ").split()


def _is_meant(view: View, it: Either, word: str) -> bool:
    key, colon, value = word.partition(":")
    is_not = key.startswith("-")
    test = TESTS.get(key.removeprefix("-")) if colon else None
    if test is None:
        return word.lower() in _text(it)
    return test(view, it, value) is not is_not


def _text(it: Either) -> str:
    said = it.issue if isinstance(it, IssueRecord) else it
    return f"{said.title}\n{said.body}".lower()


def _is(_view: View, it: Either, value: str) -> bool:
    is_pull = isinstance(it, PullRecord)
    return {
        "issue": not is_pull,
        "pr": is_pull,
        "open": it.is_open,
        "closed": not it.is_open,
        "merged": isinstance(it, PullRecord) and it.merged is not None,
        "unmerged": isinstance(it, PullRecord) and it.merged is None,
        "draft": isinstance(it, PullRecord) and it.is_draft,
        "private": True,
    }.get(value.lower(), False)


def _labels(_view: View, it: Either, value: str) -> bool:
    names = it.issue.labels if isinstance(it, IssueRecord) else it.labels
    return bool({part.strip().strip('"').lower() for part in value.split(",")} & {name.lower() for name in names})


def _by(view: View, it: Either, value: str) -> bool:
    author = it.issue.author if isinstance(it, IssueRecord) else it.author
    return login_in(view, author).lower() == value.lower().removeprefix("@")


def _milestone(_view: View, it: Either, value: str) -> bool:
    return isinstance(it, IssueRecord) and (it.issue.milestone or "").lower() == value.lower()


TESTS: Mapping[str, Test] = {
    "is": _is,
    "type": _is,
    "state": _is,
    "draft": lambda _view, it, value: isinstance(it, PullRecord) and it.is_draft is (value.lower() == "true"),
    "repo": lambda view, _it, value: value.lower() == f"{view.site.owner}/{view.site.name}".lower(),
    "label": _labels,
    "author": _by,
    "milestone": _milestone,
    "head": lambda _view, it, value: isinstance(it, PullRecord) and it.branch == value,
    "base": lambda _view, it, value: isinstance(it, PullRecord) and it.target == value,
    "assignee": lambda _view, _it, _value: False,
    "sort": lambda _view, _it, _value: True,
    "archived": lambda _view, _it, value: value.lower() == "false",
}
