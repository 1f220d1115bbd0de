"""What every kind of workspaces does, with a real agent behind the walls that it can have here."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from luminaguard.model.ids import Oid

# conftest's Bench cannot be imported by name under importlib mode.
Bench = Any
REF = "refs/luminaguard/attempts/1"


def test_nothing_changed_delivers_nothing(bench: Bench) -> None:
    done = bench.work("git status --porcelain")
    assert (done.ended.exit_code, done.log) == (0, "")
    assert done.delivered.commit is None
    assert done.delivered.refused is None


def test_the_agent_finds_its_branch_at_the_start_and_a_clean_tree(bench: Bench) -> None:
    done = bench.work(
        "git symbolic-ref HEAD; git rev-parse HEAD; git status --porcelain; git log --format=%s; cat src/b"
    )
    assert done.log.splitlines() == ["refs/heads/feature/issue-1", bench.head(), "first", "b"]


def test_uncommitted_changes_are_committed_for_the_agent(bench: Bench) -> None:
    done = bench.work("echo new > 'a new file'; echo two >> a; rm gone")
    assert done.delivered.committed
    assert (
        bench.git("log", "-1", "--format=%s|%an|%P", done.commit) == f"feat: it (#1)|LuminaGuard agent|{bench.head()}"
    )
    assert bench.show(done.commit, "a new file") == "new"
    assert "gone" not in bench.paths(done.commit)
    assert bench.git("rev-parse", REF) == done.commit


def test_commits_of_the_agent_come_out_as_they_are(bench: Bench) -> None:
    done = bench.work("echo x > x; git add x; git commit -qm mine; git rev-parse HEAD")
    assert done.log.strip() == done.commit
    assert not done.delivered.committed


def test_changes_after_a_commit_become_one_more_commit(bench: Bench) -> None:
    done = bench.work("echo x > x; git add x; git commit -qm mine; echo y > y")
    assert bench.git("log", "--format=%s", done.commit).splitlines() == ["feat: it (#1)", "mine", "first"]
    assert done.delivered.committed


def test_modes_links_binaries_and_odd_names_come_out(bench: Bench) -> None:
    done = bench.work(
        "chmod +x run_sh; ln -s src/b link; head -c 70000 /dev/urandom > 'bin\nary'; mkdir deep; ln -s ../a deep/up;"
        'printf x > "täb\t\\"quote"; git hash-object "bin\nary"'
    )
    assert done.delivered.refused is None
    assert sorted(bench.paths(done.commit)) == sorted(
        ["a", "src/b", "gone", "run_sh", "link", "bin\nary", "deep/up", 'täb\t"quote']
    )
    assert bench.git("rev-parse", f"{done.commit}:bin\nary") == done.log.strip()
    assert bench.git("ls-tree", done.commit, "run_sh").startswith("100755")
    assert bench.git("ls-tree", done.commit, "link").startswith("120000")


def test_collecting_twice_gives_the_same_answer(bench: Bench) -> None:
    workspace = bench.create()
    bench.enter(workspace, "echo x > x; git add x; git commit -qm mine; echo y > y")
    first = bench.collect(workspace)
    assert first.commit is not None
    assert bench.collect(workspace) == first


def test_a_workspace_that_exists_is_found_with_what_it_holds(bench: Bench) -> None:
    start = bench.start()
    workspace = bench.create(start)
    bench.enter(workspace, "echo x > x; git add x; git commit -qm mine; echo y > y")
    bench.commit("the target went on", z="z")
    again = bench.create(bench.start())
    assert (again.folder, again.start) == (workspace.folder, start)
    _, log = bench.enter(again, "cat x y; git log --format=%s")
    assert log.split() == ["x", "y", "mine", "first"]


def test_two_workspaces_do_not_see_each_other(bench: Bench) -> None:
    one, two = bench.create(name="one"), bench.create(name="two")
    bench.enter(one, "echo secret > secret; git add -A; git commit -qm secret")
    _, log = bench.enter(two, "ls; git log --all --format=%s")
    assert "secret" not in log


def test_a_start_that_differs_from_what_is_checked_out_already_is_prepared(bench: Bench) -> None:
    bench.create(name="earlier")
    bench.commit("second", a="changed\n", gone=None, new__deep__er="n\n")
    done = bench.work("git status --porcelain; cat a new/deep/er; test ! -e gone && git rev-parse HEAD; echo x > x")
    assert done.log.splitlines() == ["changed", "n", bench.head()]
    assert bench.git("diff", "--name-only", bench.head(), done.commit) == "x"


def test_preparing_again_keeps_what_the_agent_did(bench: Bench) -> None:
    bench.create(name="earlier")
    bench.commit("second", a="changed\n")
    workspace = bench.create()
    bench.enter(workspace, "echo mine > a; echo x > x")
    _, log = bench.enter(workspace, "cat a x")
    assert log.split() == ["mine", "x"]


def test_an_interrupted_preparation_is_done_again(bench: Bench) -> None:
    bench.create(name="earlier")
    bench.commit("second", a="changed\n", added="n\n")
    workspace = bench.create()
    if not workspace.prepare:
        pytest.skip("a full checkout has nothing to prepare here")
    ended, _ = bench.enter(
        replace(workspace, prepare=()),
        ": > .git/luminaguard-preparing; : > .git/index.lock; echo n > added; echo half > a",
    )
    assert ended.exit_code == 0
    _, log = bench.enter(workspace, "git status --porcelain; cat a added")
    assert log.split() == ["changed", "n"]


def _diverged(bench: Bench, *, here: str, there: str) -> tuple[Oid, Oid]:
    """Commit on a work branch and on the target; return both tips."""
    base = bench.head()
    target = bench.commit("target", a=there, t="t\n")
    bench.git("checkout", "-q", "-b", "work", base)
    work = bench.commit("work", a=here)
    bench.git("checkout", "-q", "main")
    return work, target


def test_the_target_is_merged_in_before_the_agent_starts(bench: Bench) -> None:
    work, target = _diverged(bench, here="zero\none\ntwo\nthree\n", there="one\ntwo\nthree\nfour\n")
    done = bench.work("cat a; git status --porcelain", bench.start(commit=work, merge=target))
    assert done.log.split()[-5:] == ["zero", "one", "two", "three", "four"]
    assert bench.git("log", "-1", "--format=%P", done.commit) == f"{work} {target}"


def test_a_conflict_that_the_agent_resolves_and_commits_comes_out_as_a_merge(bench: Bench) -> None:
    work, target = _diverged(bench, here="mine\n", there="theirs\n")
    script = "grep -c '^<<<<<<<' a; echo both > a; git add a; git commit -qm resolved"
    done = bench.work(script, bench.start(commit=work, merge=target))
    assert "1" in done.log.splitlines()
    assert bench.git("log", "-1", "--format=%P", done.commit) == f"{work} {target}"
    assert done.delivered.refused is None
    assert bench.show(done.commit, "a") == "both"


def test_a_conflict_that_is_resolved_but_not_committed_is_concluded_for_the_agent(bench: Bench) -> None:
    work, target = _diverged(bench, here="mine\n", there="theirs\n")
    done = bench.work("echo both > a", bench.start(commit=work, merge=target))
    assert done.delivered.committed
    assert bench.git("log", "-1", "--format=%P", done.commit) == f"{work} {target}"
    assert done.delivered.refused is None


def test_a_conflict_that_is_left_standing_is_refused_and_kept(bench: Bench) -> None:
    work, target = _diverged(bench, here="mine\n", there="theirs\n")
    done = bench.work("true", bench.start(commit=work, merge=target))
    assert done.delivered.refused == "'a' still holds conflict markers"
    assert bench.git("rev-parse", REF) == done.commit


def test_markers_in_a_file_without_a_conflict_are_left_alone(bench: Bench) -> None:
    work, target = _diverged(bench, here="mine\n", there="theirs\n")
    script = "echo both > a; printf '<<<<<<< x\\n=======\\n>>>>>>> y\\n' > documentation"
    assert bench.work(script, bench.start(commit=work, merge=target)).delivered.refused is None


def test_work_goes_on_from_an_existing_branch(bench: Bench) -> None:
    bench.git("checkout", "-q", "-b", "feature/issue-1")
    before = bench.commit("half", half="h\n")
    bench.git("checkout", "-q", "main")
    done = bench.work("cat half; echo rest > rest", bench.start(commit=before))
    assert done.log == "h\n"
    assert bench.git("log", "--format=%s", done.commit).splitlines() == ["feat: it (#1)", "half", "first"]


def test_rewritten_history_is_imported_all_the_same(bench: Bench) -> None:
    done = bench.work("git checkout -q --orphan fresh; git commit -qm alone")
    assert bench.git("rev-list", "--count", done.commit) == "1"


def test_commits_that_the_agent_walked_away_from_are_kept(bench: Bench) -> None:
    done = bench.work(
        "git checkout -q -b side; echo s > s; git add s; git commit -qm side; git checkout -q -; echo m > m"
    )
    assert "s" not in bench.paths(done.commit)
    assert bench.git("log", "-1", "--format=%s", f"{REF}-other-1") == "side"


@pytest.mark.parametrize(
    "moved",
    [
        "git pack-refs --all --prune",
        "mv .git/refs/heads .git/moved; ln -s ../moved .git/refs/heads",
    ],
)
def test_commits_are_found_wherever_the_agent_has_put_its_refs(bench: Bench, moved: str) -> None:
    bench.work(f"git checkout -q -b side; echo s > s; git add s; git commit -qm side; git checkout -q -; {moved}")
    assert bench.git("log", "-1", "--format=%s", f"{REF}-other-1") == "side"


def test_what_is_stashed_is_kept(bench: Bench) -> None:
    done = bench.work("echo s > a; git stash -q; echo m > m")
    assert bench.show(done.commit, "a") == "one\ntwo\nthree"
    assert bench.git("show", f"{REF}-other-1:a") == "s"


def test_a_branch_that_was_reset_to_before_the_start_brings_nothing(bench: Bench) -> None:
    bench.commit("second", z="z")
    done = bench.work("git reset -q --hard HEAD~1")
    assert done.delivered.commit is None
    assert done.delivered.refused is None


def test_a_branch_that_is_no_longer_the_agents_brings_its_side_branch_all_the_same(bench: Bench) -> None:
    bench.commit("second", z="z")
    done = bench.work(
        "git checkout -q -b side; echo s > s; git add s; git commit -qm side; git checkout -q -;"
        "git reset -q --hard HEAD~1"
    )
    assert done.delivered.commit is None
    assert bench.git("log", "-1", "--format=%s", f"{REF}-other-1") == "side"


def test_commits_stay_where_the_marks_of_the_preparation_are_gone(bench: Bench) -> None:
    bench.create(name="earlier")
    bench.commit("second", a="changed\n")
    workspace = bench.create()
    bench.enter(workspace, "echo mine > a; git commit -qam mine; rm -f .git/luminaguard-*")
    _, log = bench.enter(workspace, "cat a; git log -1 --format=%s")
    assert log.split() == ["mine", "mine"]


def test_commits_on_the_branch_count_where_head_was_moved_back(bench: Bench) -> None:
    done = bench.work("echo x > x; git add x; git commit -qm mine; git checkout -q --detach HEAD~1")
    assert bench.git("log", "-1", "--format=%s", done.commit) == "mine"


def test_committed_files_stay_where_they_are_ignored(bench: Bench) -> None:
    bench.commit("ignore", **{".gitignore": "build/\n"})
    done = bench.work(
        "mkdir build; echo c > build/committed; git add -f build/committed; git commit -qm c;"
        "echo s > build/staged; git add -f build/staged; echo i > build/ignored; echo x > x"
    )
    assert [path for path in bench.paths(done.commit) if "build" in path] == ["build/committed", "build/staged"]


def test_what_the_agent_excludes_for_itself_stays_out(bench: Bench) -> None:
    done = bench.work(
        "mkdir -p .git/info; echo '.cache/' > .git/info/exclude; mkdir .cache; echo x > .cache/x; echo y > y"
    )
    assert ".cache/x" not in bench.paths(done.commit)
    assert "y" in bench.paths(done.commit)


def test_discarding_twice_is_no_harm(bench: Bench) -> None:
    workspace = bench.create()
    bench.discard(workspace)
    bench.discard(workspace)
    assert not workspace.folder.exists()


def test_a_sha256_repository(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench("--object-format=sha256")
    bench.commit("first", a="a\n")
    done = bench.work("git status --porcelain; echo b > b")
    assert (len(done.commit), done.log) == (64, "")
    assert bench.show(done.commit, "b") == "b"


def test_a_repository_that_borrows_its_objects(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make_bench()
    bench.commit("first", a="a\n")
    borrower = tmp_path / "borrower"
    subprocess.run(("git", "clone", "-q", "--shared", str(bench.root), str(borrower)), check=True)
    bench.root = borrower
    done = bench.work("git status --porcelain; git log --format=%s; echo b > b")
    assert done.log == "first\n"
    assert bench.show(done.commit, "a") == "a"


def test_a_shallow_clone(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make_bench()
    bench.commit("first", a="a\n")
    bench.commit("second", a="b\n")
    shallow = tmp_path / "shallow"
    subprocess.run(("git", "clone", "-q", "--depth=1", f"file://{bench.root}", str(shallow)), check=True)
    bench.root = shallow
    done = bench.work("git log --format=%s; echo b > b")
    assert done.log == "second\n"
    assert bench.show(done.commit, "b") == "b"


def test_the_user_s_settings_and_filters_do_not_reach_the_checkout(bench: Bench, tmp_path: Path) -> None:
    bench.git("config", "filter.mark.smudge", f"touch {tmp_path / 'ran'}; cat")
    bench.git("config", "core.hooksPath", str(tmp_path))
    bench.git("config", "core.autocrlf", "true")
    (tmp_path / "post-checkout").write_text(f"#!/bin/sh\ntouch '{tmp_path / 'ran'}'\n", encoding="utf-8")
    (tmp_path / "post-checkout").chmod(0o755)
    (bench.root / ".gitattributes").write_text("f filter=mark\n", encoding="utf-8")
    bench.commit("filtered", f="line\n")
    (tmp_path / "ran").unlink(missing_ok=True)
    done = bench.work("od -c f | head -n 1")
    assert "\\r" not in done.log
    assert not (tmp_path / "ran").exists()
