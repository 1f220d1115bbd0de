"""What LuminaGuard itself costs for an issue: agents and checks that take no time. `python benchmarks/overhead.py`.

Each line is a whole `luminaguard run` in a new process over independent issues, on a repository of its own, behind the
walls that this machine has. CPU is that of the session and of all that it started, agents and checks included.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from luminaguard.forges.store import TrackerStore

SIZES = (10, 100, 1000)
SLOTS = (4, 8)
SETTINGS = """\
[run]
agent = "instant"

[agents.instant]
protocol = "command"
argv = ["sh", "-c", "echo $LUMINAGUARD_ISSUE > $LUMINAGUARD_ISSUE.txt"]

[checks]
run = ["true"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a whole session, in seconds."""

    wall_s: float
    cpu_s: float


def repository(folder: Path, issues: int) -> Path:
    root = folder / "repository"
    root.mkdir()
    git = ("git", "-C", str(root))
    subprocess.run((*git, "init", "-q", "-b", "main"), check=True)
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        subprocess.run((*git, "config", name, value), check=True)
    (root / "README.md").write_text("hello\n", encoding="utf-8")
    (root / "luminaguard.toml").write_text(SETTINGS, encoding="utf-8")
    subprocess.run((*git, "add", "-A"), check=True)
    subprocess.run((*git, "commit", "-q", "-m", "Begin"), check=True)
    tracker = TrackerStore(root / ".git/luminaguard/tracker.db")
    for number in range(1, issues + 1):
        tracker.add(f"Do {number}", id=str(number))
    return root


def session(root: Path, *, slots: int) -> Cost:
    argv = (sys.executable, "-m", "luminaguard", "run", "--slots", str(slots))
    began = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ | {"PWD": str(root)}, file_actions=_quietly(root.parent / "out"))
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - began
    if status != 0:
        raise SystemExit((root.parent / "out").read_text(encoding="utf-8")[-2000:])
    return Cost(wall_s=wall_s, cpu_s=used.ru_utime + used.ru_stime)


def _quietly(out: Path) -> list[tuple[int, int, str, int, int]]:
    return [(os.POSIX_SPAWN_OPEN, fd, str(out), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for fd in (1, 2)]


def measured(issues: int, *, slots: int, times: int) -> Cost:
    costs = []
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
            root = repository(Path(folder), issues)
            os.chdir(root)
            costs.append(session(root, slots=slots))
            os.chdir("/")
    return Cost(
        wall_s=statistics.median(cost.wall_s for cost in costs), cpu_s=statistics.median(cost.cpu_s for cost in costs)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 issues, once: only to see that it works")
    options = parser.parse_args()
    sizes = SIZES[:1] if options.quick else SIZES
    print(f"{os.cpu_count()} cores; medians; the aim is 50 ms of wall an issue, and growth no worse than linear")
    print(f"{'issues':>7} {'slots':>6} {'runs':>5} {'wall (s)':>9} {'wall/issue (ms)':>16} {'CPU/issue (ms)':>15}")
    for size in sizes:
        for slots in SLOTS:
            times = 1 if options.quick or size >= 1000 else 3
            cost = measured(size, slots=slots, times=times)
            each = f"{1000 * cost.wall_s / size:>16.1f} {1000 * cost.cpu_s / size:>15.1f}"
            print(f"{size:>7} {slots:>6} {times:>5} {cost.wall_s:>9.2f} {each}", flush=True)


if __name__ == "__main__":
    main()
