"""What our token must be allowed on Gitea or Forgejo, least first, and what of it is lacking."""

from luminaguard.forges.answers import true_at
from luminaguard.forges.base import Lacking, Permission
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Http

USER = Permission(name="read:user", level="read", why="to know our own comments again", is_needed=False)

PERMISSIONS = (
    Permission(name="read:repository", level="read", why="to find the repository"),
    Permission(name="read:issue", level="read", why="to read the backlog: enough for `luminaguard plan`"),
    Permission(name="write:repository", level="write", why="to push branches, open pull requests and post reviews"),
    Permission(name="write:issue", level="write", why="to close issues, and for the status comment"),
    USER,
)
"""Least first. To write, the account must be a collaborator who may."""

NO_SCOPES = "Gitea does not tell which scopes a token has; a refusal names what it needs"


async def lacking(http: Http, notes: Notes) -> Lacking:
    """Compare what our account may do with what is needed; of the token's scopes only `read:user` shows by trying.

    Raises:
        Fault: the repository cannot be read at all.
    """
    repository = (await http.get("")).body
    may_write = true_at(repository, "permissions", "push") or true_at(repository, "permissions", "admin")
    absent = [one for one in PERMISSIONS if one.level == "write" and not may_write]
    absent += [USER] if not await notes.me() else []
    return Lacking(permissions=tuple(absent), unsure=NO_SCOPES if may_write else "")
