"""Comments of ours, each known by its hidden mark: made once, edited in place, and no second one."""

from luminaguard.forges.answers import number_at, seconds_at, text_at
from luminaguard.forges.base import Comment
from luminaguard.forges.github.wire import Wire
from luminaguard.forges.marks import mark, marked
from luminaguard.model.ids import Json

_VIEWER = "query { viewer { login } }"


class Comments:
    """Comments on issues and pull requests, which GitHub numbers alike."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._login: str | None = None

    async def say(self, number: int, key: str, text: str) -> None:
        """Comment once: where there is a comment of this key, nothing changes."""
        await self._there(number, key, marked(text, key))

    async def show(self, number: int, key: str, text: str) -> str:
        """Show a text in the one comment of this key, edited in place; returns its address."""
        body = marked(text, key)
        comment = await self._there(number, key, body)
        if text_at(comment, "body") != body:
            path = f"issues/comments/{number_at(comment, 'id')}"
            comment = (await self._wire.again("PATCH", path, {"body": body})).body
        return text_at(comment, "html_url")

    async def listed(self, number: int) -> tuple[Comment, ...]:
        """List all comments on an issue, oldest first."""
        found = sorted(await self._wire.all(f"issues/{number}/comments"), key=lambda one: number_at(one, "id"))
        return tuple(_comment(item) for item in found)

    async def ours(self, number: int, key: str) -> list[Json]:
        """List our comments of a key, oldest first."""
        wanted = mark(key)
        found = [one async for one in self._wire.pages(f"issues/{number}/comments") if wanted in text_at(one, "body")]
        return [one for one in found if await self.is_ours(one)]

    async def is_ours(self, item: Json) -> bool:
        """Tell whether we wrote it: by the account; where GitHub does not tell ours, nobody else's mark is expected."""
        login = await self.login()
        return login in ("", text_at(item, "user", "login").removesuffix("[bot]"))

    async def login(self) -> str:
        """Name our account, "" where it cannot be told. An App has no /user; its "[bot]" is left out."""
        if self._login is None:
            answer = await self._wire.get("/user", ok=(200, 401, 403, 404))
            name = text_at(answer.body, "login") if answer.status == 200 else await self._viewer()
            self._login = name.removesuffix("[bot]")
        return self._login

    async def _viewer(self) -> str:
        answer = await self._wire.ask(_VIEWER)
        return text_at(answer, "viewer", "login")

    async def _there(self, number: int, key: str, body: str) -> Json:
        async def look() -> Json:
            return await self._only(number, key)

        async def make() -> Json:
            return (await self._wire.once("POST", f"issues/{number}/comments", {"body": body})).body

        return await self._wire.made_once(look, make)

    async def _only(self, number: int, key: str) -> Json:
        """Give our comment of a key; a second one, from an answer that came too late, is removed."""
        found = await self.ours(number, key)
        for late in found[1:]:
            await self._wire.again("DELETE", f"issues/comments/{number_at(late, 'id')}", ok=(204, 404))
        return found[0] if found else None


def _comment(item: Json) -> Comment:
    return Comment(
        id=str(number_at(item, "id")),
        author=text_at(item, "user", "login"),
        association=text_at(item, "author_association").lower() or None,
        text=text_at(item, "body"),
        time=seconds_at(item, "created_at"),
    )


def names_person(item: Json) -> bool:
    """Tell a person from a bot; who comments by an App in their own name is a person."""
    kind, login = text_at(item, "user", "type"), text_at(item, "user", "login")
    return kind != "Bot" and bool(login) and not login.endswith("[bot]")
