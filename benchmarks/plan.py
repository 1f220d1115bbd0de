"""How long planning takes, by the size of the backlog: `python benchmarks/plan.py`."""

import random
import statistics
import time
import tracemalloc

from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue
from luminaguard.model.plan import Plan
from luminaguard.planner.plan import plan

SIZES = (100, 1_000, 10_000)
RUNS = 5
_VERBS = ("Add", "Fix", "Investigate", "Design", "Document", "Test", "Rename")
_WORDS = [
    "the",
    "queue",
    "drops",
    "a",
    "change",
    "when",
    "two",
    "agents",
    "finish",
    "at",
    "once",
    "and",
    "nobody",
    "looks",
    "at",
    "which",
    "of",
    "them",
    "was",
    "first",
]
_NEEDS = ("Depends on {}", "**Blocked by:** {}", "Requires {}.", "## Blocked by\n- {}", "After {}")


def tracked_files(count: int) -> frozenset[str]:
    return frozenset(f"src/part{number % 40}/module{number}.py" for number in range(count))


def backlog(count: int, *, seed: int = 1) -> list[Issue]:
    """Make issues of about 500 characters with, on average, two needs, named in the ways that people use."""
    chance = random.Random(seed)
    files = sorted(tracked_files(max(count // 2, 50)))
    return [_issue(number, chance, files) for number in range(1, count + 1)]


def _issue(number: int, chance: random.Random, files: list[str]) -> Issue:
    words = " ".join(chance.choices(_WORDS, k=60))
    named = " and ".join(f"`{path}`" for path in chance.sample(files, chance.randint(0, 3)))
    needed = sorted(chance.sample(range(1, number), min(number - 1, chance.randint(0, 4))))
    half = len(needed) // 2
    said = [chance.choice(_NEEDS).format(f"#{other}") for other in needed[half:]]
    body = [words, f"Look at {named}." if named else "", "## Acceptance criteria", "- [ ] it holds", "", *said]
    return Issue(
        id=IssueId(str(number)),
        title=f"{chance.choice(_VERBS)} part {number}",
        body="\n".join(body),
        needs=tuple(IssueId(str(other)) for other in needed[:half]),
        priority=chance.choice((None, 0, 1, 2, 3, 4)),
    )


def planned(issues: list[Issue]) -> Plan:
    return plan(issues, base=None, tracked=tracked_files(max(len(issues) // 2, 50)), present={}, slots=8)


def seconds(issues: list[Issue]) -> float:
    start = time.perf_counter()
    planned(issues)
    return time.perf_counter() - start


def peak_bytes(issues: list[Issue]) -> int:
    tracemalloc.start()
    planned(issues)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    print(f"{'issues':>7} {'edges':>7} {'waves':>6} {'median of ' + str(RUNS) + ' (s)':>16} {'peak (MiB)':>11}")
    for size in SIZES:
        issues = backlog(size)
        result = planned(issues)
        median = statistics.median(seconds(issues) for _ in range(RUNS))
        mib = peak_bytes(issues) / 2**20
        print(f"{size:>7} {len(result.edges):>7} {len(result.waves):>6} {median:>16.3f} {mib:>11.1f}")


if __name__ == "__main__":
    main()
