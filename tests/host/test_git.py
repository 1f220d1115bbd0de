"""Repositories found, and names looked up."""

import os
import subprocess
import threading
from pathlib import Path

import anyio
import pytest
from tests.host.conftest import Make, Repository

from luminaguard.host.git import Git, clean_env, find_repository, lookup_in
from luminaguard.model.faults import HostFault, UserFault
from luminaguard.model.ids import Oid


def test_repository_is_found_from_a_folder_inside(checked_out: Repository) -> None:
    places = find_repository(checked_out.root / "d")
    assert (places.root, places.common) == (checked_out.root, checked_out.root / ".git")
    assert places.main_tree == checked_out.root


def test_bare_repository_has_no_tree(bare_repository: Repository) -> None:
    places = find_repository(bare_repository.root)
    assert places.root == places.common == bare_repository.root
    assert places.main_tree is None


@pytest.mark.parametrize("name", ["with space", "ünï", "sep\u2028arated", os.fsdecode(b"caf\xe9")], ids=ascii)
def test_repository_in_a_folder_of_an_odd_name_is_found(make_repository: Make, name: str) -> None:
    made = make_repository(name)
    assert find_repository(made.root).root == made.root


def test_folder_outside_of_repositories_is_the_users_to_change(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match="not in a git repository") as caught:
        find_repository(tmp_path)
    assert "git init" in caught.value.hint
    with pytest.raises(UserFault, match="is not a folder"):
        find_repository(tmp_path / "gone")


def test_environment_of_a_hook_does_not_point_us_elsewhere(
    checked_out: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare'='true'")
    assert find_repository(checked_out.root).root == checked_out.root
    assert not {name for name in clean_env({}) if name.startswith("GIT_")} - {
        "GIT_TERMINAL_PROMPT",
        "GIT_OPTIONAL_LOCKS",
    }


def test_failure_of_git_is_told_in_its_own_words(repository: Repository) -> None:
    async def fail() -> None:
        await Git(repository.root).run("cat-file", "-p", "no-such-thing")

    with pytest.raises(HostFault, match=r"git cat-file failed in .*no-such-thing"):
        anyio.run(fail)


NAMES = ["main", "refs/heads/main", "no-such", "main:a.txt", "-x", "", "two\nlines", "HEAD~99", "0" * 40]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_lookup_answers_as_a_git_of_its_own_would(repository: Repository, name: str) -> None:
    repository.git("tag", "-a", "-m", "t", "annotated", "main")

    async def both() -> tuple[Oid | None, Oid | None]:
        with lookup_in(repository.root) as lookup:
            return await Git(repository.root, lookup=lookup).commit_of(name), await Git(repository.root).commit_of(name)

    kept, alone = anyio.run(both)
    assert kept == alone


def test_lookup_sees_what_other_processes_change(repository: Repository) -> None:
    with lookup_in(repository.root) as lookup:
        old = lookup.resolve("refs/heads/main^{commit}")
        new = repository.commit({"a.txt": "x\n"})
        repository.git("update-ref", "refs/heads/main", new)
        assert (old, lookup.resolve("refs/heads/main^{commit}")) == (repository.rev("main~1"), new)
        repository.git("pack-refs", "--all")
        repository.git("gc", "-q", "--prune=now")
        newer = repository.commit({"a.txt": "y\n"})
        repository.git("update-ref", "refs/heads/main", newer)
        assert lookup.resolve("refs/heads/main^{commit}") == newer
        repository.git("update-ref", "-d", "refs/heads/main")
        assert lookup.resolve("refs/heads/main^{commit}") is None


def test_lookup_starts_a_new_git_when_the_old_one_died(repository: Repository) -> None:
    with lookup_in(repository.root) as lookup:
        before = lookup.resolve("main^{commit}")
        assert lookup._process is not None
        lookup._process.kill()
        lookup._process.wait()
        assert lookup.resolve("main^{commit}") == before is not None


def test_lookup_whose_git_ends_at_once_is_the_hosts_fault(tmp_path: Path) -> None:
    with lookup_in(tmp_path) as lookup, pytest.raises(HostFault, match="does not answer"):
        lookup.resolve("main^{commit}")


def test_lookup_answers_many_threads_each_its_own(repository: Repository) -> None:
    names = {"main^{commit}": repository.rev("main"), "main^{tree}": repository.rev("main^{tree}"), "nothing": None}
    wrong: list[str] = []

    def ask(name: str, expected: Oid | None) -> None:
        wrong.extend(name for _ in range(200) if lookup.resolve(name) != expected)

    with lookup_in(repository.root) as lookup:
        threads = [threading.Thread(target=ask, args=item) for item in names.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_lookup_ends_with_its_block(repository: Repository) -> None:
    with lookup_in(repository.root) as lookup:
        lookup.resolve("main")
        process = lookup._process
    assert isinstance(process, subprocess.Popen)
    assert process.returncode is not None
