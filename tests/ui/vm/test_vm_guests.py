"""`luminaguard vm` with guests, as a person types it."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from luminaguard.vm.qemu import Qemu

LUMINAGUARD = (sys.executable, "-W", "error", "-m", "luminaguard", "vm")
TOOLS = ("sh", "cat", "sleep", "kill", "uname", "head")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache with the image `tools`, that this module's tests share; nothing may run in it at the end."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        why = anyio.run(Qemu().missing) or (
            "no mkfs.erofs: erofs-utils" if shutil.which("mkfs.erofs") is None else None
        )
        if why is not None:
            if os.environ.get("LUMINAGUARD_MUST_RUN") == "1":
                pytest.fail(f"QEMU must run here: {why}")
            pytest.skip(why)
        assert vm("image", "build", str(tools(tmp_path_factory.mktemp("root"))), "--name", "tools").returncode == 0
        yield folder
        vm("stop", "--all")
        assert list((folder / "luminaguard/vm/running").iterdir()) == []


def tools(root: Path) -> Path:
    for name in TOOLS:
        program = Path(str(shutil.which(name))).resolve()
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
        wanted = {f"/bin/{name}": program, **{word: Path(word) for word in said.split() if word[0] == "/"}}
        for inside, source in wanted.items():
            target = root / inside[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source.resolve(), target)
    return root


def vm(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*LUMINAGUARD, *words], input=stdin, capture_output=True, check=False, timeout=120)


@pytest.fixture
def guest(cache: Path) -> Iterator[str]:
    """The id of a guest."""
    spawned = vm("spawn", "--image", "tools", "--memory", "128", "--env", "COLOUR=blue", "--json")
    assert spawned.returncode == 0, spawned.stderr
    name = json.loads(spawned.stdout)["id"]
    yield name
    vm("stop", name)


def running() -> list[dict[str, object]]:
    said = json.loads(vm("list", "--json").stdout)
    assert said["schema"] == "luminaguard/vm-guests@1"
    return [*said["guests"]]


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so() and time.monotonic() < until:
        select.select([], [], [], 0.01)
    assert is_so()


def is_gone(pid: object) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


def test_the_probe_says_what_works(cache: Path) -> None:
    shown = vm("probe")
    assert shown.returncode == 0
    assert b"yes  qemu" in shown.stdout
    said = json.loads(vm("probe", "--json").stdout)
    assert said["auto"] == "qemu"
    assert next(one for one in said["drivers"] if one["name"] == "qemu")["abilities"]["snapshot"] is True


def test_a_guest_is_spawned_listed_and_stopped(cache: Path) -> None:
    spawned = vm("spawn", "--image", "tools", "--memory", "128")
    assert spawned.returncode == 0, spawned.stderr
    name, pid = spawned.stdout.decode().split()[0], spawned.stdout.decode().split()[2]
    (one,) = running()
    assert (one["id"], str(one["pid"]), one["memory_mib"], one["image"], one["kept"]) == (name, pid, 128, "tools", True)
    assert name.encode() in vm("list").stdout
    assert vm("stop", name).stdout == f"stopped {name}\n".encode()
    assert is_gone(pid)
    assert running() == []
    assert vm("stop", name).returncode == 2


def test_input_output_variables_and_folder_pass_through(guest: str) -> None:
    sent = bytes(range(256)) * 4000
    ran = vm("exec", guest, "--", "cat", stdin=sent)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, sent, b"")
    ran = vm("exec", guest, "--cwd", "/lib", "--env", "A=b c", "--", "sh", "-c", 'echo "$PWD $A $COLOUR"; echo err >&2')
    assert (ran.stdout, ran.stderr) == (b"/lib b c blue\n", b"err\n")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_the_exit_code_is_the_programs(guest: str, script: str, code: int) -> None:
    assert vm("exec", guest, "--", "sh", "-c", script).returncode == code


def test_a_document_has_output_and_exit_code(guest: str) -> None:
    ran = vm("exec", guest, "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert ran.returncode == 3
    assert json.loads(ran.stdout) == {
        "schema": "luminaguard/vm-exec@1",
        "exit_code": 3,
        "out": "out\n",
        "err": "err\n",
    }


def test_a_program_that_takes_too_long_is_killed(guest: str) -> None:
    ran = vm("exec", guest, "--timeout", "0.5", "--", "sleep", "1000")
    assert ran.returncode == 4
    assert ran.stderr.startswith(b"error: 'sleep 1000' was still running")


def test_a_reader_that_leaves_ends_it(guest: str) -> None:
    with subprocess.Popen(
        [*LUMINAGUARD, "exec", guest, "--", "sh", "-c", "while :; do echo y; done"], stdout=-1
    ) as ran:
        assert ran.stdout is not None
        assert ran.stdout.readline() == b"y\n"
        ran.stdout.close()
        assert ran.wait(60) == 130


def followed(guest: str, script: str) -> "subprocess.Popen[bytes]":
    ran = subprocess.Popen(
        [*LUMINAGUARD, "exec", guest, "--", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert ran.stdout is not None
    assert ran.stdout.readline() == b"ready\n"
    return ran


def test_ctrl_c_goes_to_the_program(guest: str) -> None:
    with followed(guest, "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done") as ran:
        ran.send_signal(signal.SIGINT)
        out, err = ran.communicate(timeout=60)
    assert (ran.returncode, out, err) == (5, b"caught\n", b"")


def test_ctrl_c_three_times_leaves_a_program_that_ignores_it(guest: str) -> None:
    with followed(guest, "trap 'echo caught' INT; echo $$ > /tmp/pid; echo ready; while :; do sleep 0.1; done") as ran:
        assert ran.stdout is not None
        for _ in range(2):
            ran.send_signal(signal.SIGINT)
            assert ran.stdout.readline() == b"caught\n"
        ran.send_signal(signal.SIGINT)
        _, err = ran.communicate(timeout=60)
    assert (ran.returncode, err) == (130, b"left: the program in the guest was killed\n")
    wait_until(lambda: vm("exec", guest, "--", "sh", "-c", "kill -0 $(cat /tmp/pid) 2>/dev/null").returncode != 0)


def test_a_guest_of_its_own_is_gone_afterwards(cache: Path) -> None:
    ran = vm(
        "exec", "--new", "--image", "tools", "--memory", "128", "--env", "A=b", "--", "sh", "-c", "echo $A; exit 4"
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (4, b"b\n", b"")
    assert running() == []


def test_what_a_guest_was_is_begun_again_by_name(guest: str) -> None:
    vm("exec", guest, "--", "sh", "-c", "echo kept > /tmp/file")
    assert vm("snapshot", guest, "ready").stdout.startswith(b"ready ")
    again = vm("snapshot", guest, "ready")
    assert again.returncode == 2
    assert b"already" in again.stderr
    (one,) = json.loads(vm("snapshot", "--json").stdout)["snapshots"]
    assert (one["name"], one["driver"], one["memory_mib"]) == ("ready", "qemu", 128)
    restored = vm("restore", "ready")
    name = restored.stdout.decode().split()[0]
    assert b"from snapshot" in restored.stdout
    assert vm("exec", name, "--", "cat", "/tmp/file").stdout == b"kept\n"
    assert vm("stop", name).returncode == 0
    assert vm("snapshot", "--remove", "ready").returncode == 0
    assert vm("restore", "ready").returncode == 2


def test_a_guest_moves_to_another_process_under_a_new_id(guest: str) -> None:
    vm("exec", guest, "--", "sh", "-c", "echo kept > /tmp/file")
    moved = vm("migrate", guest)
    assert moved.returncode == 0, moved.stderr
    name = moved.stdout.decode().split()[0]
    assert name != guest
    assert vm("exec", name, "--", "cat", "/tmp/file").stdout == b"kept\n"
    assert vm("exec", guest, "--", "true").returncode == 2
    assert vm("stop", name).returncode == 0


@pytest.fixture
def receiver(cache: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that waits for the guest of the fixture `guest`, with the key `key`."""
    kind = ("--image", "tools", "--memory", "128", "--env", "COLOUR=blue")
    argv = [*LUMINAGUARD, "migrate", "--listen", "127.0.0.1:0", "--key", str(tmp_path / "key"), *kind]
    with subprocess.Popen(argv, stdout=-1, stderr=-1, text=True) as process:
        yield process
        process.kill()


