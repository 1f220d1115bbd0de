"""One QEMU process with a guest in it: started behind its walls, spoken to, ended with all that belongs to it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.vm.base import Forward, SpawnedFrom, VmConfig
from luminaguard.vm.guest_vm import Guest, linked
from luminaguard.vm.jail import Bind, jailed
from luminaguard.vm.mux import Mux, muxed
from luminaguard.vm.qemu_command import Boot, Ends, Hardware, Memory, arguments
from luminaguard.vm.qmp import Qmp
from luminaguard.vm.running import LOG, Place, end_unwritten

END_WITHIN_S = 10.0
LOG_BYTES = 2000
KEYS = "keys"
KEYS_INSIDE = "/vm/keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """All that a QEMU process is started from. Paths in `hardware`, `memory` and `boot` are those inside the jail.

    `state` and `memory_fd` are open files that the process inherits, to begin from and to have its memory in. A
    template's channels lead nowhere. One that `waits` runs nothing before it is told to.
    """

    program: Path
    bwrap: Path | None
    hardware: Hardware
    memory: Memory
    boot: Boot | None
    binds: tuple[Bind, ...]
    config: VmConfig
    starter: Path | None = None
    state: int = -1
    memory_fd: int = -1
    is_template: bool = False
    waits: bool = False


@dataclass(slots=True, kw_only=True)
class Sockets:
    """Both ends of everything between us and QEMU, until it is started."""

    ours: dict[str, socket.socket] = field(default_factory=dict)
    theirs: dict[str, socket.socket] = field(default_factory=dict)

    def pair(self, name: str) -> None:
        """Make a pair."""
        self.ours[name], self.theirs[name] = socket.socketpair()

    def connect(self, name: str, path: Path) -> None:
        """Connect to a socket of somebody else's for QEMU to use.

        Raises:
            UserFault: nobody listens there.
        """
        sock = self.theirs[name] = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
        except OSError as exc:
            raise UserFault(
                f"nobody listens at {path}, for the channel '{name}': {exc.strerror}", hint="listen there first"
            ) from None

    def close(self, *, ours: bool) -> None:
        """Close QEMU's ends, and ours too."""
        for sock in [*self.theirs.values(), *(self.ours.values() if ours else ())]:
            sock.close()


