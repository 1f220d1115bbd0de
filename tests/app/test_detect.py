"""Detection: how a project is tested, which agents are installed, and a first settings file made of it."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from luminaguard.agents.presets import PRESETS
from luminaguard.app.agents import agent_named
from luminaguard.app.detect import DetectedChecks, detect_checks, detect_checks_in
from luminaguard.app.detect_agents import DetectedAgent, detect_agents
from luminaguard.app.detect_forge import NO_FORGE, detect_forge_in
from luminaguard.app.settings import agent_at_work, parse
from luminaguard.app.settings_tables import NAMED_TABLES, TABLES, PriceSettings, ProviderSettings
from luminaguard.app.starter import repository_of, starter_text, write_starter
from luminaguard.model.faults import HostFault, UserFault

PYTEST = ("python3 -m pytest -q",)


def detected(**files: str) -> DetectedChecks:
    """Detect in a made-up tree; "__" in a name stands for "/", "_DOT_" for "."."""
    tree = {name.replace("__", "/").replace("_DOT_", "."): text.encode() for name, text in files.items()}
    return detect_checks(tree, tree.get)


@pytest.mark.parametrize(
    ("files", "run"),
    [
        ({"Makefile": "all:\n\ntest: all\n\tpytest\n"}, ("make test",)),
        ({"GNUmakefile": "lint test::\n\ttrue\n"}, ("make test",)),
        ({"Makefile": "build:\n\ttrue\n"}, ()),
        ({"Makefile": "test := 3\nlatest:\n\ttest: no\n"}, ()),
        ({"pyproject_DOT_toml": "[tool.pytest.ini_options]\n"}, PYTEST),
        ({"pyproject_DOT_toml": "[tool.ruff]\n"}, ()),
        ({"pyproject_DOT_toml": "[tool.pytest"}, ()),
        ({"pytest_DOT_ini": ""}, PYTEST),
        ({"tox_DOT_ini": "[pytest]\naddopts = -q\n"}, PYTEST),
        ({"tox_DOT_ini": "[tox]\n"}, ()),
        ({"setup_DOT_cfg": "[tool:pytest]\n"}, PYTEST),
        ({"setup_DOT_cfg": "no section\n"}, ()),
        ({"tests__unit__test_it_DOT_py": ""}, PYTEST),
        ({"tests__it_test_DOT_py": ""}, PYTEST),
        ({"tests__helpers_DOT_py": "", "src__test_it_DOT_py": ""}, ()),
        ({"package_DOT_json": '{"scripts": {"test": "vitest run"}}'}, ("npm test --silent",)),
        ({"package_DOT_json": '{"scripts": {"test": "x"}}', "pnpm-lock_DOT_yaml": ""}, ("pnpm --silent test",)),
        ({"package_DOT_json": '{"scripts": {"test": "x"}}', "yarn_DOT_lock": ""}, ("yarn --silent test",)),
        ({"package_DOT_json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, ()),
        ({"package_DOT_json": '{"scripts": []}'}, ()),
        ({"package_DOT_json": "[1]"}, ()),
        ({"package_DOT_json": "{"}, ()),
        ({"Cargo_DOT_toml": ""}, ("cargo test",)),
        ({"go_DOT_mod": ""}, ("go test ./...",)),
        ({"README_DOT_md": "run make test"}, ()),
        ({"Makefile": "test:\n", "Cargo_DOT_toml": "", "pytest_DOT_ini": ""}, ("make test",)),
    ],
)
def test_the_projects_files_tell_how_it_is_tested(files: dict[str, str], run: tuple[str, ...]) -> None:
    assert detected(**files).run == run
    assert detected(**files).why


def test_the_reason_names_the_file() -> None:
    assert detected(setup_DOT_cfg="[tool:pytest]").why == "setup.cfg has [tool:pytest]"
    assert "no Makefile" in detected().why


def test_a_folder_on_the_disk_is_looked_at_like_a_tree(tmp_path: Path) -> None:
    (tmp_path / "tests" / "deep").mkdir(parents=True)
    (tmp_path / "tests" / "deep" / "test_it.py").touch()
    (tmp_path / "Makefile").write_bytes(b"\xff\nbuild:\n")
    assert detect_checks_in(tmp_path).why == "tests/deep/test_it.py is a test file as pytest names them"


def program(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\nexit 1\n")
    (folder / name).chmod(0o755)


def test_agents_are_found_on_the_path(tmp_path: Path) -> None:
    for name in ("gemini", "codex", "vim"):
        program(tmp_path, name)
    assert [agent.name for agent in detect_agents(str(tmp_path), {})] == ["codex", "gemini"]
    keyed = detect_agents(str(tmp_path), {"GEMINI_API_KEY": "x"})
    assert [(agent.name, agent.has_key) for agent in keyed] == [("gemini", True), ("codex", False)]


def test_no_agent_on_the_path_is_no_error(tmp_path: Path) -> None:
    assert detect_agents(str(tmp_path), {}) == ()


def test_a_key_alone_is_enough_for_our_own_agent(tmp_path: Path) -> None:
    (found,) = detect_agents(str(tmp_path), {"ANTHROPIC_API_KEY": "x"})
    assert found.table == {"protocol": "builtin", "provider": "anthropic", "model": "claude-sonnet-5"}


def test_every_agent_that_can_be_detected_gives_settings_that_are_read(tmp_path: Path) -> None:
    for preset in PRESETS:
        for name in preset.argv[:1]:
            program(tmp_path, name)
    found = detect_agents(str(tmp_path), {"OPENAI_API_KEY": "x"})
    assert {agent.name for agent in found} == {preset.name for preset in PRESETS}
    read = parse(starter_text(CHECKS, found), path="luminaguard.toml")
    assert set(read.agents) == {agent.name for agent in found}
    for name in read.agents:
        assert agent_named(read, name, root=tmp_path).name == name


AGENT = DetectedAgent(
    name="claude", table={"protocol": "claude", "provider": "anthropic"}, key_env="ANTHROPIC_API_KEY", has_key=False
)
CHECKS = DetectedChecks(run=("make test", "make lint"), why="Makefile has a target test")
NO_CHECKS = DetectedChecks(run=(), why="nothing tells")


def test_the_first_file_says_what_was_detected() -> None:
    read = parse(starter_text(CHECKS, (AGENT,)), path="luminaguard.toml")
    assert read.checks.run == CHECKS.run
    assert (agent_at_work(read), read.agents["claude"].provider) == ("claude", "anthropic")


def test_the_first_file_with_nothing_detected_is_read_too() -> None:
    read = parse(starter_text(NO_CHECKS, ()), path="luminaguard.toml")
    assert (read.checks.run, read.agents) == (None, {})


def uncommented(text: str) -> str:
    """Take the '#' off every line that would be a setting or a table."""
    lines = (line.removeprefix("# ") if " = " in line or line.startswith("# [") else line for line in text.split("\n"))
    return "\n".join(lines)


def test_every_key_is_in_the_first_file_with_its_default_or_an_example() -> None:
    text = uncommented(starter_text(NO_CHECKS, ()))
    written = tomllib.loads(text)
    assert {name: set(keys) for name, keys in written.items() if name not in NAMED_TABLES} == {
        name: set(made_as.__dataclass_fields__) for name, made_as in TABLES.items()
    }
    assert {name: set(written[name].popitem()[1]) for name in NAMED_TABLES if name != "agents"} == {
        "providers": set(ProviderSettings.__dataclass_fields__),
        "prices": set(PriceSettings.__dataclass_fields__),
    }
    # Every example is of a form that is taken; at GitHub all but the second place of a report fits together.
    at_github = text.replace('source = "local"', 'source = "github"').replace("category = ", "# ")
    assert parse(at_github, path="luminaguard.toml").report.issue == "12"


def cloned_from(folder: Path, address: str) -> Path:
    subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", address], check=True)
    return folder


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("git@github.com:ann/demo.git", "github"),
        ("https://github.com/ann/demo", "github"),
        ("ssh://git@ssh.github.com:443/ann/demo.git", "github"),
        ("https://octo.ghe.com/ann/demo", "github"),
        ("https://github.example.org/ann/demo", "github"),
        ("https://gitlab.com/group/sub/demo.git", "gitlab"),
        ("git@gitlab.example.org:group/demo.git", "gitlab"),
        ("https://codeberg.org/ann/demo.git", "gitea"),
        ("https://my-gitea.example.org/ann/demo.git", "gitea"),
        ("https://git.example.org/ann/demo.git", "local"),
        ("https://notgithub.example.org/ann/demo.git", "local"),
        ("/srv/git/github.com/ann/demo.git", "local"),
        ("../github.com/demo.git", "local"),
    ],
)
def test_the_forge_is_known_by_the_host_of_the_remote(tmp_path: Path, address: str, source: str) -> None:
    found = detect_forge_in(cloned_from(tmp_path, address))
    assert found.source == source
    assert bool(found.token) is (source != "local")


@pytest.mark.parametrize(
    ("marker", "source"), [(".gitlab-ci.yml", "gitlab"), (".forgejo", "gitea"), (".gitea", "gitea")]
)
def test_a_server_of_a_plain_name_is_known_by_what_only_it_reads(tmp_path: Path, marker: str, source: str) -> None:
    folder = cloned_from(tmp_path, "git@git.example.org:ann/demo.git")
    (folder / marker).touch()
    found = detect_forge_in(folder)
    assert found.source == source
    assert marker in found.why


def test_a_folder_without_a_remote_keeps_its_issues_here(tmp_path: Path) -> None:
    assert detect_forge_in(tmp_path) == NO_FORGE


def test_the_first_file_names_the_forge_that_was_detected_and_where_its_token_is_looked_for(tmp_path: Path) -> None:
    text = starter_text(NO_CHECKS, (), detect_forge_in(cloned_from(tmp_path, "git@gitlab.com:group/demo.git")))
    assert parse(text, path="luminaguard.toml").backlog.source == "gitlab"
    assert (
        "# Detected: the remote origin is group/demo at gitlab.com.\n# Its token is read from GITLAB_TOKEN.\n" in text
    )


def test_every_line_of_the_first_file_is_explained() -> None:
    for line in starter_text(CHECKS, (AGENT,)).splitlines():
        assert not line or line.startswith("[") or "# " in line


def test_a_settings_file_is_never_overwritten(tmp_path: Path) -> None:
    write_starter(tmp_path, "first")
    with pytest.raises(UserFault, match="is there already") as raised:
        write_starter(tmp_path, "second")
    assert "--force" in raised.value.hint
    assert (tmp_path / "luminaguard.toml").read_text() == "first"


def test_force_keeps_every_earlier_file(tmp_path: Path) -> None:
    backups = [write_starter(tmp_path, text, force=True).backup for text in ("first", "second", "third")]
    assert backups == [None, tmp_path / "luminaguard.toml.bak", tmp_path / "luminaguard.toml.bak2"]
    kept = [(tmp_path / f"luminaguard.toml{end}").read_text() for end in ("", ".bak2", ".bak")]
    assert kept == ["third", "second", "first"]


def test_a_folder_of_that_name_is_left_alone_even_by_force(tmp_path: Path) -> None:
    (tmp_path / "luminaguard.toml").mkdir()
    with pytest.raises(UserFault, match="is there already"):
        write_starter(tmp_path, "text", force=True)


def test_a_folder_that_is_gone_is_the_hosts_fault(tmp_path: Path) -> None:
    with pytest.raises(HostFault, match="cannot be written"):
        write_starter(tmp_path / "gone", "text")


def test_the_repository_is_found_from_within(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: elsewhere\n")
    (tmp_path / "src" / "deep").mkdir(parents=True)
    assert repository_of(tmp_path / "src" / "deep") == Path(os.path.realpath(tmp_path))


def test_no_repository_is_the_users_fault(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match="not in a git repository"):
        repository_of(tmp_path)
