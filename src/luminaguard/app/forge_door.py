"""The forge as attempts see it: where its face listens, and a token for each attempt, worth little and not for long."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from luminaguard.forges.face.tokens import Holder, Rights, Tokens, new_token, write_private
from luminaguard.model.ids import IssueId

COMMENTS = 20
"""What one attempt may say on its issue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeDoor:
    """A face that serves agents. `repository` is "owner/name" there.

    `said` tells how often a login has spoken on an issue; `named` hears of every issue that is worked on.
    """

    socket: Path
    repository: str
    tokens: Tokens
    said: Callable[[IssueId, str], int]
    named: Callable[[IssueId], None]

    def token_kept(self, path: Path, issue: IssueId) -> str:
        """Give the token of an attempt, kept at `path`: one that is attached to again has the same."""
        self.named(issue)
        token = _read(path)
        if token is None:
            token = new_token()
            write_private(path, token)
        if self.tokens.holder(token) is None:
            login = f"agent-{issue}[bot]"
            most = self.said(issue, login) + COMMENTS
            self.tokens.admit(token, Holder(login=login, rights=Rights.COMMENT, issue=issue, most=most))
        return token

    def revoke(self, path: Path) -> None:
        """Let the token that is kept at `path` be worth nothing."""
        token = _read(path)
        if token is not None:
            self.tokens.revoke(token)
            path.unlink(missing_ok=True)


def _read(path: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="ascii").strip() or None
    return None
