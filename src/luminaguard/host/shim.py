"""The small parent of every enclosed program: it outlives the orchestrator, and nothing outlives it.

Forked by the nursery, `python -I -S shim.py`, for one place after the other. A place is a folder with a `spec.json`
(see `host.detached.start`); the shim writes the program's output to `log` (and its standard output apart to `out` where
asked), bounds time, output, memory, processes and disk, and at the end renames `result.json` into place.
The open lock that it inherits is its sign of life: whoever can take the lock knows that no shim is left.
"""

import contextlib
import errno
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

GRACE_S = 5.0
GONE_WITHIN_S = 30.0
"""How long the end of what was killed is waited for: on a busy machine that, too, takes its time."""
LOOK_EVERY_S = 1.0
CHUNK = 65536
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What asks a shim to stop its program."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC: list[Any] = []
TOLD = ("memory", "disk", "lost")
"""What walls of their own may say of how a program ended."""
DISK_LEFT_BYTES = 256 * 1024 * 1024


class Log:
    """The head and the tail of what a program says: a flood costs neither disk nor memory."""

    def __init__(self, path: str, limit: int) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self.room = limit // 2
        self.tail_room = limit - self.room
        self.tail: list[bytes] = []
        self.tail_bytes = 0
        self.dropped = 0

    def write(self, chunk: bytes) -> None:
        """Keep the chunk: in the file while there is room, then in the rolling tail."""
        now, rest = chunk[: self.room], chunk[self.room :]
        if now:
            os.write(self.file, now)
            self.room -= len(now)
        if not rest:
            return
        # A program that writes byte by byte must not cost us an object for each.
        if self.tail and len(self.tail[-1]) + len(rest) <= CHUNK:
            self.tail[-1] += rest
        else:
            self.tail.append(rest)
        self.tail_bytes += len(rest)
        while self.tail_bytes - len(self.tail[0]) >= self.tail_room:
            gone = self.tail.pop(0)
            self.tail_bytes -= len(gone)
            self.dropped += len(gone)

    def close(self) -> None:
        """Write the tail behind a line that says what is missing."""
        if self.dropped:
            os.write(self.file, b"\n[... %d bytes not kept ...]\n" % self.dropped)
        for chunk in self.tail:
            os.write(self.file, chunk)
        os.close(self.file)


