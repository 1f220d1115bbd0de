"""Whether a process goes on, for tests that look at what was left behind."""

from pathlib import Path


def is_alive(pid: int) -> bool:
    """Tell whether a process is at work; one that has ended and that nobody has asked after yet is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
