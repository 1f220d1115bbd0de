"""The key that two hosts share to move a guest: a file that only its user can read."""

import os
import secrets
from pathlib import Path

from luminaguard.model.faults import UserFault

KEY_BYTES = 32
OTHERS = 0o077


def made_key(path: Path) -> bytes:
    """Read the key, or make it where there is none.

    Raises:
        UserFault: it cannot be read or made, is no key, or others can read it.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return read_key(path)
    except OSError as exc:
        raise UserFault(
            f"the key {path} cannot be made: {exc.strerror}", hint="name a file in a folder of yours"
        ) from exc
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
    return read_key(path)


def read_key(path: Path) -> bytes:
    """Read the key.

    Raises:
        UserFault: there is none, it is no key, or others can read it.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as exc:
        raise UserFault(
            f"the key {path} cannot be read: {exc.strerror}",
            hint="`luminaguard vm migrate --listen` makes it on the other host; copy it from there",
        ) from None
    if mode & OTHERS:
        raise UserFault(f"the key {path} can be read by others", hint=f"chmod 600 {path}")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise UserFault(f"{path} holds no key: {2 * KEY_BYTES} hexadecimal digits", hint="copy the other host's anew")
    return key
