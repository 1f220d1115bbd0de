"""Endpoints about who asks and what is served: the user, the repository, limits, version."""

from luminaguard.forges.face.answers import LIMIT, Answer, RefusalError
from luminaguard.forges.face.calls import Call
from luminaguard.forges.face.shapes import repository, whole_user
from luminaguard.model.ids import Json

LIKE = "3.17.0"
"""The GitHub Enterprise Server that programs take us for: they choose their queries by it."""


def root(call: Call) -> Answer:
    """Tell what the token may, as programs look for it."""
    scopes = "repo, read:org" if call.holder.rights == "full" else "read:org"
    return Answer(body={"current_user_url": f"{call.urls.api}/user"}, headers={"X-OAuth-Scopes": scopes})


def me(call: Call) -> Answer:
    """Show who asks."""
    return Answer(body=whole_user(call.urls, call.holder))


def meta(_: Call) -> Answer:
    """Tell a version."""
    return Answer(body={"verifiable_password_authentication": False, "installed_version": LIKE})


def rate_limit(_: Call) -> Answer:
    """Tell that nothing was used of limits that there are not."""
    one: dict[str, Json] = {"limit": int(LIMIT), "used": 0, "remaining": int(LIMIT), "reset": 4102444800}
    return Answer(body={"resources": {"core": one, "search": one, "graphql": one}, "rate": one})


def shown(call: Call) -> Answer:
    """Show the repository."""
    return Answer(body=repository(call.view(), call.holder))


def unknown(_: Call) -> Answer:
    """Refuse what there is no endpoint for."""
    raise RefusalError(404, "Not Found")
