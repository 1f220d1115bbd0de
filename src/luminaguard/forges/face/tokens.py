"""Who may do what: tokens in files that only their owner can read.

The full token lies in `token` as it is, for its owner's own programs. Of every token there is a file in `tokens/`,
named by the token's hash, that says what it may: the folder's listing gives no token, and removing a file revokes one.
"""

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from luminaguard.model.faults import HostFault
from luminaguard.model.ids import IssueId

PREFIX = "lgf_"
LONGEST = 256


class Rights(StrEnum):
    """What a token may, least first."""

    READ = "read"
    COMMENT = "comment"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a token: the name that is shown, and what they may. `issue` is the one that they may comment on.

    `most` bounds what the login may have said on it in all; None is without bound.
    """

    login: str
    rights: Rights
    issue: IssueId | None = None
    most: int | None = None

    def may_comment(self, issue: str) -> bool:
        """Tell whether a comment on the issue is allowed."""
        return self.rights is Rights.FULL or (self.rights is Rights.COMMENT and issue == self.issue)


class Tokens:
    """The tokens in a folder, which is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def full_path(self) -> Path:
        """The file that holds the full token."""
        return self.folder / "token"

    def full(self, *, login: str) -> str:
        """Give the full token; make it where there is none."""
        with contextlib.suppress(FileNotFoundError):
            token = self.full_path.read_text(encoding="ascii").strip()
            if token and self.holder(token) is not None:
                return token
        token = self.make(Holder(login=login, rights=Rights.FULL))
        write_private(self.full_path, f"{token}\n")
        return token

    def make(self, holder: Holder) -> str:
        """Make a token for somebody. Nothing here can show it again."""
        token = new_token()
        self.admit(token, holder)
        return token

    def admit(self, token: str, holder: Holder) -> None:
        """Let a token of `new_token` be worth what its holder may."""
        write_private(self._path(token), json.dumps(asdict(holder)))

    def revoke(self, token: str) -> None:
        """Let a token be worth nothing."""
        self._path(token).unlink(missing_ok=True)

    def holder(self, token: str) -> Holder | None:
        """Tell whose token it is; None for one that is not ours, or was revoked."""
        if not token or len(token) > LONGEST:
            return None
        try:
            said = json.loads(self._path(token).read_text(encoding="utf-8"))
            rights = Rights(said["rights"])
            return Holder(login=said["login"], rights=rights, issue=said["issue"], most=said.get("most"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as exc:
            raise HostFault(
                f"a token in {self.folder} cannot be read: {exc}", hint="remove it and make another"
            ) from exc

    def _path(self, token: str) -> Path:
        return self.folder / "tokens" / hashlib.sha256(token.encode(errors="replace")).hexdigest()


def new_token() -> str:
    """Think of a token, which is worth nothing yet."""
    return PREFIX + secrets.token_urlsafe(32)


def write_private(path: Path, text: str) -> None:
    """Write a file, whole or not at all, that only its owner can read; its folder is made where it is not there.

    Raises:
        HostFault: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # 0600 from the start
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError as exc:
        raise HostFault(f"{path} cannot be written: {exc.strerror}", hint="check the folder and the disk") from exc
