"""The report file of a bug: what to attach when telling us. It holds no environment variable and no local variable."""

# Loaded at every start, so nothing slow: tempfile, datetime and platform would cost 15 ms together.
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from luminaguard import __version__


def write_crash_report(error: BaseException, argv: Sequence[str]) -> Path | None:
    """Write the report where only this user can read it; None where no folder takes a file."""
    text = crash_text(error, argv)
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{time.time_ns() % 10**9:09}.txt"
    for folder in (_state_folder(), Path(os.environ.get("TMPDIR", "/tmp"))):  # noqa: S108 opened exclusively
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            continue
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return folder / name
    return None


def _state_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 Path's raises without a home
    return Path(base) / "luminaguard"


def crash_text(error: BaseException, argv: Sequence[str]) -> str:
    """Write the report: when, what was typed, which versions, where in the code."""
    facts = (
        f"luminaguard {__version__}",
        f"time      {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}",
        f"python    {sys.version}",
        f"platform  {' '.join(os.uname())}",
        f"argv      {list(argv)}",
    )
    return "\n".join((*facts, "", *traceback.format_exception(error)))
