"""Comments of ours on forges over HTTP, each known by a hidden mark: made once, edited in place, and no second one.

The mark counts only in what we ourselves wrote, as anybody may copy it into a comment of theirs.
"""

from collections.abc import Callable
from hashlib import sha256

from luminaguard.forges.github.answers import at, number_at, text_at
from luminaguard.forges.github.comments import mark, marked
from luminaguard.forges.http_rules import Http
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json, Oid
from luminaguard.model.issue import Issue

LANDED = "landed"


class Notes:
    """Comments in threads. A thread is the path of its list; `place` gives the path of one comment in it.

    `edit` is the method that edits one, `name` the key of an account's name.
    """

    def __init__(self, http: Http, *, place: Callable[[str, int], str], edit: str, name: str) -> None:
        self._http = http
        self._place = place
        self._edit = edit
        self._name = name
        self._me: str | None = None

    async def say(self, thread: str, key: str, text: str) -> None:
        """Comment once: where there is a comment of this key, nothing changes."""
        await self._there(thread, key, marked(text, key))

    async def show(self, thread: str, key: str, text: str) -> Json:
        """Show a text in the one comment of this key, edited in place."""
        body = marked(text, key)
        note = await self._there(thread, key, body)
        if text_at(note, "body") != body:
            path = self._place(thread, number_at(note, "id"))
            note = (await self._http.again(self._edit, path, {"body": body})).body
        return note

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


def report_key(title: str) -> str:
    """Give the mark of a report by its title."""
    return f"report {sha256(title.encode()).hexdigest()[:12]}"


def import_key(issue: Issue) -> str:
    """Give the mark of an issue that is brought in from elsewhere."""
    where = issue.url or (issue.origin.path if issue.origin else "")
    return f"import {sha256(f'{where}{chr(10)}{issue.id}{chr(10)}{issue.title}'.encode()).hexdigest()[:16]}"


def number_of(text: str, *, what: str, sign: str = "#") -> int:
    """Give the number that an id stands for.

    Raises:
        UserFault: it is none, or of another project.
    """
    bare = text.strip().removeprefix(sign)
    if not (bare.isascii() and bare.isdecimal()):
        raise UserFault(f"{text!r} is no {what} of this project", hint=f"ids are numbers there: {sign}154")
    return int(bare)
