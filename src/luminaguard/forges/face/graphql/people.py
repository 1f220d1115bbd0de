"""People and programs as GraphQL objects."""

from luminaguard.forges.face.graphql.values import Asked, Value
from luminaguard.forges.face.names import node_id
from luminaguard.forges.face.shapes import login_in, number_for


def actor(asking: Asked, author: str | None) -> Value:
    """Give a person or a program."""
    login = login_in(asking.view, author)
    return {
        "__typename": "Bot" if login.endswith("[bot]") else "User",
        "id": node_id("U", login),
        "login": login,
        "name": login,
        "databaseId": number_for(login),
        "url": f"{asking.view.urls.web}/{login}",
        "avatarUrl": f"{asking.view.urls.web}/{login}.png",
        "resourcePath": f"/{login}",
    }


def user(asking: Asked, login: str) -> Value:
    """Give a person, where a program cannot stand."""
    return {**actor(asking, login), "__typename": "User"}
