"""Which programs of this machine are shown inside: real folders and links in a home of the test's."""

import os
from pathlib import Path

import pytest

from luminaguard.sandboxes.toolchain import Toolchain, toolchain_of


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home" / "ada"
    for private in (".ssh/id_ed25519", ".aws/credentials", ".config/gh/hosts.yml", ".netrc", ".cargo/credentials.toml"):
        write(home / private, "secret")
    return home


def write(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def link(path: Path, target: Path | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def found(home: Path, *path: Path | str, **env: str) -> Toolchain:
    return toolchain_of({"HOME": str(home), "PATH": os.pathsep.join(map(str, path)), **env}, system=(Path("/usr"),))


def is_shown(toolchain: Toolchain, path: Path) -> bool:
    return any(path.is_relative_to(shown.at) for shown in toolchain.shown)


def shows_secrets(toolchain: Toolchain, home: Path) -> bool:
    private = (".ssh/id_ed25519", ".aws/credentials", ".config/gh/hosts.yml", ".netrc", ".cargo/credentials.toml")
    return any(is_shown(toolchain, home / name) for name in private)


def test_missing_relative_and_unreadable_entries_are_dropped(home: Path) -> None:
    toolchain = found(home, home / "nothing", "bin", ".", "", "/usr/bin", "/proc", "/")
    assert toolchain.path == (Path("/usr/bin"),)
    assert toolchain.shown == ()


def test_the_home_is_never_shown_even_where_path_names_it(home: Path) -> None:
    toolchain = found(home, home, home.parent, home / ".ssh", home / ".config", link(home / "sneaky", home / ".ssh"))
    assert toolchain.shown == ()
    assert toolchain.path == ()


def test_a_link_to_the_home_does_not_show_it(home: Path, tmp_path: Path) -> None:
    toolchain = found(home, link(tmp_path / "other/bin", home), link(tmp_path / "more/bin", home / ".ssh"))
    assert not shows_secrets(toolchain, home)
    assert all(shown.source not in (home, home / ".ssh") for shown in toolchain.shown)


def test_a_folder_of_programs_in_the_home_is_shown_alone(home: Path) -> None:
    write(home / "bin/tool")
    write(home / "lib/thing")
    toolchain = found(home, home / "bin")
    assert [shown.at for shown in toolchain.shown] == [home / "bin"]


def test_a_virtual_environment_is_shown_with_the_python_that_it_stands_on(home: Path) -> None:
    python = write(home / ".pyenv/versions/3.11.7/bin/python3.11")
    (home / ".pyenv/versions/3.11.7/lib").mkdir()
    link(python.with_name("python3"), "python3.11")
    write(home / "project/.venv/pyvenv.cfg", "")
    link(home / "project/.venv/bin/python", home / ".pyenv/versions/3.11.7/bin/python3")
    write(home / "project/secret.env", "secret")
    toolchain = found(home, home / "project/.venv/bin", VIRTUAL_ENV=str(home / "project/.venv"))
    assert is_shown(toolchain, home / "project/.venv/pyvenv.cfg")
    assert is_shown(toolchain, python.parent.parent / "lib")
    assert not is_shown(toolchain, home / "project/secret.env")
    assert toolchain.env == {"VIRTUAL_ENV": str(home / "project/.venv")}


def test_shims_show_the_whole_pyenv(home: Path) -> None:
    write(home / ".pyenv/shims/python")
    write(home / ".pyenv/versions/3.12.1/bin/python")
    toolchain = found(home, home / ".pyenv/shims", PYENV_ROOT=str(home / ".pyenv"))
    assert is_shown(toolchain, home / ".pyenv/versions/3.12.1/bin/python")
    assert toolchain.env["PYENV_ROOT"] == str(home / ".pyenv")


def test_shims_in_the_home_itself_do_not_show_it(home: Path) -> None:
    write(home / "shims/tool")
    toolchain = found(home, home / "shims")
    assert [shown.at for shown in toolchain.shown] == [home / "shims"]


def test_cargo_shows_its_programs_and_toolchains_but_no_credentials(home: Path) -> None:
    write(home / ".cargo/bin/rustup")
    link(home / ".cargo/bin/cargo", "rustup")
    (home / ".cargo/lib").mkdir()
    write(home / ".rustup/toolchains/stable/bin/cargo")
    toolchain = found(home, home / ".cargo/bin")
    assert [shown.at for shown in toolchain.shown] == [home / ".cargo/bin", home / ".rustup"]
    assert toolchain.env == {"RUSTUP_HOME": str(home / ".rustup")}


def test_a_node_of_nvm_is_shown_with_its_modules_and_not_its_neighbours(home: Path) -> None:
    node = home / ".nvm/versions/node/v20.1.0"
    write(node / "bin/node")
    write(node / "lib/node_modules/npm/bin/npm-cli.js")
    write(home / ".nvm/versions/node/v18.0.0/bin/node")
    toolchain = found(home, node / "bin")
    assert [shown.at for shown in toolchain.shown] == [node]


def test_programs_that_pipx_linked_are_shown_with_their_environments(home: Path) -> None:
    venv = home / ".local/share/pipx/venvs/black"
    write(venv / "pyvenv.cfg", "")
    (venv / "lib").mkdir()
    write(venv / "bin/black")
    link(venv / "bin/python", "/usr/bin/env")
    link(home / ".local/bin/black", venv / "bin/black")
    write(home / ".local/share/keyrings/login.keyring", "secret")
    write(home / ".local/lib/private", "secret")
    toolchain = found(home, home / ".local/bin")
    assert [shown.at for shown in toolchain.shown] == [home / ".local/bin", venv]


def test_a_link_to_a_single_program_shows_that_alone(home: Path) -> None:
    write(home / ".local/share/claude/versions/1.0.3")
    write(home / ".local/share/claude/secret", "secret")
    link(home / ".local/bin/claude", home / ".local/share/claude/versions/1.0.3")
    toolchain = found(home, home / ".local/bin")
    assert [shown.at for shown in toolchain.shown] == [home / ".local/bin", home / ".local/share/claude/versions/1.0.3"]


def test_links_that_lead_nowhere_or_round_in_a_circle_end(home: Path) -> None:
    link(home / "bin/gone", "/nowhere/at/all")
    link(home / "bin/one", "two")
    link(home / "bin/two", "one")
    assert [shown.at for shown in found(home, home / "bin").shown] == [home / "bin"]


def test_a_link_into_what_is_private_shows_nothing_of_it(home: Path) -> None:
    link(home / "bin/key", home / ".ssh/id_ed25519")
    link(home / "bin/all", home)
    assert [shown.at for shown in found(home, home / "bin").shown] == [home / "bin"]


def test_a_project_with_a_bin_shows_neither_its_history_nor_what_lies_beside(home: Path) -> None:
    write(home / "project/bin/tool")
    write(home / "project/lib/tool.py")
    write(home / "project/.git/config", "secret")
    write(home / "project/.env", "secret")
    toolchain = found(home, home / "project/bin")
    assert [shown.at for shown in toolchain.shown] == [home / "project/bin", home / "project/lib"]


def test_variables_name_only_what_is_shown(home: Path) -> None:
    jdk = home / ".sdkman/candidates/java/17"
    write(jdk / "bin/java")
    (jdk / "lib").mkdir()
    toolchain = found(home, jdk / "bin", JAVA_HOME=str(jdk), GOROOT=str(home / "go"), PYENV_ROOT=str(home / ".ssh"))
    assert toolchain.env == {"JAVA_HOME": str(jdk)}


def test_what_the_mount_around_it_shows_already_is_not_mounted_again(home: Path) -> None:
    inner = write(home / ".tool/plugins/more/bin/inner").parent
    write(home / ".tool/bin/tool")
    write(home / ".tool/lib/x")
    toolchain = found(home, inner, home / ".tool/bin")
    assert [shown.at for shown in toolchain.shown] == [home / ".tool"]
    assert toolchain.path == (inner, home / ".tool/bin")


def test_what_lies_elsewhere_is_mounted_even_where_a_mount_is_around_it(home: Path, tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "store/more/bin/inner").parent
    inner = link(home / ".tool/plugins", elsewhere)
    write(home / ".tool/bin/tool")
    write(home / ".tool/lib/x")
    toolchain = found(home, inner, home / ".tool/bin")
    assert [(shown.at, shown.source) for shown in toolchain.shown if shown.at == inner] == [(inner, elsewhere)]
