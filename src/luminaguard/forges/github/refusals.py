"""What a status of GitHub's means to the person who must act."""

import re

from luminaguard.forges.answers import list_at, text_at
from luminaguard.forges.github.line import Answer, Call
from luminaguard.forges.github.repository import Repository
from luminaguard.model.faults import Fault, HostFault, Unreachable, UserFault

_NEEDED = (
    (re.compile(r"/issues/comments|/issues/\d+/comments|/labels"), "issues"),
    (re.compile(r"/issues"), "issues"),
    (re.compile(r"/pulls/\d+/merge$"), "contents"),
    (re.compile(r"/pulls"), "pull_requests"),
    (re.compile(r"/check-runs"), "checks"),
    (re.compile(r"/status(es)?"), "statuses"),
    (re.compile(r"/protection"), "administration"),
    (re.compile(r"/compare|/git/|/branches"), "contents"),
)


def refusal(call: Call, answer: Answer, repository: Repository) -> Fault:
    """Sort an answer that nobody expected by who must act."""
    said = told(answer)
    if answer.status == 401:
        return UserFault(
            f"GitHub refuses our token: {said or 'bad credentials'}", hint="renew it; `luminaguard doctor` tells which"
        )
    if answer.status == 403:
        return _forbidden(call, answer, said)
    if answer.status == 404:
        return UserFault(
            f"{call.what}: not found in {repository.full}, or our token may not see it",
            hint=f"check the name, and that the token has {permission(call, answer)}",
        )
    if answer.status in (410, 451):
        return UserFault(f"{call.what}: {said or 'gone'}", hint="it was deleted, or is switched off in the settings")
    if answer.status >= 500:
        return Unreachable(
            f"GitHub answers {answer.status} to {call.what}", hint="see githubstatus.com; try again later"
        )
    if answer.status == 422:
        return UserFault(f"GitHub takes no {call.what}: {said}", hint="see what it says of the value")
    return HostFault(f"GitHub answers {answer.status} to {call.what}: {said}", hint="see `luminaguard doctor`")


def permission(call: Call, answer: Answer) -> str:
    """Name the permission that a call needs: GitHub's own word where it gives one ("issues=write")."""
    named = answer.headers.get("x-accepted-github-permissions", "")
    if named:
        return f"the permission {named.replace('=', ': ').replace('; ', ', or ')}"
    level = "read" if call.method == "GET" else "write"
    name = next((name for form, name in _NEEDED if form.search(call.url.partition("?")[0])), "contents")
    scopes = answer.headers.get("x-accepted-oauth-scopes", "")
    return f"the permission {name}: {level}" + (f" (a classic token: the scope {scopes})" if scopes else "")


def told(answer: Answer) -> str:
    """Give GitHub's own words: its message, and what it says of single fields."""
    errors = [
        error if isinstance(error, str) else text_at(error, "message") or _field(text_at(error, "field"), error)
        for error in list_at(answer.body, "errors")
    ]
    words = [text_at(answer.body, "message"), *errors]
    return "; ".join(dict.fromkeys(word for word in words if word))[:500]


def _field(name: str, error: object) -> str:
    code = error.get("code", "") if isinstance(error, dict) else ""
    return f"{name}: {code}" if name else ""


def _forbidden(call: Call, answer: Answer, said: str) -> UserFault:
    sso = answer.headers.get("x-github-sso", "")
    if sso.startswith("required"):
        url = sso.partition("url=")[2]
        return UserFault(
            f"the organisation wants single sign-on for our token: {call.what}", hint=f"authorise it at {url}"
        )
    return UserFault(
        f"our token may not {call.what}: {said or 'forbidden'}",
        hint=f"give it {permission(call, answer)}; `luminaguard doctor` lists all that is needed",
    )
