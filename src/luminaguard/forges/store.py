"""The local tracker's store: issues, comments, pull requests, and an event for every change.

Blocking; safe from any thread and any number of processes, because every call is one transaction.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

from luminaguard.forges.absorption import Absorption, number_of
from luminaguard.forges.base import Pull, PullDraft
from luminaguard.forges.database import Database
from luminaguard.forges.documents import document_of, issue_from
from luminaguard.forges.fields import issue_id, one_line
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json, Oid
from luminaguard.model.issue import Backlog, Issue, IssueState, Kind, Notice


class Changes(TypedDict, total=False):
    """What may be said of an issue besides its title; what is left out stays as it is, None takes a value away."""

    body: str
    labels: tuple[str, ...]
    needs: tuple[IssueId, ...]
    kind: Kind | None
    priority: int | None
    estimate_s: float | None
    touches: tuple[str, ...]
    parent: IssueId | None
    author: str | None
    milestone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A comment. Times are seconds since the epoch; `edited` is None where it stands as it was written."""

    seq: int
    subject: str
    author: str
    text: str
    time: float
    edited: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change that was made: who, what, to what, when. `time` is seconds since the epoch."""

    seq: int
    time: float
    who: str
    what: str
    subject: str
    data: dict[str, Json]


class TrackerStore:
    """The tracker in one SQLite file, which is made when it is first used. `who` is named in the events.

    Every method raises `HostFault` where the file or the disk is broken, `Transient` where another process holds it for
    too long, and `UserFault` for an id that is not there or cannot be.
    """

    def __init__(self, path: Path, *, who: str = "luminaguard", clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._database = Database(path)
        self._who = who
        self._clock = clock

    @property
    def database(self) -> Database:
        """The tables, for the parts of the tracker that keep their own."""
        return self._database

    @property
    def who(self) -> str:
        """Who is named where nobody else is."""
        return self._who

    def now(self) -> float:
        """Tell the time, in seconds since the epoch."""
        return self._clock()

    def add(self, title: str, *, id: str | None = None, **said: Unpack[Changes]) -> Issue:  # noqa: A002 as typed
        """Add an open issue under the next free number, or under `id`."""
        with self._database.writing() as connection:
            made = IssueId(str(next_number(connection))) if id is None else _checked_id(id)
            _must_be_free(connection, made)
            issue = replace(Issue(id=made, title=_title(title)), **_checked(said))
            self._insert(connection, issue)
        return issue

    def bring(self, issue: Issue, *, key: str) -> IssueId:
        """Add an issue from elsewhere as an open one, under its own id where that is free; the same key adds it once.

        What it waits for, and where it was, is left out: those are names of elsewhere.
        """
        with self._database.writing() as connection:
            row = connection.execute("SELECT issue FROM brought WHERE key = ?", (key,)).fetchone()
            if row is not None:
                return IssueId(row["issue"])
            own = issue_id(issue.id)
            made = own if own is not None and _is_free(connection, own) else IssueId(str(next_number(connection)))
            body = checked_text("body", issue.body)
            came = replace(issue, id=made, title=_title(issue.title), body=body, state=IssueState.OPEN)
            self._insert(connection, replace(came, needs=(), blocks=(), parent=None, origin=None, url=None))
            connection.execute("INSERT INTO brought (key, issue) VALUES (?, ?)", (key, made))
        return made

    def add_need(self, issue: str, need: str) -> None:
        """Say that an issue waits for another; a second time changes nothing."""
        with self._database.writing() as connection:
            before, wanted = _issue(connection, issue), _issue(connection, need).id
            if wanted in before.needs:
                return
            after = replace(before, needs=(*before.needs, wanted))
            connection.execute("UPDATE issue SET document = ? WHERE id = ?", (_document(after), after.id))
            self.log(connection, "edited", after.id, {"changes": {"needs": list(after.needs)}})

    def remove_need(self, issue: str, need: str) -> None:
        """Say that an issue waits no longer for another; a second time changes nothing."""
        with self._database.writing() as connection:
            before = _issue(connection, issue)
            self._edited(connection, before, needs=tuple(it for it in before.needs if it != need))

    def relabel(self, issue: str, change: Callable[[tuple[str, ...]], Iterable[str]]) -> None:
        """Change an issue's labels, from those that it has by then: of two who add one at a time, both do."""
        with self._database.writing() as connection:
            before = _issue(connection, issue)
            self._edited(connection, before, labels=tuple(dict.fromkeys(change(before.labels))))

    def edit(self, issue: str, *, title: str | None = None, **changes: Unpack[Changes]) -> Issue:
        """Change what is said of an issue."""
        with self._database.writing() as connection:
            return self._edited(connection, _issue(connection, issue), title=title, **changes)

    def _edited(
        self, connection: sqlite3.Connection, before: Issue, *, title: str | None = None, **changes: Unpack[Changes]
    ) -> Issue:
        after = replace(before, title=before.title if title is None else _title(title), **_checked(changes))
        if after == before:
            return before
        connection.execute("UPDATE issue SET document = ? WHERE id = ?", (_document(after), after.id))
        said = changes if title is None else {"title": title, **changes}
        self.log(connection, "edited", after.id, {"changes": json.loads(json.dumps(said))})
        return after

    def close(self, issue: str, *, comment: str = "", reason: str = "completed", who: str | None = None) -> Issue:
        """Close an issue with a comment; closing a closed one changes nothing and adds no second comment."""
        return self._turn(issue, IssueState.CLOSED, "closed", comment, reason=reason, who=who)

    def reopen(self, issue: str, *, comment: str = "", who: str | None = None) -> Issue:
        """Open a closed issue again; opening an open one changes nothing."""
        return self._turn(issue, IssueState.OPEN, "reopened", comment, reason="reopened", who=who)

    def comment(self, issue: str, text: str, *, author: str | None = None) -> None:
        """Add a comment."""
        with self._database.writing() as connection:
            found = _issue(connection, issue)
            self._comment(connection, found.id, checked_text("comment", text), author=author)
            self.log(connection, "commented", found.id, {"text": text})

    def show(self, issue: str) -> Issue:
        """Read one issue."""
        with self._database.reading() as connection:
            return _issue(connection, issue)

    def issues(self, *, source: str | None = None) -> tuple[Issue, ...]:
        """Read all issues, or those that came from `source`, in its order."""
        query = "SELECT * FROM issue WHERE ?1 IS NULL OR source = ?1 ORDER BY position, rowid"
        with self._database.reading() as connection:
            return tuple(_from_row(row) for row in connection.execute(query, (source,)))

    def comments(self, issue: str) -> tuple[Comment, ...]:
        """Read an issue's comments, oldest first."""
        with self._database.reading() as connection:
            query = "SELECT * FROM comment WHERE subject = ? ORDER BY seq"
            rows = connection.execute(query, (_issue(connection, issue).id,))
            return tuple(Comment(**dict(row)) for row in rows)

    def events(self, subject: str | None = None) -> tuple[Event, ...]:
        """Read all events, or those of an issue, oldest first."""
        query = "SELECT * FROM event WHERE ?1 IS NULL OR subject = ?1 ORDER BY seq"
        with self._database.reading() as connection:
            return tuple(_event(row) for row in connection.execute(query, (subject,)))

    def pulls(self) -> tuple[Pull, ...]:
        """Read all pull requests by number."""
        with self._database.reading() as connection:
            return tuple(_pull(row) for row in connection.execute("SELECT * FROM pull ORDER BY number"))

    def open_pull(self, draft: PullDraft, *, who: str | None = None) -> Pull:
        """Return the branch's pull request, brought up to the draft; create it only where the branch has none.

        A merged one counts while the branch has not moved on. `who` is the author of one that is created.
        """
        with self._database.writing() as connection:
            _issue(connection, draft.issue)
            query = "SELECT * FROM pull WHERE branch = ? AND (merged IS NULL OR head = ?) ORDER BY number DESC"
            row = connection.execute(query, (draft.branch, draft.head)).fetchone()
            if row is not None and row["merged"] is not None:
                return _pull(row)
            number = next_number(connection) if row is None else int(row["number"])
            self._write_pull(connection, number, draft, row, who=who or self._who)
            return _pull(connection.execute("SELECT * FROM pull WHERE number = ?", (number,)).fetchone())

    def mark_merged(self, pull: str, *, commit: Oid, who: str | None = None) -> None:
        """Record what the pull request landed as; a second time changes nothing."""
        with self._database.writing() as connection:
            row = pull_row(connection, pull)
            if row["merged"] is None:
                connection.execute("UPDATE pull SET merged = ? WHERE number = ?", (commit, row["number"]))
                self.log(connection, "merged", f"pull:{row['number']}", {"commit": commit}, who=who)

    def absorb(self, backlog: Backlog, *, source: str) -> tuple[Notice, ...]:
        """Bring the issues of a file in; returns what a person might not expect."""
        with self._database.writing() as connection:

            def log(what: str, subject: str, data: dict[str, Json]) -> None:
                self.log(connection, what, subject, data)

            return Absorption(connection=connection, source=source, log=log).take(backlog.issues)

    def _turn(self, issue: str, state: IssueState, what: str, comment: str, *, reason: str, who: str | None) -> Issue:
        with self._database.writing() as connection:
            found = _issue(connection, issue)
            if found.state is state:
                return found
            connection.execute("UPDATE issue SET state = ? WHERE id = ?", (state, found.id))
            if comment:
                self._comment(connection, found.id, checked_text("comment", comment), author=who)
            self.log(connection, what, found.id, {"comment": comment, "reason": reason}, who=who)
        return replace(found, state=state)

    def _insert(self, connection: sqlite3.Connection, issue: Issue) -> None:
        position = connection.execute("SELECT coalesce(max(position), -1) + 1 FROM issue").fetchone()[0]
        connection.execute(
            "INSERT INTO issue (id, number, position, state, document) VALUES (?, ?, ?, ?, ?)",
            (issue.id, number_of(issue.id), position, issue.state, _document(issue)),
        )
        self.log(connection, "added", issue.id, {"title": issue.title})

    def _comment(self, connection: sqlite3.Connection, issue: str, text: str, *, author: str | None) -> None:
        connection.execute(
            "INSERT INTO comment (subject, time, author, text) VALUES (?, ?, ?, ?)",
            (issue, self._clock(), author or self._who, text),
        )

    def _write_pull(
        self, connection: sqlite3.Connection, number: int, draft: PullDraft, row: sqlite3.Row | None, *, who: str
    ) -> None:
        said = ("branch", "head", "target", "issue", "title", "body", "is_draft")
        before: list[str] = [] if row is None else json.loads(row["labels"])
        labels = json.dumps([*before, *(label for label in draft.labels if label not in before)])
        wanted = {**{key: getattr(draft, key) for key in said}, "labels": labels, "is_closed": False}
        if row is not None and all(row[key] == value for key, value in wanted.items()):
            return
        connection.execute(
            "INSERT INTO pull (number, branch, head, target, issue, title, body, is_draft, labels, author)"
            " VALUES (:number, :branch, :head, :target, :issue, :title, :body, :is_draft, :labels, :author)"
            " ON CONFLICT (number) DO UPDATE SET head = :head, target = :target, issue = :issue, title = :title,"
            " body = :body, is_draft = :is_draft, labels = :labels, is_closed = :is_closed",
            {"number": number, "author": who, **wanted},
        )
        what = "opened" if row is None else "updated"
        self.log(connection, what, f"pull:{number}", {"branch": draft.branch, "head": draft.head}, who=who)

    def log(
        self,
        connection: sqlite3.Connection,
        what: str,
        subject: str,
        data: Mapping[str, Json],
        *,
        who: str | None = None,
    ) -> None:
        """Add the event that every change ends with, in the change's own transaction."""
        connection.execute(
            "INSERT INTO event (time, who, what, subject, data) VALUES (?, ?, ?, ?, ?)",
            (self._clock(), who or self._who, what, subject, json.dumps(data, ensure_ascii=False)),
        )


