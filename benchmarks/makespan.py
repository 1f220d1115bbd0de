"""How close a run comes to the lower bound: `python benchmarks/makespan.py`.

Agents that wait for lognormal times work through a random graph of issues. The first bound is of the durations that the
same run measured: work is the time that an agent holds a slot, the critical path goes from the start of an agent to the
landing of its issue. What is left over it is lost by the schedule. The second bound is of the agents' waits alone: it
shows what all else costs, on a machine that is not otherwise busy.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from luminaguard.forges.store import TrackerStore
from luminaguard.journal.sqlite import SqliteJournal
from luminaguard.model.facts import Fact
from luminaguard.model.ids import IssueId
from luminaguard.planner.schedule import remaining_path

SLOTS = 8
SETTINGS = """\
[run]
slots = {slots}
agent = "scripted"

[agents.scripted]
protocol = "command"
argv = ["sh", "agent.sh"]

[checks]
run = ["true"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Issues with what they need, and how long each agent waits, in seconds."""

    needs: Mapping[IssueId, frozenset[IssueId]]
    waits: Mapping[IssueId, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run, in seconds, and its two bounds."""

    wall_s: float
    bound_s: float
    waits_bound_s: float


def scenario(count: int, *, total_s: float, seed: int) -> Scenario:
    """Make a graph in which an issue needs up to two of the twenty before it; two in five need nothing."""
    chance = random.Random(seed)
    ids = [IssueId(str(number)) for number in range(1, count + 1)]
    needs = {}
    for at, issue in enumerate(ids):
        wanted = chance.choice((0, 0, 1, 1, 2))
        near = ids[max(0, at - 20) : at]
        needs[issue] = frozenset(chance.sample(near, min(len(near), wanted)))
    raw = {issue: chance.lognormvariate(0.0, 0.8) for issue in ids}
    scale = total_s * SLOTS / sum(raw.values())
    return Scenario(needs=needs, waits={issue: wait * scale for issue, wait in raw.items()})


def repository(folder: Path, made: Scenario) -> Path:
    root = folder / "repository"
    root.mkdir()
    git = ("git", "-C", str(root))
    subprocess.run((*git, "init", "-q", "-b", "main"), check=True)
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        subprocess.run((*git, "config", name, value), check=True)
    cases = "\n".join(f"{issue}) sleep {wait:.3f} ;;" for issue, wait in made.waits.items())
    script = f"case $LUMINAGUARD_ISSUE in\n{cases}\nesac\necho x > $LUMINAGUARD_ISSUE.txt\n"
    (root / "agent.sh").write_text(script, encoding="utf-8")
    (root / "luminaguard.toml").write_text(SETTINGS.format(slots=SLOTS), encoding="utf-8")
    subprocess.run((*git, "add", "-A"), check=True)
    subprocess.run((*git, "commit", "-q", "-m", "Begin"), check=True)
    tracker = TrackerStore(root / ".git/luminaguard/tracker.db")
    for issue, wait in made.waits.items():
        # The estimate is what a person would say: right within a factor of about two.
        tracker.add(f"Do {issue}", id=issue, needs=tuple(sorted(made.needs[issue])), estimate_s=round(wait * 60) + 1)
    return root


def run(root: Path) -> tuple[Fact, ...]:
    ran = subprocess.run(
        (sys.executable, "-m", "luminaguard", "run"), cwd=root, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise SystemExit(ran.stdout[-2000:] + ran.stderr)
    with SqliteJournal(root / ".git/luminaguard/journal.db") as journal:
        return journal.facts(journal.runs()[-1])


def longest_path(needs: Mapping[IssueId, frozenset[IssueId]], seconds: Mapping[IssueId, float]) -> float:
    return max(remaining_path(needs, seconds).values())


def measured(made: Scenario) -> Measured:
    with tempfile.TemporaryDirectory(prefix="makespan-") as folder:
        facts = run(repository(Path(folder), made))
    at = {(fact.subject, fact.name): fact.time for fact in facts}
    issues = list(made.needs)
    agents = {issue: at[issue, "agent"] - at[issue, "placed"] for issue in issues}
    wall_s = max(at[issue, "landed"] for issue in issues) - at["run", "session"]
    # On the critical path stands the whole way to the landing; a slot is held for the agent alone.
    ways = {issue: at[issue, "landed"] - at[issue, "placed"] for issue in issues}
    return Measured(
        wall_s=wall_s,
        bound_s=max(longest_path(made.needs, ways), sum(agents.values()) / SLOTS),
        waits_bound_s=max(longest_path(made.needs, made.waits), sum(made.waits.values()) / SLOTS),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a small graph, once: only to see that it works")
    options = parser.parse_args()
    count, total_s, seeds = (12, 2.0, (1,)) if options.quick else (60, 24.0, (1, 2, 3))
    print(f"{os.cpu_count()} cores, {SLOTS} slots, {count} issues; the aim is at most 1.05 times the lower bound")
    print(f"{'seed':>6} {'makespan (s)':>13} {'bound (s)':>10} {'ratio':>6} {'bound of waits (s)':>19} {'ratio':>6}")
    found = [measured(scenario(count, total_s=total_s, seed=seed)) for seed in seeds]
    for seed, one in zip(seeds, found, strict=True):
        print(_line(str(seed), one))
    middle = Measured(
        wall_s=statistics.median(one.wall_s for one in found),
        bound_s=statistics.median(one.bound_s for one in found),
        waits_bound_s=statistics.median(one.waits_bound_s for one in found),
    )
    print(_line("median", middle))


def _line(name: str, one: Measured) -> str:
    measured_part = f"{one.wall_s:>13.2f} {one.bound_s:>10.2f} {one.wall_s / one.bound_s:>6.3f}"
    return f"{name:>6} {measured_part} {one.waits_bound_s:>19.2f} {one.wall_s / one.waits_bound_s:>6.3f}"


if __name__ == "__main__":
    main()