def nursery() -> int:
    """Fork a shim for each place that comes in on standard input, a socket, until its other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the shims: the kernel is to bury them
    load_libc()
    # What the collector would touch in a fork is a page that has to be copied.
    gc.disable()
    gc.freeze()
    with socket.socket(fileno=0) as asked:
        while True:
            message, fds, _, _ = socket.recv_fds(asked, 65536, 3)
            if not message:
                return 0
            # Kept until the shim can hear it: one that a request to stop ends before that would be taken for lost, and
            # its program started again.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
            child = os.fork()
            if not child:
                os._exit(forked(asked, os.fsdecode(message), fds))
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            # Written by us, who go on whatever becomes of the asker: whoever comes later finds whom to stop.
            with open(os.path.join(os.fsdecode(message), "pid"), "w", encoding="ascii") as file:  # noqa: PTH118, PTH123
                file.write(f"{child}\n")
            for fd in fds:
                os.close(fd)
            asked.send(b"%d" % child)


def forked(asked: socket.socket, place: str, fds: list[int]) -> int:
    """Be the shim of a place; `fds` are its lock, its log, and the owner's pipe where it is to end with its owner.

    Requests to stop are blocked when this begins.
    """
    os.setsid()
    asked.detach()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(fds[1], 2)
    os.close(fds[1])
    try:
        return main(place, fds[2] if len(fds) > 2 else -1)
    except BaseException:  # noqa: BLE001 the shim's own edge: what went wrong with it is to be read in its log
        sys.excepthook(*sys.exc_info())
        return 1


def main(place: str, owner: int) -> int:
    """Run what PLACE/spec.json says; 0 when the result is written. `owner` is a pipe's read end, or -1."""
    with open(os.path.join(place, "spec.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123 pathlib costs 6 ms
        spec = json.load(file)
    wake, wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
    for number in (*STOPS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    began = time.monotonic()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    groups = make_groups(spec["cgroups"])
    merged, merged_in = os.pipe2(os.O_CLOEXEC)
    apart, apart_in = os.pipe2(os.O_CLOEXEC) if spec["out"] else (-1, -1)
    child = start(spec, groups, merged_in, apart_in)
    os.close(merged_in)
    if apart_in >= 0:
        os.close(apart_in)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    result = watch(spec, place, child, began, owner, wake, merged, apart, groups)
    empty(groups)
    result["seconds"] = time.monotonic() - began
    temporary = os.path.join(place, "result.tmp")  # noqa: PTH118
    with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(result, file)
        if owner < 0:
            # Only what goes on without its owner is looked for after a power cut.
            file.flush()
            os.fsync(file.fileno())
    os.rename(temporary, os.path.join(place, "result.json"))  # noqa: PTH104, PTH118
    remove(groups)
    return 0


def make_groups(wanted: list[dict[str, object]]) -> list[str]:
    """Make the control groups; one that cannot be made is left out (the watch below holds the limits then)."""
    made = []
    for group in wanted:
        path = str(group["path"])
        limits = group["limits"]
        assert isinstance(limits, dict)
        try:
            os.makedirs(path, exist_ok=True)  # noqa: PTH103
            for name, value in limits.items():
                with open(os.path.join(path, name), "w", encoding="ascii") as file:  # noqa: PTH118, PTH123
                    file.write(str(value))
        except OSError:
            continue
        made.append(path)
    return made


def empty(groups: list[str]) -> None:
    """Kill what the program left running: without walls nothing else reaches what went into a session of its own."""
    for group in groups:
        until = time.monotonic() + GONE_WITHIN_S
        while (left := members(group)) and time.monotonic() < until:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)


def members(group: str) -> list[int]:
    """List the processes of a control group."""
    try:
        with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as file:  # noqa: PTH118, PTH123
            return [int(line) for line in file]
    except OSError:
        return []


def remove(groups: list[str]) -> None:
    """Remove the control groups; the kernel holds on to one for a moment after its last process has ended."""
    for group in groups:
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until:
            try:
                os.rmdir(group)  # noqa: PTH106
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.005)
            else:
                break


def start(spec: dict, groups: list[str], merged_in: int, apart_in: int) -> int:  # type: ignore[type-arg]
    """Fork and execute; in the child every limit is in force before the program's first instruction."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        become(spec, groups, merged_in, apart_in)
        told = {"LUMINAGUARD_CAUSE": spec["told"]} if spec["told"] else {}
        os.execve(spec["argv"][0], spec["argv"], {**spec["env"], **told})  # noqa: S606
    except OSError as exc:
        os.write(2, f"cannot start {spec['argv'][0]}: {exc.strerror}\n".encode())
    os._exit(127 if exc_is_missing(spec["argv"][0]) else 126)


def exc_is_missing(program: str) -> bool:
    """Tell whether the program is not there at all."""
    return not os.path.exists(program)  # noqa: PTH110


def become(spec: dict, groups: list[str], merged_in: int, apart_in: int) -> None:  # type: ignore[type-arg]
    """Turn the forked child into what the spec says, up to the exec."""
    if spec["die_with_parent"]:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for group in groups:
        with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as file:  # noqa: PTH118, PTH123
            file.write("0")
    for name, value in spec["rlimits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (bound, bound))
    stdin = os.open(spec["stdin"] or os.devnull, os.O_RDONLY)
    os.dup2(stdin, 0)
    os.dup2(apart_in if apart_in >= 0 else merged_in, 1)
    os.dup2(merged_in, 2)
    os.chdir(spec["cwd"])
    signal.set_wakeup_fd(-1)
    for number in (*STOPS, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    # The lock is the shim's alone: a program that kept it would look like a living shim.
    os.closerange(3, 4096)


def watch(  # noqa: C901, PLR0912, PLR0915, PLR0917 one loop over one select: apart, its parts would share ten variables
    spec: dict,  # type: ignore[type-arg]
    place: str,
    child: int,
    began: float,
    owner: int,
    wake: int,
    merged: int,
    apart: int,
    groups: list[str],
) -> dict[str, object]:
    """Drain, bound and reap; return the result without its `seconds`."""
    log = Log(os.path.join(place, "log"), spec["log_bytes"])  # noqa: PTH118
    out = -1
    if apart >= 0:
        out = os.open(os.path.join(place, "out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)  # noqa: PTH118
    out_room = spec["out_bytes"]
    deadline = began + spec["timeout_s"]
    cause, asked_at, killed = "exited", 0.0, False
    status: int | None = None
    peak = 0
    reading = [fd for fd in (merged, apart) if fd >= 0]
    looked = now = began
    drain_until = 0.0
    # By the time of the last look: however late we are, what it said last is looked for once more.
    while status is None or (reading and now < drain_until):
        ready, _, _ = select.select([*reading, wake, *([owner] if owner >= 0 else [])], [], [], LOOK_EVERY_S / 2)
        now = time.monotonic()
        stop = ""
        for fd in [fd for fd in reading if fd in ready]:
            chunk = os.read(fd, CHUNK)
            if not chunk:
                reading.remove(fd)
            elif fd == merged:
                log.write(chunk)
            elif len(chunk) > out_room:
                stop = "output"
            else:
                os.write(out, chunk)
                out_room -= len(chunk)
        if wake in ready:
            numbers = os.read(wake, 256)
            stop = "cancelled" if any(n != signal.SIGCHLD for n in numbers) else stop
        if owner >= 0 and owner in ready and not os.read(owner, 1):
            owner, stop = -1, "owner gone"
        if now >= deadline:
            stop = stop or "timeout"
        if now - looked >= LOOK_EVERY_S:
            stop = stop or overdrawn(spec, child)
            # A large tree takes long to measure: at most a tenth of the time goes into it.
            looked = time.monotonic() + 9 * (time.monotonic() - now)
        if stop and cause == "exited" and status is None:
            cause, asked_at = stop, now
            soft = stop in ("timeout", "cancelled")
            killed = not soft
            (ask if soft else kill)(child)
        if asked_at and not killed and now - asked_at >= GRACE_S:
            killed = True
            kill(child)
        if status is None:
            pid, got, usage = os.wait4(child, os.WNOHANG)
            if pid:
                status, peak = got, usage.ru_maxrss * 1024
                drain_until = now + 2.0
                kill(child)
                end_orphans()
    if over_in_group(groups):
        cause = "memory"
    if cause == "exited":
        cause = told_cause(spec["told"])
    log.close()
    if out >= 0:
        os.close(out)
    return {"cause": cause, "exit_code": os.waitstatus_to_exitcode(status), "max_rss_bytes": peak}


def told_cause(path: str) -> str:
    """Read how the program ended as its walls say, "exited" where they say nothing."""
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            said = file.read(64)
    except (OSError, ValueError):
        return "exited"
    return said if said in TOLD else "exited"


def load_libc() -> None:
    """Load what `prctl` needs, once for all that are forked."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 not on the way of what only imports this module

        LIBC.append(ctypes.CDLL(None))


def prctl(option: int, value: int) -> None:
    """Ask the kernel for something that Python has no name for; nothing where it is not Linux."""
    for libc in LIBC:
        libc.prctl(option, value)


def end_orphans() -> None:
    """End what the program left behind, and wait until it is gone.

    Orphans become our children (PR_SET_CHILD_SUBREAPER). bwrap itself ends as soon as it knows the exit code, a little
    before the namespace and what runs in it: whoever reads the result must not find them still writing.
    """
    deadline = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in own_children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def own_children() -> list[int]:
    """List our children; theirs become ours as soon as they are killed."""
    own = os.getpid()
    try:
        with open(f"/proc/self/task/{own}/children", encoding="ascii") as file:  # noqa: PTH123
            return [int(pid) for pid in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN: every process of the machine has to be looked at
        return family(own)[1:]


def kill(child: int) -> None:
    """End the program and its process group; where it is a namespace's parent the namespace goes with it."""
    for call in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            call(child, signal.SIGKILL)


def ask(child: int) -> None:
    """Ask politely: TERM to every process inside but the walls' own, so that the agent can still save its work."""
    inside = [pid for pid in family(child) if not is_walls(pid)]
    for pid in inside or [child]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)


def is_walls(pid: int) -> bool:
    """Tell whether a process is the sandbox's own: first of its process-id namespace, or bwrap itself."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            lines = dict(line.rstrip("\n").partition(":\t")[::2] for line in file)
    except OSError:
        return True
    return lines.get("Name") == "bwrap" or lines.get("NSpid", "").split("\t")[-1] == "1"


def family(root: int) -> list[int]:
    """List a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                parent = int(file.read().rpartition(") ")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, []))
    return found


