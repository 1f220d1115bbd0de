"""What the door to the gateway does behind every kind of walls: real programs, a real socket, no gateway."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from guest_image import guests_of

from luminaguard.host.detached import Command, Ended, ask_to_stop, run_attached, start, wait
from luminaguard.sandboxes.base import GATEWAY_URL, Mount, Sandbox, Walls
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.none import NoWalls

AT = Path("/workspace")
PYTHON = "python3"
CALL = """
import socket, sys, os
host, port = os.environ["URL"].removeprefix("http://").split(":")
near = socket.create_connection((host, int(port)), timeout=60)
near.sendall(sys.argv[1].encode())
near.shutdown(socket.SHUT_WR)
got = b""
while piece := near.recv(65536):
    got += piece
print(len(got), got[:20].decode())
"""

MUCH = """
import socket, os, threading
host, port = os.environ["URL"].removeprefix("http://").split(":")
near = socket.create_connection((host, int(port)), timeout=60)
threading.Thread(target=near.sendall, args=(b"x" * 5000000,)).start()
got = 0
while got < 5000000:
    got += len(near.recv(65536))
print(got)
"""


@pytest.fixture(scope="module")
def guests(guest_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return guests_of(tmp_path_factory.mktemp("state"), guest_image)


@pytest.fixture(params=["namespace", "none"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    made: Sandbox = Namespace(tmp_path / "state") if request.param == "namespace" else NoWalls()
    if (why := made.missing()) is not None:
        pytest.skip(f"no {request.param}: {why}")
    return made


@pytest.fixture(params=["namespace", "none", pytest.param("guests", marks=pytest.mark.vm)])
def any_sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    """Guests too, which have no door inside but a way of the hypervisor's."""
    made: Sandbox = Namespace(tmp_path / "state") if request.param == "namespace" else NoWalls()
    if request.param == "guests":
        made = request.getfixturevalue("guests")
    if (why := made.missing()) is not None:
        pytest.skip(f"no {request.param}: {why}")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "gateway"
    made.mkdir()
    (tmp_path / "tree").mkdir()
    return made


@contextlib.contextmanager
def echo(path: Path, *, from_s: float = 0.0) -> Iterator[None]:
    """Answer each connection with what it said, in capitals."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                connection.sendall(piece.upper())

    def listen() -> None:
        ended.wait(from_s)
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(0.05)
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def enclosed(sandbox: Sandbox, folder: Path, *argv: str) -> Command:
    tree = Mount(source=folder.parent / "tree", at=AT, writable=True)
    return sandbox.enclose(argv, Walls(tree=tree, gateway=folder / "gateway.sock", env={"URL": GATEWAY_URL}))


def run(sandbox: Sandbox, folder: Path, *argv: str) -> tuple[Ended, str]:
    command = enclosed(sandbox, folder, *argv)

    async def go() -> Ended:
        return await run_attached(folder.parent / "place", command, timeout_s=120)

    ended = anyio.run(go)
    return ended, (folder.parent / "place/log").read_text(encoding="utf-8")


def test_a_program_reaches_the_socket_at_the_url(any_sandbox: Sandbox, folder: Path) -> None:
    with echo(folder / "gateway.sock"):
        ended, log = run(any_sandbox, folder, PYTHON, "-c", CALL, "words")
    assert (ended.exit_code, log) == (0, "5 WORDS\n")


def test_much_goes_through_both_ways_at_once(any_sandbox: Sandbox, folder: Path) -> None:
    with echo(folder / "gateway.sock"):
        ended, log = run(any_sandbox, folder, PYTHON, "-c", MUCH)
    assert (ended.exit_code, log) == (0, "5000000\n")


def test_a_connection_waits_for_a_gateway_that_comes_late(any_sandbox: Sandbox, folder: Path) -> None:
    with echo(folder / "gateway.sock", from_s=1.0):
        ended, log = run(any_sandbox, folder, PYTHON, "-c", CALL, "late")
    assert (ended.exit_code, log) == (0, "4 LATE\n")


def test_a_socket_made_anew_is_found_again(sandbox: Sandbox, folder: Path) -> None:
    script = f"{CALL}\nopen('made', 'w').close()\nwhile not os.path.exists('renewed'): pass\n{CALL}"
    tree = folder.parent / "tree"

    def renew() -> None:
        while not (tree / "made").exists() and not gone.wait(0.01):
            pass
        first.close()
        (folder / "gateway.sock").unlink()
        with echo(folder / "gateway.sock"):
            (tree / "renewed").touch()
            gone.wait()

    gone = threading.Event()
    first = contextlib.ExitStack()
    first.enter_context(echo(folder / "gateway.sock"))
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        ended, log = run(sandbox, folder, PYTHON, "-c", script, "a")
    finally:
        gone.set()
        thread.join()
    assert (ended.exit_code, log) == (0, "1 A\n1 A\n")


def test_exit_code_words_and_arguments_are_the_programs_own(sandbox: Sandbox, folder: Path) -> None:
    ended, log = run(sandbox, folder, "sh", "-c", 'printf "%s|" "$@"; echo more >&2; exit 7', "sh", "a b", "")
    assert (ended.cause, ended.exit_code, log) == ("exited", 7, "a b||more\n")


def test_the_program_has_no_child_and_ends_its_sandbox_alone(sandbox: Sandbox, folder: Path) -> None:
    ended, log = run(
        sandbox, folder, PYTHON, "-c", "import os\ntry: os.wait()\nexcept ChildProcessError: print('none')"
    )
    assert (ended.cause, ended.exit_code, log) == ("exited", 0, "none\n")


def test_a_broken_pipe_ends_a_program_as_ever(sandbox: Sandbox, folder: Path) -> None:
    _, log = run(
        sandbox, folder, "sh", "-c", "(trap '' EXIT; yes; echo $? >&2) | head -n 1; sh -c 'kill -PIPE $$'; echo $?"
    )
    assert log.splitlines()[-1] == "141"


def test_a_signal_to_stop_reaches_the_program_and_not_the_door(sandbox: Sandbox, folder: Path) -> None:
    script = "import signal, sys, time\ndef stop(*_):\n" + "".join(
        f"    {line}\n" for line in CALL.strip().splitlines()
    )
    script += (
        "    sys.exit(3)\nsignal.signal(signal.SIGTERM, stop)\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)"
    )
    place = folder.parent / "place"

    async def stopped() -> Ended:
        start(place, enclosed(sandbox, folder, PYTHON, "-c", script, "saved"), timeout_s=60)
        while not (place / "log").exists() or "ready" not in (place / "log").read_text():
            assert not (place / "result.json").exists()
            await anyio.sleep(0.01)
        ask_to_stop(place)
        return await wait(place)

    with echo(folder / "gateway.sock"):
        ended = anyio.run(stopped)
    assert (ended.cause, ended.exit_code) == ("cancelled", 3)
    assert (place / "log").read_text() == "ready\n5 SAVED\n"


def test_a_program_that_is_not_there_ends_with_an_error(sandbox: Sandbox, folder: Path) -> None:
    ended, log = run(sandbox, folder, "no-such-program-anywhere")
    assert ended.exit_code != 0
    assert "no-such-program-anywhere" in log


def test_nothing_of_the_door_is_left_when_the_program_has_ended(sandbox: Sandbox, folder: Path) -> None:
    run(sandbox, folder, "true")
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in _read(path)]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