def next_number(connection: sqlite3.Connection) -> int:
    """Give the next free number: issues and pull requests share one sequence, as on GitHub."""
    query = "SELECT max((SELECT coalesce(max(number), 0) FROM issue), (SELECT coalesce(max(number), 0) FROM pull))"
    return int(connection.execute(query).fetchone()[0]) + 1


def pull_row(connection: sqlite3.Connection, pull: str) -> sqlite3.Row:
    """Read the row of a pull request by what a person types; a UserFault where there is none."""
    number = number_of(pull.removeprefix("#"))
    row: sqlite3.Row | None = connection.execute("SELECT * FROM pull WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise UserFault(f"there is no pull request {pull!r} in the tracker", hint="check its number")
    return row


def _is_free(connection: sqlite3.Connection, issue: IssueId) -> bool:
    query = "SELECT 1 FROM issue WHERE id = ?1 UNION ALL SELECT 1 FROM pull WHERE number = ?2"
    return connection.execute(query, (issue, number_of(issue))).fetchone() is None


def _must_be_free(connection: sqlite3.Connection, issue: IssueId) -> None:
    if connection.execute("SELECT 1 FROM issue WHERE id = ?", (issue,)).fetchone():
        raise UserFault(f"issue {issue} is there already", hint=f"change it with `luminaguard issues edit {issue}`")
    if connection.execute("SELECT 1 FROM pull WHERE number = ?", (number_of(issue),)).fetchone():
        raise UserFault(f"{issue} is the number of a pull request", hint="leave the id out, and the next one is taken")


def _issue(connection: sqlite3.Connection, issue: str) -> Issue:
    bare = issue.removeprefix("#")
    row = connection.execute("SELECT * FROM issue WHERE id = ?", (bare,)).fetchone()
    if row is None:
        raise UserFault(
            f"there is no issue {bare!r} in the tracker", hint="see `luminaguard issues` for those there are"
        )
    return _from_row(row)


def _from_row(row: sqlite3.Row) -> Issue:
    return issue_from(row["id"], row["state"], row["document"], row["origin"])


def _pull(row: sqlite3.Row) -> Pull:
    merged = None if row["merged"] is None else Oid(row["merged"])
    return Pull(
        id=str(row["number"]),
        branch=row["branch"],
        issue=IssueId(row["issue"]),
        title=row["title"],
        body=row["body"],
        merged=merged,
        head=Oid(row["head"]),
        is_draft=bool(row["is_draft"]),
    )


def _event(row: sqlite3.Row) -> Event:
    return Event(
        seq=row["seq"],
        time=row["time"],
        who=row["who"],
        what=row["what"],
        subject=row["subject"],
        data=json.loads(row["data"]),
    )


def _checked_id(text: str) -> IssueId:
    found = issue_id(text)
    if found is None:
        raise UserFault(f"{text!r} cannot be an issue's id", hint='use letters, digits, "-" and ".": 154, BACK-3')
    return found


def _document(issue: Issue) -> str:
    return checked_text("issue", document_of(issue))


def _title(text: str) -> str:
    title = one_line(checked_text("title", text))
    if not title:
        raise UserFault("an issue needs a title", hint="give a few words")
    return title


def _checked(changes: Changes) -> Changes:
    """Bring what a person typed into shape."""
    checked = changes.copy()
    if "body" in checked:
        checked["body"] = checked_text("body", checked["body"])
    if "labels" in checked:
        checked["labels"] = tuple(checked_text("label", label) for label in checked["labels"])
    if (milestone := checked.get("milestone")) is not None:
        checked["milestone"] = checked_text("milestone", milestone)
    if "needs" in checked:
        checked["needs"] = tuple(_checked_id(need) for need in checked["needs"])
    if (parent := checked.get("parent")) is not None:
        checked["parent"] = _checked_id(parent)
    if (priority := checked.get("priority")) is not None and not 0 <= priority <= 4:
        raise UserFault(f"the priority {priority} is not one of 0 to 4", hint="0 is the most urgent")
    if (estimate_s := checked.get("estimate_s")) is not None and not 0 < estimate_s < float("inf"):
        raise UserFault(f"the estimate {estimate_s} s is not more than 0", hint="give it as 2h or 30m")
    return checked


def checked_text(name: str, text: str) -> str:
    """Give back a text that the tables and JSON can hold; anything else is a UserFault."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserFault(f"the {name} is not UTF-8", hint="type it again, or set the terminal to UTF-8") from None
    if "\0" in text:
        raise UserFault(f"the {name} holds a NUL character", hint="take it out")
    return text