class Machine:
    """The process and its guest. `Machine.begin` makes one."""

    def __init__(self, start: Start, place: Place, began: float) -> None:
        self.start_of = start
        self._place = place
        self._began = began
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._info = -1
        self._unused: tuple[socket.socket, ...] = ()
        self._mux_end: socket.socket | None = None
        self._mux: Mux | None = None
        self.pid = 0
        self.spawned_from: SpawnedFrom = "boot"
        self.spawn_time_ms = 0.0
        self.downtime_ms = 0.0
        """How long the guest stood still when it moved here."""
        self.ends_at = 0.0
        """When its time is over, by the clock of the event loop."""
        self.memory_fd = -1
        """The guest's memory, where that can pass to another process."""
        self.is_moving = False
        self._has_left = False
        self.guest: Guest
        self.qmp: Qmp

    @property
    def id(self) -> str:
        """Its name, unique on this machine."""
        return self._place.id

    @property
    def folder(self) -> Path:
        """Its own folder, gone with it."""
        return self._place.folder

    @property
    def keys(self) -> Path:
        """Where QEMU is given the key of a move to another host."""
        return self.folder / KEYS

    @property
    def keys_inside(self) -> str:
        """The same, as QEMU sees it."""
        return KEYS_INSIDE if self.start_of.bwrap else str(self.keys)

    @classmethod
    async def begin(cls, start: Start, *, began: float) -> "Machine":
        """Start QEMU. The guest is not asked anything yet.

        `began` is when the caller was asked for it, by `time.monotonic`.

        Raises:
            HostFault: it cannot be started.
            UserFault: nobody listens at a channel's socket.
        """
        machine = cls(start, Place(), began)
        try:
            await machine._begin()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await machine.stop()
            raise
        return machine

    async def _begin(self) -> None:
        sockets = Sockets()
        if self.start_of.memory_fd >= 0:
            self.memory_fd = os.dup(self.start_of.memory_fd)
        self.keys.mkdir(mode=0o700)
        try:
            sockets.pair("agent")
            sockets.pair("mux")
            sockets.pair("qmp")
            self._connect_channels(sockets)
            self._launch(sockets)
            sockets.close(ours=False)
            # Taken out one by one: what a transport has, it closes itself.
            self.guest = await linked(sockets.ours.pop("agent"), self.start_of.config.environment, self._complaint)
            self.qmp = Qmp(sockets.ours.pop("qmp"))
            await self.qmp.open()
            self._mux_end = sockets.ours.pop("mux")
        except BaseException:
            sockets.close(ours=True)
            raise
        self._unused = tuple(sockets.ours.values())
        self._expire_at(asyncio.get_running_loop().time() + self.start_of.config.deadline_s)

    def _expire_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.ends_at = asyncio.get_running_loop().call_at(when, self._expire), when

    def _connect_channels(self, sockets: Sockets) -> None:
        for channel in self.start_of.config.channels:
            if self.start_of.is_template:
                sockets.pair(f"channel {channel.name}")
            else:
                sockets.connect(f"channel {channel.name}", channel.socket)

    def _launch(self, sockets: Sockets) -> None:
        start = self.start_of
        channels = tuple(sockets.theirs[f"channel {one.name}"].fileno() for one in start.config.channels)
        agent, mux, qmp = (sockets.theirs[name].fileno() for name in ("agent", "mux", "qmp"))
        ends = Ends(agent=agent, mux=mux, qmp=qmp, channels=channels)
        self._info, info = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        argv = [str(start.program), *arguments(start.hardware, start.memory, ends, boot=start.boot)]
        argv += ["-S"] if start.waits else []
        binds = (*start.binds, Bind(source=self.keys, inside=KEYS_INSIDE))
        has_kvm = start.hardware.accelerator.name == "kvm"
        command = jailed(start.bwrap, argv, binds, starter=start.starter, pid_fd=info, kvm=has_kvm)
        keep = [agent, mux, qmp, *channels, info, *(fd for fd in (start.state, start.memory_fd) if fd >= 0)]
        try:
            with (self.folder / LOG).open("wb") as log:
                # On this thread: the kernel ends QEMU when the thread that started it does, and workers come and go.
                self._process = subprocess.Popen(
                    command.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=keep,
                    preexec_fn=command.preexec,  # noqa: PLW1509 where there is one: two system calls, prepared before
                    env={},
                )
        except OSError as exc:
            raise HostFault(f"QEMU cannot be started: {exc.strerror}", hint=f"is {start.program} whole?") from exc
        finally:
            os.close(info)

    def _complaint(self) -> str:
        with contextlib.suppress(OSError), (self.folder / LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))  # a guest can make QEMU write a lot
            return log.read(LOG_BYTES).decode(errors="replace").strip()
        return ""

    def answered(self, spawned_from: SpawnedFrom) -> None:
        """Take note that the guest has answered for the first time: now others may find it."""
        self.spawn_time_ms = (time.monotonic() - self._began) * 1000
        self.spawned_from = spawned_from
        self.known()

    def handed_out(self, spawned_from: SpawnedFrom, *, began: float) -> None:
        """Take note that somebody else has it now, whose call began then."""
        self.spawn_time_ms = (time.monotonic() - began) * 1000
        self.spawned_from = spawned_from

    async def forward(self, forwards: Sequence[Forward]) -> None:
        """Let ports of the guest's own loopback, these and no others, lead to sockets here.

        After every start of this process, for a guest that was frozen or moved knows another host yet: its streams are
        cut then. Nothing is done if it is so already.

        Raises:
            UserFault: the forwards cannot be, or a program in the guest has one of the ports.
            HostFault: the guest is gone.
            Transient: it does not answer.
        """
        if tuple(forwards) == (self._mux.forwards if self._mux is not None else ()):
            return
        if self._mux is None:
            assert self._mux_end is not None
            self._mux = await muxed(self._mux_end, Mux(self.guest.link.end))
        await self.guest.listen(self._mux.open(forwards), [forward.port for forward in forwards])

    async def leave(self, why: Fault | None = None) -> None:
        """End the process without the guest, which is somewhere else by now; `why` is for those who follow it here."""
        if why is not None:
            self.guest.link.end(why)
        self._has_left = True
        await self.stop()

    def take_over(self, other: "Machine") -> None:
        """Take over the guest of a machine that it is about to leave, and all that waits for it here."""
        other.guest.link.move_to(self.guest.link)
        self.guest = other.guest
        self.spawned_from, self.spawn_time_ms = other.spawned_from, other.spawn_time_ms
        self._expire_at(other.ends_at)
        self.known()

    def known(self) -> None:
        """Let others find it."""
        self.pid = self._pid()
        self._place.write(pid=self.pid, hypervisor="qemu", spawned_from=self.spawned_from)

    def _pid(self) -> int:
        assert self._process is not None
        try:
            return int(json.loads(os.read(self._info, 4096))["child-pid"])
        except (OSError, ValueError, KeyError):
            return self._process.pid  # no bubblewrap in between

    @property
    def is_alive(self) -> bool:
        """Whether its guest can still be spoken to."""
        is_there = self._process is not None and self._process.poll() is None and not self._has_left
        return is_there and self.guest.link.fault is None

    def _expire(self) -> None:
        limit = self.start_of.config.deadline_s
        self.guest.link.end(Transient(f"the guest's time is over: {limit:g} s", hint="give it a longer deadline_s"))
        self._kill()

    def _kill(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        pid = self.pid or self._pid()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if pid == self._process.pid:
            return
        with contextlib.suppress(OSError):  # bubblewrap's own process ends when QEMU has; before it began, it is all
            os.kill(pid, 0)
            return
        self._process.kill()

    def _close_mux(self) -> None:
        if self._mux is not None:
            self._mux.close()
        elif self._mux_end is not None:
            self._mux_end.close()

    async def stop(self) -> None:
        """End it at once and remove all that belongs to it. A second call does nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if hasattr(self, "guest") and not self._has_left:
            self.guest.link.end(HostFault(f"the guest {self.id} was stopped", hint="spawn another one"))
        if hasattr(self, "qmp"):
            self.qmp.close()
        self._close_mux()
        self._kill()
        if self._process is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._reap)
                if not self.pid:  # bubblewrap may have been killed before what it began was bound to it
                    await anyio.to_thread.run_sync(end_unwritten, self.folder)
        if self._info >= 0:
            os.close(self._info)
            self._info = -1
        if self.memory_fd >= 0:
            os.close(self.memory_fd)
            self.memory_fd = -1
        for sock in self._unused:
            sock.close()
        self._place.close()

    def _reap(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_WITHIN_S)
