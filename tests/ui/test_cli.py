"""The frame of the command line, run as a person runs it: a process with words in, text and an exit code out."""

import contextlib
import importlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from luminaguard import __version__
from luminaguard.ui.cli import verbs
from luminaguard.ui.cli.arguments import Parser, add_global_options, global_defaults
from luminaguard.ui.cli.command_line import VERBS, cut
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.flags import add_settings_flags, typed_flags

LISTED = [(verb, summary) for group in VERBS.values() for verb, summary in group.items()]
VERB_MODULES = sorted(path.stem for path in Path(verbs.__path__[0]).glob("[!_]*.py"))


def luminaguard(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "luminaguard", *words]
    return subprocess.run(argv, cwd=cwd, env=os.environ | env, text=True, capture_output=True, check=False, timeout=60)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


@pytest.mark.parametrize(("verb", "summary"), LISTED, ids=[verb for verb, _ in LISTED])
def test_a_listed_verb_has_a_module_with_that_summary(verb: str, summary: str) -> None:
    assert summary == importlib.import_module(f"luminaguard.ui.cli.verbs.{verb}").SUMMARY


def test_every_verb_module_is_listed() -> None:
    assert set(VERB_MODULES) <= {verb for verb, _ in LISTED}


@pytest.mark.parametrize("verb", VERB_MODULES)
def test_a_verbs_help_has_examples(verb: str) -> None:
    shown = luminaguard(verb, "--help")
    assert shown.returncode == 0
    assert f"examples:\n  luminaguard {verb}" in shown.stdout


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_teaches(words: tuple[str, ...]) -> None:
    shown = luminaguard(*words)
    assert (shown.returncode, shown.stderr) == (0, "")
    for taught in ("luminaguard demo", "luminaguard init", "luminaguard plan", "exit codes:", "130", *dict(LISTED)):
        assert taught in shown.stdout


@pytest.mark.parametrize("words", [("--version",), ("init", "--version"), ("--json", "init", "--force", "--version")])
def test_the_version_is_told_before_and_after_a_verb(words: tuple[str, ...]) -> None:
    assert luminaguard(*words).stdout == f"luminaguard {__version__}\n"


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_nothing_heavy_is_loaded_for(word: str) -> None:
    script = (
        "import sys; from luminaguard.ui.cli.main import main; main(sys.argv[1:]);"
        "print(sorted({'anyio', 'asyncio', 'rich', 'yaml', 'sqlite3', 'tomllib'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script, word], text=True, capture_output=True, check=True)
    assert shown.stdout.endswith("\n[]\n")


def test_an_unknown_verb_is_answered_with_the_nearest() -> None:
    shown = luminaguard("stauts")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.splitlines() == [
        "error: luminaguard: there is no command stauts",
        "hint: did you mean status? luminaguard --help shows all commands",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("init", "--forse"), "error: luminaguard init: unknown option --forse\nhint: did you mean --force? "),
        (("init", "--forc=x"), "error: luminaguard init: unknown option --forc\n"),
        (("init", "now"), "error: luminaguard init: unknown word now\n"),
        (("--jsno", "init"), "error: luminaguard: unknown option --jsno\nhint: did you mean --json? "),
        (("init", "--repo"), "error: luminaguard init: argument --repo: expected one argument\n"),
        (("--repo",), "error: luminaguard: argument --repo: expected one argument\n"),
    ],
)
def test_usage_errors_are_told_in_the_same_voice(words: tuple[str, ...], told: str) -> None:
    shown = luminaguard(*words)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith(told)
    assert "--help shows what there is" in shown.stderr


def test_an_error_in_json_is_one_document_on_standard_output(tmp_path: Path) -> None:
    shown = luminaguard("init", "--json", cwd=tmp_path)
    told = json.loads(shown.stdout)
    assert (shown.returncode, shown.stderr, told["schema"]) == (2, "", "luminaguard/error@1")
    assert told["error"] == {
        "kind": "user",
        "message": ".: is not in a git repository",
        "hint": "type git init there, or name one with --repo DIR",
        "exit_code": 2,
    }


