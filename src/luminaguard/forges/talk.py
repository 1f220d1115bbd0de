"""What people and programs say beside issues: comments, reviews, labels, and pull requests as a person edits them."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from luminaguard.forges.base import Fate
from luminaguard.forges.fates import fate_of
from luminaguard.forges.fields import one_line
from luminaguard.forges.store import Comment, TrackerStore, checked_text, next_number, pull_row
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json, Oid

ReviewState = Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED"]
GREY = "ededed"
US = "luminaguard[bot]"
"""Who we are in the tracker: a bot, so that the repository's owner may approve what we open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label; one that nobody described is grey."""

    name: str
    colour: str = GREY
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineComment:
    """A comment on a line of a pull request's diff; `line` None is the whole file, `answers` the one it replies to."""

    seq: int
    review: int
    path: str
    line: int | None
    side: str
    text: str
    answers: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A review of `head`, with what it says of lines."""

    seq: int
    pull: int
    time: float
    author: str
    state: ReviewState
    text: str
    head: Oid
    lines: tuple[LineComment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A comment on a line that is to be made."""

    path: str
    text: str
    line: int | None = None
    side: str = "RIGHT"
    answers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullForm:
    """What a pull request is opened with."""

    branch: str
    head: Oid
    target: str
    issue: str
    title: str
    body: str
    author: str
    is_draft: bool = False


