"""Start-up of the command line: `--version`, `--help`, and `status` on a finished run of 100 issues.

Run: python benchmarks/startup.py [--times N]. Aims: --version under 150 ms, status under 250 ms.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import RUN
from luminaguard.model.ids import Json, RunId

ISSUES = 100
OID = "0123456789abcdef0123456789abcdef01234567"


def main() -> None:
    """Print a table of medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=21)
    options.add_argument("--quick", action="store_true", help="three runs each, to see that it works")
    chosen = options.parse_args()
    times = 3 if chosen.quick else chosen.times
    program = Path(sys.executable).with_name("luminaguard")
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        make_run(repository)
        print(f"{os.cpu_count()} cores, {times} runs each, milliseconds of wall time")
        print(f"{'command':<24}{'median':>8}{'min':>8}")
        for words in (("--version",), ("--help",), ("status",), ("status", "--json"), ("problems",)):
            measured = [timed([str(program), *words], repository) for _ in range(times)]
            print(f"{' '.join(words):<24}{statistics.median(measured):>8.0f}{min(measured):>8.0f}")


def timed(argv: list[str], folder: Path) -> float:
    """Run a command once; milliseconds."""
    began = time.perf_counter()
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000


def make_run(repository: Path) -> None:
    """Make a repository with the journal of a run that landed every issue."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    run = RunId("20260101-000000-0000")
    with SqliteJournal(repository / ".git/luminaguard/journal.db") as journal:
        started: dict[str, Json] = {"target": "main", "base": OID, "slots": 4, "checks": ["true"], "backlog": "local"}
        journal.add_now(run, RUN, "started", started)
        journal.add_now(run, RUN, "session:1", {"pid": 1, "isolation": "namespace", "reason": ""})
        for number in range(1, ISSUES + 1):
            add_issue(journal, run, str(number))
        journal.add_now(run, RUN, "session_ended:1", {"outcome": "done"})


def add_issue(journal: SqliteJournal, run: RunId, issue: str) -> None:
    """Write the facts of one landed issue."""
    files: list[Json] = [{"path": f"src/file{issue}.py", "added": 10, "removed": 2}]
    planned: dict[str, Json] = {"title": f"Issue {issue}", "kind": "bug", "needs": [], "wave": 1, "estimate_s": 60.0}
    facts: tuple[tuple[str, dict[str, Json]], ...] = (
        ("planned", {**planned, "branch": f"feature/issue-{issue}", "deliverables": [], "issue": {"id": issue}}),
        ("ready", {}),
        ("attempt:1", {"start": OID, "target": OID, "why": "first", "feedback": ""}),
        ("placed:1.1", {"agent": "mine", "isolation": "namespace"}),
        ("agent:1", {"ended": "exited", "exit_code": 0, "seconds": 1.5, "commit": OID, "files": files}),
        ("published:1", {"branch": f"feature/issue-{issue}", "commit": OID, "pull_request": str(1000 + int(issue))}),
        ("queued:1", {"commit": OID}),
        ("candidate:1.1", {"commit": OID, "tree": OID, "base": OID}),
        ("checks:1.1", {"ok": True, "why": "all checks passed", "tree": OID, "seconds": 0.5, "commands": []}),
        ("landing:1.1", {"candidate": OID, "tree": OID, "base": OID}),
        ("landed", {"commit": OID, "tree": OID, "base": OID, "files": files, "attempt": 1}),
        ("closing", {"pull_request": str(1000 + int(issue))}),
        ("closed", {"state": "closed", "closed": True}),
    )
    for kind, data in facts:
        journal.add_now(run, issue, kind, data)


if __name__ == "__main__":
    main()