def test_the_command_line_is_cut_at_its_verb() -> None:
    typed = cut(["--repo", "plan", "--json", "init", "--repo", "b", "--force"])
    assert (typed.before, typed.verb, typed.after) == (
        ["--repo", "plan", "--json"],
        "init",
        ["--repo", "b", "--force"],
    )


def test_a_global_option_after_the_verb_wins_over_one_before_it() -> None:
    parser = Parser("luminaguard plan")
    add_global_options(parser)
    before = parser.parse_all(["--repo", "a", "--json"], global_defaults())
    after = parser.parse_all(["--repo", "b"], before)
    assert (after.repo, after.json, after.no_color, after.backlog) == (Path("b"), True, False, None)


def test_settings_flags_that_are_typed_are_handed_on_unread() -> None:
    parser = Parser("luminaguard run")
    add_settings_flags(parser)
    options = parser.parse_all(["--slots", "8", "--minutes-per-issue=0.5"], global_defaults())
    assert typed_flags(options) == {"slots": "8", "minutes_per_issue": "0.5"}


def test_output_that_cannot_be_written_is_the_hosts_fault() -> None:
    argv = [sys.executable, "-m", "luminaguard", "--help"]
    with Path("/dev/full").open("w") as full:
        shown = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert shown.returncode == Exit.HOST
    assert shown.stderr.startswith("error: <stdout> cannot be written: No space left on device\n")


def test_a_reader_that_leaves_is_no_error_to_talk_about() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "luminaguard", "--help"]
    shown = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (shown.returncode, shown.stderr) == (Exit.INTERRUPTED, "")


def stderr_on_a_terminal(*words: str, **env: str) -> str:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "luminaguard", *words]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | env
    subprocess.run(argv, stderr=theirs, stdout=subprocess.DEVNULL, env=environment, check=False, timeout=60)
    os.close(theirs)
    told = b""
    with contextlib.suppress(OSError):  # what a terminal answers at its end
        while piece := os.read(ours, 4096):
            told += piece
    os.close(ours)
    return told.decode()


def test_a_terminal_gets_colours() -> None:
    assert stderr_on_a_terminal("nonsense").startswith("\x1b[31merror:\x1b[0m luminaguard: ")


@pytest.mark.parametrize(
    ("words", "env"), [((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), (("--no-color",), {})], ids=str
)
def test_a_terminal_gets_none_where_they_are_not_wanted(words: tuple[str, ...], env: dict[str, str]) -> None:
    assert stderr_on_a_terminal(*words, "nonsense", **env).startswith("error: luminaguard: ")


def test_init_writes_a_file_that_says_what_it_found(repo: Path) -> None:
    (repo / "Makefile").write_text("test:\n\ttrue\n")
    shown = luminaguard("init", cwd=repo)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "make test (Makefile has a target test)" in shown.stdout
    assert 'run = ["make test"]' in (repo / "luminaguard.toml").read_text()


def test_init_tells_programs_in_json(repo: Path) -> None:
    program = repo / "bin" / "codex"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    told = json.loads(luminaguard("init", "--repo", str(repo), "--json", PATH=str(program.parent)).stdout)
    assert told["schema"] == "luminaguard/init@1"
    assert (told["path"], told["backup"], told["agents"]) == (str(repo / "luminaguard.toml"), None, ["codex"])


def test_init_names_the_forge_of_the_remote(repo: Path) -> None:
    subprocess.run(["git", "-C", repo, "remote", "add", "origin", "git@github.com:ann/demo.git"], check=True)
    shown = luminaguard("init", cwd=repo)
    assert "issues  github (the remote origin is ann/demo at github.com)" in shown.stdout
    assert 'source = "github"' in (repo / "luminaguard.toml").read_text()
    told = json.loads(luminaguard("init", "--force", "--json", cwd=repo).stdout)
    assert told["forge"] == {"source": "github", "why": "the remote origin is ann/demo at github.com"}


def test_init_does_not_overwrite_unless_forced(repo: Path) -> None:
    (repo / "luminaguard.toml").write_text("mine")
    refused = luminaguard("init", cwd=repo)
    assert (refused.returncode, (repo / "luminaguard.toml").read_text()) == (2, "mine")
    forced = luminaguard("init", "--force", cwd=repo)
    assert (forced.returncode, (repo / "luminaguard.toml.bak").read_text()) == (0, "mine")
