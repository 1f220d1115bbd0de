"""Commands that are told to end: SIGTERM is what Ctrl-C is, at any time, whoever started them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from luminaguard.ui.cli.ending import interruptible

WHO = ("-c", "user.name=a", "-c", "user.email=a@example.org")
SETTINGS = """
[run]
agent = "mine"
isolation = "none"
poll_s = 0.2
[agents.mine]
protocol = "command"
argv = ["true"]
[checks]
run = ["true"]
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
    (folder / "luminaguard.toml").write_text(SETTINGS)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    subprocess.run(["git", *WHO, "commit", "-q", "-m", "x"], cwd=folder, check=True)
    return folder


DEAF = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")


@contextmanager
def started(repo: Path, *words: str, deaf: bool = False, script: str = "") -> Iterator[subprocess.Popen[str]]:
    """Start a command; `deaf` as a script's shell does that starts it with `&`."""

    code = ["-c", script] if script else ["-m", "luminaguard"]
    argv = [*(DEAF if deaf else ()), sys.executable, "-W", "error", *code, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=repo, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


HELD = """
import sys
import luminaguard.app.project as project
def held(*args, **more):
    print("here", flush=True)
    sys.stdin.readline()
    return opened(*args, **more)
opened, project.open_project = project.open_project, held
from luminaguard.ui.cli.main import main
sys.exit(main())
"""
"""The command, held at what most verbs begin with."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "TERM"])
@pytest.mark.parametrize(
    "words", [("doctor",), ("plan",), ("issues",), ("run", "--dry"), ("run",), ("serve", "--forge")], ids=" ".join
)
def test_every_command_that_is_told_to_end_says_that_it_was_interrupted(
    repo: Path, words: tuple[str, ...], number: int
) -> None:
    with started(repo, *words, script=HELD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        _, told = process.communicate("go on\n", timeout=60)
    assert (process.returncode, told.splitlines()[:1]) == (130, ["error: interrupted"])
    assert "Traceback" not in told


def test_a_run_that_a_script_starts_in_the_background_is_ended_by_term(repo: Path) -> None:
    with started(repo, "run", "--watch", deaf=True) as process:
        assert process.stderr is not None
        assert "watching" in process.stderr.readline()
        process.terminate()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "unhandled" not in told


LOADING = """
import sys
class Slow:
    def find_spec(self, name, *_):
        if name == "{module}":
            print("here", flush=True)
            sys.stdin.readline()
from luminaguard.ui.cli.main import main
sys.meta_path.insert(0, Slow())
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["argparse", "luminaguard.ui.cli.command_line", "anyio"])
def test_ctrl_c_while_the_program_still_loads_is_told_as_any_other(repo: Path, module: str) -> None:
    with started(repo, "--json", "plan", script=LOADING.format(module=module)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "")
    assert json.loads(out.replace("here\n", ""))["error"]["kind"] == "interrupted"


def test_what_whoever_started_us_said_of_term_stays() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_afterwards_signals_are_as_they_were() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL), signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