def overdrawn(spec: dict, child: int) -> str:  # type: ignore[type-arg]
    """Name the limit that is passed, or "". This holds where no control group does, a second late."""
    if os.path.isdir("/proc/self"):  # noqa: PTH112
        pids = family(child)
        if len(pids) > spec["processes"] + 8:
            return "processes"
        if sum(map(resident_bytes, pids)) > spec["memory_bytes"]:
            return "memory"
    if spec["grow"] and (folder_bytes(spec["grow"]) > spec["grow_bytes"] or free_bytes(spec["grow"]) < DISK_LEFT_BYTES):
        return "disk"
    return ""


def free_bytes(folder: str) -> int:
    """Room left on the disk: what a program hides from the count, in open files that it deleted, shows here."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return sys.maxsize
    return found.f_bavail * found.f_frsize


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, shared pages left out."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
            fields = file.read().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * resource.getpagesize() if len(fields) > 2 else 0


def folder_bytes(root: str) -> int:
    """Disk used below a folder; follows no link, and gives up silently on what it may not read.

    Each entry counts as 4 KiB at least, as even an empty file takes room that the disk has only so much of. Folders so
    deep that no path can name them are never an honest program's: more than any limit.
    """
    total, todo = 0, [root]
    while todo:
        try:
            entries = list(os.scandir(todo.pop()))
        except OSError as exc:
            if exc.errno == errno.ENAMETOOLONG:
                return sys.maxsize
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                todo.append(entry.path)
            with contextlib.suppress(OSError):
                total += max(entry.stat(follow_symlinks=False).st_blocks * 512, 4096)
    return total


def over_in_group(groups: list[str]) -> bool:
    """Tell whether the kernel killed something for its memory."""
    for group in groups:
        for name in ("memory.events", "memory.oom_control"):
            try:
                with open(os.path.join(group, name), encoding="ascii") as file:  # noqa: PTH118, PTH123
                    words = dict(line.split() for line in file if len(line.split()) == 2)
            except OSError as exc:
                if exc.errno in (errno.ENOENT, errno.ENOTDIR):
                    continue
                return False
            if int(words.get("oom_kill", "0")):
                return True
    return False


if __name__ == "__main__":
    sys.exit(nursery())
