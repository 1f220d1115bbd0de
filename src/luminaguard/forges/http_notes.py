"""Comments of ours over HTTP, each known by its hidden mark: made once, edited in place, and no second one."""

from collections.abc import Awaitable, Callable

from luminaguard.forges.answers import at, number_at, seconds_at, text_at, true_at
from luminaguard.forges.base import Comment
from luminaguard.forges.http_rules import Http
from luminaguard.forges.marks import mark, marked
from luminaguard.model.ids import Json, Oid

LANDED = "landed"


class Notes:
    """Comments in threads. A thread is the path of its list; `place` gives the path of one comment in it.

    `edit` is the method that edits one, `name` the key of an account's name, `tamed` takes from a text what the server
    would carry out.
    """

    def __init__(
        self,
        http: Http,
        *,
        place: Callable[[str, int], str],
        edit: str,
        name: str,
        tamed: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._http = http
        self._place = place
        self._edit = edit
        self._name = name
        self._tamed = tamed
        self._me: str | None = None

    async def say(self, thread: str, key: str, text: str) -> None:
        """Comment once: where there is a comment of this key, nothing changes."""
        await self._there(thread, key, marked(self._tamed(text), key))

    async def show(self, thread: str, key: str, text: str) -> Json:
        """Show a text in the one comment of this key, edited in place."""
        body = marked(self._tamed(text), key)
        note = await self._there(thread, key, body)
        if text_at(note, "body") != body:
            path = self._place(thread, number_at(note, "id"))
            note = (await self._http.again(self._edit, path, {"body": body})).body
        return note

    async def listed(self, thread: str, association: Callable[[str], Awaitable[str]]) -> tuple[Comment, ...]:
        """List what is said in a thread, oldest first: not what the server itself notes, nor what is for insiders."""
        notes = [note async for note in self._http.pages(thread) if not _is_apart(note)]
        notes.sort(key=lambda note: (seconds_at(note, "created_at"), number_at(note, "id")))
        return tuple([await self._comment(note, association) for note in notes])

    async def _comment(self, note: Json, association: Callable[[str], Awaitable[str]]) -> Comment:
        author = self.author(note)
        return Comment(
            id=str(number_at(note, "id")),
            author=author,
            association=await association(author),
            text=text_at(note, "body"),
            time=seconds_at(note, "created_at"),
        )

    async def ours(self, thread: str, key: str) -> list[Json]:
        """List our comments of a key, oldest first."""
        wanted = mark(key)
        found = [note async for note in self._http.pages(thread) if wanted in text_at(note, "body")]
        me = await self.me() if found else ""
        return sorted((note for note in found if me in ("", self.author(note))), key=lambda note: number_at(note, "id"))

    async def only(self, thread: str, key: str) -> Json:
        """Give our comment of a key; a second one, from an answer that came too late, is removed."""
        found = await self.ours(thread, key)
        for late in found[1:]:
            await self._http.again("DELETE", self._place(thread, number_at(late, "id")), ok=(200, 204, 404))
        return found[0] if found else None

    async def landed(self, thread: str) -> Oid | None:
        """Read from our comment what a pull request landed as; None where we said nothing."""
        said = await self.only(thread, LANDED)
        words = text_at(said, "body").partition("\n")[0].rstrip(".").split()
        return Oid(words[-1]) if words else None

    async def say_landed(self, thread: str, *, target: str, commit: Oid) -> None:
        """Say what a pull request landed as, once."""
        await self.say(thread, LANDED, f"Landed on `{target}` as {commit}.")

    async def me(self) -> str:
        """Name our account; "" where the server does not tell, as with tokens that may not read the user."""
        if self._me is None:
            answer = await self._http.get("/user", ok=(200, 401, 403, 404))
            self._me = text_at(answer.body, self._name) if answer.status == 200 else ""
        return self._me

    def author(self, note: Json) -> str:
        """Name who wrote a comment: GitLab says `author`, Gitea `user`."""
        return text_at(at(note, "author") or at(note, "user"), self._name)

    async def _there(self, thread: str, key: str, body: str) -> Json:
        async def look() -> Json:
            return await self.only(thread, key)

        async def make() -> Json:
            await self._http.once("POST", thread, {"body": body})
            # Somebody else with our token may have said it at the same moment: the first one stays.
            return await look()

        return await self._http.made_once(look, make)


def _is_apart(note: Json) -> bool:
    return true_at(note, "system") or true_at(note, "internal") or true_at(note, "confidential")
