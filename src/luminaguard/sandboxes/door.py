"""The door to the gateway, inside the walls: listens on the loopback, relays to a Unix socket, and becomes the program.

`python -I -S door.py SOCKET PORT PROGRAM [ARGUMENT...]`: a script of the standard library alone. It listens before the
program runs. The relay is a process that belongs to nobody: no child of the program, no part of its session, of its
output or of its signals; it ends when the program has ended. PORT 0: any port that is free, which then stands in the
arguments and the environment wherever the usual one stood: so several doors can be open where no walls are between.
"""

import contextlib
import errno
import os
import selectors
import signal
import socket
import sys
import time

USUAL_PORT = 8470
WAIT_S = 10.0
"""How long a connection waits for a gateway that is being started again."""
TRY_EVERY_S = 0.02
PIECE = 256 * 1024
HELD = 4 * PIECE
"""How much is read ahead of a side that does not take it."""
NOBODY_YET = (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN)


def main() -> int:
    """Open the door and become the program; an exit code only where that fails."""
    path, port, program = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of an earlier program, on the way to their end, must not keep the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as exc:
        sys.stderr.write(f"the door to the gateway cannot be opened on port {port}: {exc.strerror}\n")
        return 126
    environment = dict(os.environ)
    if not port:
        usual, own = f"127.0.0.1:{USUAL_PORT}", f"127.0.0.1:{listener.getsockname()[1]}"
        program = [word.replace(usual, own) for word in program]
        environment = {name: value.replace(usual, own) for name, value in environment.items()}
    open_door(listener, path)
    return become(program, environment)


def become(program: list[str], environment: dict[str, str]) -> int:
    """Execute the program in our place."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and a program inherits that
    try:
        os.execvpe(program[0], program, environment)  # noqa: S606 the command line that we were given
    except OSError as exc:
        sys.stderr.write(f"cannot start {program[0]}: {exc.strerror}\n")
        return 127 if exc.errno == errno.ENOENT else 126


def open_door(listener: socket.socket, path: str) -> None:
    """Leave a relay behind that serves until we, and what we become, have ended."""
    # Forked twice: as a child of the program it would turn up where that waits for its own.
    watched = os.pidfd_open(os.getpid()) if hasattr(os, "pidfd_open") else -1
    parent = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        listener.close()
        if watched >= 0:
            os.close(watched)
        return
    if os.fork():
        os._exit(0)
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)  # a program that saves its work at the end may still need us
        Relay(listener, path, watched, parent).run()
    finally:
        os._exit(0)


class Side:
    """One end of a connection. `out` waits to be sent to it; `has_ended`: it sends no more."""

    __slots__ = ("has_ended", "mask", "other", "out", "sock", "tells_end")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.other = self
        self.out = bytearray()
        self.has_ended = False
        self.tells_end = False
        self.mask = 0


class Relay:
    """Carries bytes between programs inside and the gateway, in one thread."""

    def __init__(self, listener: socket.socket, path: str, watched: int, parent: int) -> None:
        self.listener = listener
        self.path = path
        self.watched = watched
        self.parent = parent
        self.select = selectors.DefaultSelector()
        self.waiting: list[tuple[float, socket.socket]] = []

    def run(self) -> None:
        """Serve until the program has ended."""
        self.listener.settimeout(0.0)
        self.select.register(self.listener, selectors.EVENT_READ)
        if self.watched >= 0:
            self.select.register(self.watched, selectors.EVENT_READ)
        while True:
            every_s = TRY_EVERY_S if self.waiting else (None if self.watched >= 0 else 1.0)
            for key, mask in self.select.select(every_s):
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fd == self.watched:
                    return
                else:
                    self.move(key.data, mask)
            if self.watched < 0 and not is_alive(self.parent):
                return
            if self.waiting:
                self.try_waiting()

    def accept(self) -> None:
        """Take a connection of a program inside."""
        try:
            inner, _ = self.listener.accept()
        except OSError:
            return
        inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting.append((time.monotonic() + WAIT_S, inner))
        self.try_waiting()

    def try_waiting(self) -> None:
        """Connect those that wait to the gateway; after a while, close them."""
        waiting, self.waiting = self.waiting, []
        for until, inner in waiting:
            outer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            outer.settimeout(0.0)
            try:
                outer.connect(self.path)
            except OSError as exc:
                outer.close()
                if exc.errno in NOBODY_YET and time.monotonic() < until:
                    self.waiting.append((until, inner))
                else:
                    inner.close()
                continue
            inner.settimeout(0.0)
            near, far = Side(inner), Side(outer)
            near.other, far.other = far, near
            for side in (near, far):
                side.mask = selectors.EVENT_READ
                self.select.register(side.sock, side.mask, side)

    def move(self, side: Side, mask: int) -> None:
        """Carry what can be carried, from a side and to it."""
        if side.sock.fileno() < 0:
            return  # closed while its event was on the way
        try:
            if mask & selectors.EVENT_WRITE:
                del side.out[: side.sock.send(side.out)]
            if mask & selectors.EVENT_READ:
                self.read(side)
            for one in (side, side.other):
                if one.other.has_ended and not one.out and not one.tells_end:
                    one.tells_end = True
                    one.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(side)
            return
        if side.has_ended and side.other.has_ended and not side.out and not side.other.out:
            self.close(side)
            return
        self.mind(side)
        self.mind(side.other)

    def read(self, side: Side) -> None:
        """Take a piece from a side, and hand it on at once as far as the other takes it."""
        try:
            piece = side.sock.recv(PIECE)
        except BlockingIOError:
            return
        if not piece:
            side.has_ended = True
            return
        other = side.other
        sent = 0
        if not other.out:
            with contextlib.suppress(BlockingIOError):
                sent = other.sock.send(piece)
        if sent < len(piece):
            other.out += piece[sent:]

    def mind(self, side: Side) -> None:
        """Look for what can go on: reading while the other side keeps up, writing while something waits."""
        mask = 0
        if not side.has_ended and len(side.other.out) < HELD:
            mask |= selectors.EVENT_READ
        if side.out:
            mask |= selectors.EVENT_WRITE
        if mask == side.mask:
            return
        if not mask:
            self.select.unregister(side.sock)
        elif side.mask:
            self.select.modify(side.sock, mask, side)
        else:
            self.select.register(side.sock, mask, side)
        side.mask = mask

    def close(self, side: Side) -> None:
        """Close both ends."""
        for one in (side, side.other):
            if one.mask:
                self.select.unregister(one.sock)
                one.mask = 0
            one.sock.close()


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, where the kernel cannot tell us of its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main())