class Talk:
    """The parts of the tracker that only a forge's face needs. Blocking, as the store is, and with its errors."""

    def __init__(self, store: TrackerStore) -> None:
        self._store = store
        self._database = store.database

    def comments(self, subject: str) -> tuple[Comment, ...]:
        """Read the comments of an issue (by its id) or a pull request ("pull:N"), oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM comment WHERE subject = ? ORDER BY seq", (subject,))
            return tuple(Comment(**dict(row)) for row in rows)

    def comment(self, seq: int) -> Comment | None:
        """Read one comment; None where it is not there."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM comment WHERE seq = ?", (seq,)).fetchone()
            return None if row is None else Comment(**dict(row))

    def say(self, subject: str, text: str, *, author: str) -> Comment:
        """Add a comment."""
        with self._database.writing() as connection:
            return self._say(connection, subject, text, author)

    def say_once(self, subject: str, text: str, *, mark: str, author: str) -> Comment:
        """Add a comment that holds a mark, unless its author has one with that mark there; that one stays as it is."""
        with self._database.writing() as connection:
            found = _marked(connection, subject, mark, author)
            return self._say(connection, subject, text, author) if found is None else found

    def show(self, subject: str, text: str, *, mark: str, author: str) -> Comment:
        """Let the author's one comment with a mark say this; the text holds the mark."""
        with self._database.writing() as connection:
            found = _marked(connection, subject, mark, author)
            if found is None:
                return self._say(connection, subject, text, author)
            return found if found.text == text else self._reword(connection, found, text, author)

    def reword(self, comment: Comment, text: str, *, who: str) -> Comment:
        """Change a comment's text; what it said before stays in the events."""
        with self._database.writing() as connection:
            return self._reword(connection, comment, text, who)

    def unsay(self, comment: Comment, *, who: str) -> None:
        """Take a comment away; what it said stays in the events."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM comment WHERE seq = ?", (comment.seq,))
            self._store.log(connection, "comment deleted", comment.subject, {"comment": comment.seq}, who=who)

    def number_of(self, pull: str) -> int:
        """Give the number of a pull request by what a person types; a UserFault where there is none."""
        with self._database.reading() as connection:
            return int(pull_row(connection, pull)["number"])

    def fate(self, pull: str) -> Fate:
        """Tell what became of a pull request by what a person types; a UserFault where there is none."""
        with self._database.reading() as connection:
            row = pull_row(connection, pull)
            return fate_of(row["merged"], is_closed=bool(row["is_closed"]))

    def open_pull(self, form: PullForm) -> int:
        """Open a pull request and return its number.

        Raises:
            UserFault: its branch has an open one already.
        """
        with self._database.writing() as connection:
            query = "SELECT number FROM pull WHERE branch = ? AND merged IS NULL AND is_closed = 0"
            if (row := connection.execute(query, (form.branch,)).fetchone()) is not None:
                raise UserFault(f"'{form.branch}' has the pull request {row['number']} already", hint="edit that one")
            number = next_number(connection)
            row_of = {field.name: getattr(form, field.name) for field in fields(form)}
            row_of |= {"number": number, "title": title_of(form.title), "body": checked_text("body", form.body)}
            names, marks = ", ".join(row_of), ", ".join(f":{name}" for name in row_of)
            connection.execute(f"INSERT INTO pull ({names}) VALUES ({marks})", row_of)  # noqa: S608 names of columns
            said: dict[str, Json] = {"branch": form.branch, "head": form.head}
            self._store.log(connection, "opened", f"pull:{number}", said, who=form.author)
        return number

    def edit_pull(self, number: int, *, who: str, **changes: str | bool | Sequence[str]) -> None:
        """Change columns of a pull request: title, body, target, head, is_draft, labels; same values change nothing."""
        new: dict[str, str | bool] = {
            key: checked_text("label", json.dumps(value, ensure_ascii=False)) if key == "labels" else value  # type: ignore[misc]
            for key, value in changes.items()
        }
        if "title" in new:
            new["title"] = title_of(str(new["title"]))
        if "body" in new:
            new["body"] = checked_text("body", str(new["body"]))
        with self._database.writing() as connection:
            self._change_pull(connection, number, new, who=who)

    def relabel_pull(self, number: int, change: Callable[[tuple[str, ...]], Iterable[str]], *, who: str) -> None:
        """Change a pull request's labels, from those that it has by then: of two who add one at a time, both do."""
        with self._database.writing() as connection:
            before = tuple(json.loads(pull_row(connection, str(number))["labels"]))
            names = json.dumps(list(dict.fromkeys(change(before))), ensure_ascii=False)
            self._change_pull(connection, number, {"labels": checked_text("label", names)}, who=who)

    def _change_pull(
        self, connection: sqlite3.Connection, number: int, new: Mapping[str, str | bool], *, who: str
    ) -> None:
        before = pull_row(connection, str(number))
        if all(before[key] == value for key, value in new.items()):
            return
        settings = ", ".join(f"{key} = :{key}" for key in new)
        connection.execute(f"UPDATE pull SET {settings} WHERE number = :number", {"number": number, **new})  # noqa: S608 names of columns
        self._store.log(connection, "updated", f"pull:{number}", {"changes": json.loads(json.dumps(new))}, who=who)

    def turn_pull(self, number: int, *, is_closed: bool, who: str) -> None:
        """Close a pull request without a merge, or open it again; a second time changes nothing."""
        with self._database.writing() as connection:
            before = pull_row(connection, str(number))
            if before["merged"] is not None or bool(before["is_closed"]) is is_closed:
                return
            taken = "SELECT 1 FROM pull WHERE branch = ? AND merged IS NULL AND is_closed = 0"
            if not is_closed and connection.execute(taken, (before["branch"],)).fetchone():
                raise UserFault(f"'{before['branch']}' has another open pull request", hint="close that one first")
            connection.execute("UPDATE pull SET is_closed = ? WHERE number = ?", (is_closed, number))
            self._store.log(connection, "closed" if is_closed else "reopened", f"pull:{number}", {}, who=who)

    def intend(self, number: int, *, commit: Oid) -> None:
        """Write down that a pull request is about to land as a commit."""
        with self._database.writing() as connection:
            pull_row(connection, str(number))
            self._store.log(connection, "merging", f"pull:{number}", {"commit": commit})

    def review(
        self, pull: int, *, author: str, state: ReviewState, text: str, head: Oid, remarks: Sequence[Remark] = ()
    ) -> Review:
        """Add a review with its remarks on lines."""
        with self._database.writing() as connection:
            made = self._insert_review(connection, pull, author=author, state=state, text=text, head=head)
            self._insert_remarks(connection, made, remarks)
            row = connection.execute("SELECT * FROM review WHERE seq = ?", (made,)).fetchone()
            return _review(connection, row)

    def review_once(self, pull: str, *, author: str, text: str, head: Oid, remarks: Sequence[Remark] = ()) -> None:
        """Add a review that only comments, with its remarks on lines, unless its author has one of this head there."""
        with self._database.writing() as connection:
            number = pull_row(connection, pull)["number"]
            there = "SELECT 1 FROM review WHERE pull = ? AND author = ? AND head = ?"
            if connection.execute(there, (number, author, head)).fetchone() is None:
                made = self._insert_review(connection, number, author=author, state="COMMENTED", text=text, head=head)
                self._insert_remarks(connection, made, remarks)

    def reviews(self, pull: int) -> tuple[Review, ...]:
        """Read the reviews of a pull request, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM review WHERE pull = ? ORDER BY seq", (pull,)).fetchall()
            return tuple(_review(connection, row) for row in rows)

    def labels(self, used: Sequence[str]) -> tuple[Label, ...]:
        """Read all labels: those that were described, then others of `used`."""
        with self._database.reading() as connection:
            known = [Label(**dict(row)) for row in connection.execute("SELECT * FROM label ORDER BY name")]
        names = {label.name.lower() for label in known}
        return (*known, *(Label(name=name) for name in dict.fromkeys(used) if name.lower() not in names))

    def describe(self, label: Label, *, who: str) -> None:
        """Make a label, or say something else of it."""
        name = one_line(checked_text("label", label.name))
        if not name:
            raise UserFault("a label needs a name", hint="give a word or two")
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO label (name, colour, description) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET colour = excluded.colour, description = excluded.description",
                (name, label.colour, label.description and checked_text("description", label.description)),
            )
            self._store.log(connection, "label described", f"label:{name}", {"colour": label.colour}, who=who)

    def _say(self, connection: sqlite3.Connection, subject: str, text: str, author: str) -> Comment:
        now = self._store.now()
        made = connection.execute(
            "INSERT INTO comment (subject, time, author, text) VALUES (?, ?, ?, ?)",
            (subject, now, author, checked_text("comment", text)),
        )
        self._store.log(connection, "commented", subject, {"text": text}, who=author)
        return Comment(seq=made.lastrowid or 0, subject=subject, author=author, text=text, time=now)

    def _reword(self, connection: sqlite3.Connection, comment: Comment, text: str, who: str) -> Comment:
        now = self._store.now()
        words = (checked_text("comment", text), now, comment.seq)
        connection.execute("UPDATE comment SET text = ?, edited = ? WHERE seq = ?", words)
        said: dict[str, Json] = {"comment": comment.seq, "text": text}
        self._store.log(connection, "comment edited", comment.subject, said, who=who)
        return replace(comment, text=text, edited=now)

    def _insert_review(
        self, connection: sqlite3.Connection, pull: int, *, author: str, state: ReviewState, text: str, head: Oid
    ) -> int:
        made = connection.execute(
            "INSERT INTO review (pull, time, author, state, text, head) VALUES (?, ?, ?, ?, ?, ?)",
            (pull, self._store.now(), author, state, checked_text("review", text), head),
        ).lastrowid
        self._store.log(connection, "reviewed", f"pull:{pull}", {"state": state, "head": head}, who=author)
        return made or 0

    def _insert_remarks(self, connection: sqlite3.Connection, review: int, remarks: Sequence[Remark]) -> None:
        connection.executemany(
            "INSERT INTO line_comment (review, path, line, side, text, answers) VALUES (?, ?, ?, ?, ?, ?)",
            [(review, *_said(it)) for it in remarks],
        )


def _said(it: Remark) -> tuple[str | int | None, ...]:
    return checked_text("path", it.path), it.line, it.side, checked_text("comment", it.text), it.answers


def title_of(text: str) -> str:
    """Give a title as one line; an empty one is a UserFault."""
    title = one_line(checked_text("title", text))
    if not title:
        raise UserFault("a title is needed", hint="give a few words")
    return title


def _marked(connection: sqlite3.Connection, subject: str, mark: str, author: str) -> Comment | None:
    """Find an author's first comment that holds a mark."""
    query = "SELECT * FROM comment WHERE subject = ? AND author = ? AND instr(text, ?) ORDER BY seq"
    row = connection.execute(query, (subject, author, mark)).fetchone()
    return None if row is None else Comment(**dict(row))


def _review(connection: sqlite3.Connection, row: sqlite3.Row) -> Review:
    lines = connection.execute("SELECT * FROM line_comment WHERE review = ? ORDER BY seq", (row["seq"],))
    return Review(**dict(row), lines=tuple(LineComment(**dict(line)) for line in lines))
