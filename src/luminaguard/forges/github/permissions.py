"""What our token must be allowed, least first, and what of it is lacking."""

from luminaguard.forges.answers import at, text_at, true_at
from luminaguard.forges.base import Lacking, Permission
from luminaguard.forges.github.auth import AppKey
from luminaguard.forges.github.wire import Wire
from luminaguard.model.ids import Json

PERMISSIONS = (
    Permission(name="metadata", level="read", why="to find the repository"),
    Permission(name="issues", level="read", why="to read the backlog: enough for `luminaguard plan`"),
    Permission(name="contents", level="write", why="to push branches, and what has passed"),
    Permission(name="pull_requests", level="write", why="to open pull requests and post reviews"),
    Permission(name="issues", level="write", why="to close issues, and for the status comment"),
    Permission(name="statuses", level="write", why="to show our checks, with a token", is_needed=False),
    Permission(name="checks", level="write", why="to show our checks, with an App", is_needed=False),
    Permission(name="checks", level="read", why="to await the checks of others", is_needed=False),
    Permission(name="administration", level="read", why="to read branch protection as a whole", is_needed=False),
    Permission(name="discussions", level="write", why="to post the report as a discussion", is_needed=False),
)
"""Least first. A classic token has them all with the scope `repo`, or `public_repo` for a public repository."""


async def lacking(wire: Wire) -> Lacking:
    """Compare what we are allowed with what is needed.

    Raises:
        Fault: the repository cannot be read at all.
    """
    if isinstance(wire.line.credentials, AppKey):
        answer = await wire.get("installation")
        granted = at(answer.body, "permissions")
        return Lacking(permissions=tuple(one for one in PERMISSIONS if _is_for_apps(one) and not _holds(granted, one)))
    answer = await wire.get("")
    may_push = true_at(answer.body, "permissions", "push") or true_at(answer.body, "permissions", "admin")
    scopes = answer.headers.get("x-oauth-scopes")
    if scopes is not None and scopes.strip():
        return _of_scopes(scopes, is_private=true_at(answer.body, "private"), may_push=may_push)
    if not may_push:
        return Lacking(permissions=tuple(one for one in PERMISSIONS if one.level == "write" and one.is_needed))
    return Lacking(unsure="GitHub does not tell what a fine-grained token may do; a refusal names the permission")


def _of_scopes(scopes: str, *, is_private: bool, may_push: bool) -> Lacking:
    has = {scope.strip() for scope in scopes.split(",")}
    is_enough = "repo" in has or ("public_repo" in has and not is_private)
    if is_enough and may_push:
        return Lacking()
    return Lacking(permissions=tuple(one for one in PERMISSIONS if one.level == "write" and one.is_needed))


def _is_for_apps(permission: Permission) -> bool:
    return permission.name != "statuses"


def _holds(granted: Json, wanted: Permission) -> bool:
    has = text_at(granted, wanted.name)
    return has in ("write", "admin") or (has == "read" and wanted.level == "read")
