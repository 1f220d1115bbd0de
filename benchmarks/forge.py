"""A thousand issues listed and planned over HTTP: requests, seconds, memory. `python benchmarks/forge.py [--json]`.

The server is the local forge's own face, in a process of its own, over real HTTP on loopback; the reader is the GitHub
driver in another. So the seconds are the two programs', and what the way to github.com adds is requests times its round
trip. The second reading sends the ETags of the first: what has not changed costs no rate limit. Every tenth issue
is closed, every fifth waits for another, every seventh is a child, and bodies have some 2 KB.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from luminaguard.forges.face.app import face
from luminaguard.forges.face.server import Address, serve, tcp_socket
from luminaguard.forges.face.site import site_of
from luminaguard.forges.face.tokens import Tokens
from luminaguard.forges.github.auth import Token
from luminaguard.forges.github.forge import GitHub
from luminaguard.forges.github.repository import repository_named
from luminaguard.forges.store import TrackerStore
from luminaguard.host.git import find_repository
from luminaguard.model.ids import IssueId
from luminaguard.planner.plan import plan

ISSUES = 1000
BODY = "The parser drops the last line of a file without a newline at its end.\n" * 28
ME = ("Ann", "ann@example.org")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of the whole backlog; `unchanged` of its requests were answered with 304."""

    requests: int
    unchanged: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the reader saw. Memory is the process's own at its peak, before the first request and after all."""

    machine: str
    issues: int
    first: Reading
    again: Reading
    planned_s: float
    waves: int
    idle_mib: float
    peak_mib: float


def filled(folder: Path, count: int) -> TrackerStore:
    """Make a repository with a tracker of so many issues."""
    subprocess.run(("git", "init", "-q", "-b", "main", str(folder)), check=True)
    store = TrackerStore(find_repository(folder).state / "tracker.db", who=ME[0])
    for number in range(1, count + 1):
        made = store.add(
            f"Issue {number}",
            body=BODY,
            labels=("bug", f"priority: p{number % 4}"),
            needs=(IssueId(str(number - 4)),) if number % 5 == 0 else (),
            parent=IssueId(str(number - 6)) if number % 7 == 0 else None,
        )
        if number % 10 == 0:
            store.close(made.id, comment="")
    return store


def serve_until_told(folder: Path, count: int) -> None:
    """Serve until a signal comes; address and token are said on standard output."""
    store = filled(folder, count)
    site = site_of(find_repository(folder), target="main", identity=ME, store=store, owner="ann", name="demo")
    state = folder / ".git/luminaguard"
    tokens = Tokens(state)
    listener = tcp_socket(Address(host="127.0.0.1", port=0))
    said = {"url": f"http://127.0.0.1:{listener.getsockname()[1]}/api/v3/", "token": tokens.full(login="ann")}
    app = face(site, tokens, folder=state)

    async def run() -> None:
        await serve(app, [listener], started=lambda: print(json.dumps(said), flush=True))

    anyio.run(run)


@contextmanager
def serving(count: int) -> Iterator[dict[str, str]]:
    """Give address and token of a server that ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        argv = (sys.executable, __file__, "--serve", folder, "--issues", str(count))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                told: dict[str, str] = json.loads(server.stdout.readline())
                yield told
            finally:
                server.terminate()


async def reading(forge: GitHub) -> Reading:
    before, wall_s, cpu_s = (forge.counts.requests, forge.counts.unchanged), time.perf_counter(), time.process_time()
    await forge.backlog()
    return Reading(
        requests=forge.counts.requests - before[0],
        unchanged=forge.counts.unchanged - before[1],
        wall_s=time.perf_counter() - wall_s,
        cpu_s=time.process_time() - cpu_s,
    )


async def read_and_plan(url: str, token: str) -> Measured:
    forge = GitHub(repository_named("ann/demo", base_url=url), Token(text=token, source="benchmark"))
    idle = peak_mib()
    async with forge.open():
        first, again = await reading(forge), await reading(forge)
        backlog = await forge.backlog()
    started_s = time.perf_counter()
    made = plan(backlog.issues, base=None, tracked=frozenset({"src/parser.py"}), present={}, slots=8)
    return Measured(
        machine=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        issues=len(backlog.issues),
        first=first,
        again=again,
        planned_s=time.perf_counter() - started_s,
        waves=len(made.waves),
        idle_mib=idle,
        peak_mib=peak_mib(),
    )


def peak_mib() -> float:
    """Give this process's peak. ru_maxrss counts in who started it, so it is only for where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # in bytes on macOS
    line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def print_lines(measured: Measured) -> None:
    print(f"{measured.machine}: {measured.issues} issues")
    print(f"{'reading':<8}{'requests':>9}{'unchanged':>10}{'wall (s)':>10}{'CPU (s)':>9}")
    for name, one in (("first", measured.first), ("again", measured.again)):
        print(f"{name:<8}{one.requests:>9}{one.unchanged:>10}{one.wall_s:>10.2f}{one.cpu_s:>9.2f}")
    print(
        f"planned in {measured.planned_s:.2f} s, {measured.waves} waves; "
        f"memory {measured.idle_mib:.0f} -> {measured.peak_mib:.0f} MiB at its peak"
    )


def main() -> None:
    """Start a server and a reader, and print what the reader measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--issues", type=int, default=ISSUES)
    parser.add_argument("--quick", action="store_true", help="50 issues, to see that it works")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    count = 50 if chosen.quick else chosen.issues
    if chosen.serve is not None:
        serve_until_told(chosen.serve, count)
        return
    if chosen.read is None:
        with serving(count) as told:
            argv = (sys.executable, __file__, "--read", told["url"], told["token"])
            subprocess.run((*argv, *(["--json"] if chosen.json else [])), check=True)
        return
    measured = anyio.run(read_and_plan, *chosen.read)
    if chosen.json:
        print(json.dumps(asdict(measured), indent=1))
        return
    print_lines(measured)


if __name__ == "__main__":
    main()
