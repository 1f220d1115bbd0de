"""What our token must be allowed on GitLab, least first, and what of it is lacking."""

from luminaguard.forges.answers import at, list_at, names_in, number_at
from luminaguard.forges.base import Lacking, Permission
from luminaguard.forges.gitlab.issues import DEVELOPER, Issues
from luminaguard.forges.http_notes import Notes
from luminaguard.forges.http_rules import Http
from luminaguard.model.ids import Json

API = Permission(name="scope api", level="write", why="to open merge requests, post reviews and close issues")
ROLE = Permission(name="role Developer", level="write", why="to push branches and what has passed")

PERMISSIONS = (
    Permission(name="scope read_api", level="read", why="to read the backlog: enough for `luminaguard plan`"),
    API,
    ROLE,
)
"""Least first. The scope `api` holds `read_api` and what git needs."""

NO_SCOPES = "GitLab does not tell the scopes of this kind of token"
NO_ROLE = "GitLab does not tell our role in the project"


async def lacking(http: Http, notes: Notes, issues: Issues) -> Lacking:
    """Compare what we are allowed with what is needed.

    Raises:
        Fault: the project cannot be read at all.
    """
    project = (await http.get("")).body
    scopes, role = await _scopes(http), await _role(project, notes, issues)
    absent = [API] if scopes is not None and "api" not in scopes else []
    absent += [ROLE] if role is not None and role < DEVELOPER else []
    unsure = [NO_SCOPES] * (scopes is None) + [NO_ROLE] * (role is None)
    return Lacking(permissions=tuple(absent), unsure="; ".join(unsure))


async def _scopes(http: Http) -> tuple[str, ...] | None:
    """Ask the token about itself; None for tokens of OAuth and of jobs, fine-grained ones, and servers before 15.5."""
    answer = await http.get("/personal_access_tokens/self", ok=(200, 400, 401, 403, 404))
    scopes = names_in(list_at(answer.body, "scopes"), "")
    return None if "granular" in scopes or at(answer.body, "granular_scopes") else scopes or None


async def _role(project: Json, notes: Notes, issues: Issues) -> int | None:
    """Give our level. The project itself names only what it and its own group give us, not what is inherited."""
    granted = [number_at(project, "permissions", of, "access_level") for of in ("project_access", "group_access")]
    if max(granted) >= DEVELOPER:
        return max(granted)
    me, levels = await notes.me(), await issues.levels()
    return None if not me or levels is None else max(levels.get(me, 0), *granted)