def test_a_guest_moves_to_who_listens_and_has_the_key(
    guest: str, receiver: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("ab" * 32)
    vm("exec", guest, "--", "sh", "-c", "echo kept > /tmp/file")
    assert receiver.stderr is not None
    address = receiver.stderr.readline().split()[2].rstrip(";")
    refused = vm("migrate", guest, "--to", address, "--key", str(wrong))
    assert refused.returncode == 2, refused.stderr
    assert b"another key" in refused.stderr
    (one,) = running()  # it goes on
    sent = vm("migrate", str(one["id"]), "--to", address, "--key", str(tmp_path / "key"), "--json")
    assert sent.returncode == 0, sent.stderr
    name = receiver.communicate(timeout=60)[0].split()[0]
    assert [one["id"] for one in running()] == [name]
    assert vm("exec", name, "--", "cat", "/tmp/file").stdout == b"kept\n"
    assert vm("stop", name).returncode == 0


def test_a_killed_keeper_is_found_and_cleared(guest: str) -> None:
    (one,) = running()
    os.kill(int(str(one["owner"])), signal.SIGKILL)
    wait_until(lambda: is_gone(one["pid"]) and is_gone(one["owner"]))
    shown = vm("list")
    assert shown.stdout == b"no guest runs\n"
    assert shown.stderr == f"cleared {guest}: its owner was killed\n".encode()
    assert vm("list").stderr == b""


def test_a_spawn_that_is_killed_leaves_nothing(cache: Path) -> None:
    home = cache / "luminaguard/vm/running"
    with subprocess.Popen([*LUMINAGUARD, "spawn", "--image", "tools", "--memory", "160"], stdout=-1) as ran:
        wait_until(lambda: bool(list(home.iterdir())))
        ran.kill()
    wait_until(lambda: not list(home.iterdir()))
