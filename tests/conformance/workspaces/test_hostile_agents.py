"""Agents that attack: what they plant must not run, and what they point at must not be read, outside their walls.

The canary is a path that exists only on this machine: it can be touched outside, and not from inside.
"""

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from luminaguard.host.git import Git, find_repository
from luminaguard.host.limits import Limits
from luminaguard.model.isolation import Isolation

Bench = Any
MIB = 1024 * 1024
REF = "refs/luminaguard/attempts/1"


@pytest.fixture
def canary(overlay_bench: Bench) -> Iterator[Path]:
    """A file that appears when something of the agent's runs outside; the user then works in the repository too."""
    path = overlay_bench.root.parent / "canary"
    yield path
    overlay_bench.git("status", "--porcelain")
    overlay_bench.git("log", "--all", "-p", "-1")
    assert not path.exists()


def planted(canary: Path) -> str:
    """A shell script that plants everything that git runs by itself."""
    touch = f"touch '{canary}'"
    hooks = "pre-commit post-commit post-checkout post-merge post-index-change pre-auto-gc reference-transaction"
    return (
        f"printf '#!/bin/sh\\n{touch}\\n' > /tmp/evil; chmod +x /tmp/evil; cp /tmp/evil evil;"
        "mkdir -p .git/hooks hooks;"
        f"for hook in {hooks}; do cp /tmp/evil .git/hooks/$hook; cp /tmp/evil hooks/$hook; done;"
        "git config core.fsmonitor /workspace/evil; git config core.sshCommand /workspace/evil;"
        "git config core.pager /workspace/evil; git config core.editor /workspace/evil;"
        "git config core.hooksPath /workspace/hooks; git config core.askPass /workspace/evil;"
        "git config core.alternateRefsCommand /workspace/evil; git config credential.helper /workspace/evil;"
        "git config filter.x.clean /workspace/evil; git config filter.x.smudge /workspace/evil;"
        "git config filter.x.process /workspace/evil; git config diff.x.textconv /workspace/evil;"
        "git config diff.external /workspace/evil; git config merge.x.driver /workspace/evil;"
        "git config gpg.program /workspace/evil; git config commit.gpgSign true;"
        "git config uploadpack.packObjectsHook /workspace/evil;"
        "printf '[include]\\n\\tpath = /workspace/more\\n' >> .git/config;"
        "printf '[alias]\\n\\trev-parse = !/workspace/evil\\n' > more;"
        "printf '* filter=x diff=x merge=x\\n' > .gitattributes;"
    )


def test_planted_hooks_settings_and_filters_run_nothing_outside(overlay_bench: Bench, canary: Path) -> None:
    done = overlay_bench.work(planted(canary) + "echo work > work")
    assert overlay_bench.show(done.commit, "work") == "work"
    assert "evil" in overlay_bench.paths(done.commit)


def test_a_git_that_is_a_link_elsewhere_still_gives_the_work(overlay_bench: Bench, canary: Path) -> None:
    done = overlay_bench.work(f"{planted(canary)} mv .git /tmp/moved; ln -s /tmp/moved .git; echo work > work")
    assert overlay_bench.show(done.commit, "work") == "work"
    assert overlay_bench.git("rev-parse", f"{done.commit}^") == overlay_bench.head()


def test_a_git_that_leads_to_the_users_repository_reads_nothing_of_it(overlay_bench: Bench) -> None:
    target = overlay_bench.root / ".git"
    overlay_bench.git("config", "user.secret", "hidden-word")
    done = overlay_bench.work(
        f"rm -rf .git; ln -s '{target}' .git; cat .git/config; ls -la '{target}'; echo work > work"
    )
    assert "hidden-word" not in done.log
    assert overlay_bench.show(done.commit, "work") == "work"


def test_a_git_file_that_names_another_folder_still_gives_the_work(overlay_bench: Bench, canary: Path) -> None:
    done = overlay_bench.work(
        f"{planted(canary)} mv .git .elsewhere; echo 'gitdir: /workspace/.elsewhere' > .git; echo w > w"
    )
    assert overlay_bench.show(done.commit, "w") == "w"


def test_a_git_that_never_answers_does_not_hang_us(overlay_bench: Bench) -> None:
    done = overlay_bench.work("rm .git/HEAD .git/config; mkfifo .git/HEAD .git/config; echo work > work")
    assert overlay_bench.show(done.commit, "work") == "work"


def test_commits_survive_a_broken_configuration(overlay_bench: Bench) -> None:
    done = overlay_bench.work("echo c > c; git add c; git commit -qm mine; echo '[broken' >> .git/config; echo x > x")
    assert overlay_bench.git("log", "--format=%s", done.commit).splitlines() == ["feat: it (#1)", "mine", "first"]


def test_an_agent_that_deletes_everything_delivers_just_that(overlay_bench: Bench) -> None:
    done = overlay_bench.work("rm -rf ./* .git .[a-z]*; ls -A")
    assert done.log == ""
    assert overlay_bench.git("ls-tree", "-r", done.commit) == ""


def test_a_submodule_with_a_command_as_its_url_is_refused(overlay_bench: Bench, canary: Path) -> None:
    done = overlay_bench.work(
        f"printf '[submodule \"m\"]\\n\\tpath = m\\n\\turl = ext::sh -c touch%% {canary}\\n' > .gitmodules;"
        "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),m; git add .gitmodules; git commit -qm m"
    )
    assert done.delivered.refused is not None
    assert done.delivered.commit is None or overlay_bench.git("rev-parse", REF) == done.commit


@pytest.mark.parametrize(
    "entry",
    [
        "100644 blob {blob}\\t.git",
        "040000 tree {tree}\\t.git",
        "040000 tree {tree}\\t..",
        "040000 tree {tree}\\t.GIT",
        "040000 tree {tree}\\tgit~1",
        "120000 blob {blob}\\t.gitmodules",
    ],
)
def test_a_commit_with_a_path_that_would_be_gits_is_refused_and_its_bundle_kept(
    overlay_bench: Bench, entry: str
) -> None:
    # Written by hand: `git mktree` refuses some of these names.
    script = (
        "blob=$(echo evil | git hash-object -w --stdin);"
        'tree=$(printf "100644 blob $blob\\tconfig\\n" | git mktree);'
        f'line="{entry.replace("{blob}", "$blob").replace("{tree}", "$tree")}";'
        'python3 - "$(printf "$line")" <<\'END\' > /tmp/tree\n'
        "import sys\n"
        "head, name = sys.argv[1].split('\\t')\n"
        "mode, kind, oid = head.split()\n"
        "sys.stdout.buffer.write(mode.lstrip('0').encode() + b' ' + name.encode() + b'\\0' + bytes.fromhex(oid))\n"
        "END\n"
        "made=$(git hash-object -t tree -w --literally /tmp/tree);"
        "git update-ref HEAD $(git commit-tree -p HEAD -m evil $made)"
    )
    workspace = overlay_bench.create()
    ended, log = overlay_bench.enter(workspace, script)
    assert ended.exit_code == 0, log
    delivered = overlay_bench.collect(workspace)
    assert delivered.refused is not None
    assert delivered.commit is None
    overlay_bench.discard(workspace)
    bundle = find_repository(overlay_bench.root).state / "refused/1.bundle"
    assert str(bundle) in delivered.refused
    assert "evil" in log_of(bundle, overlay_bench)


def log_of(bundle: Path, bench: Bench) -> str:
    """Read the titles of the commits in a bundle, without any check."""
    bench.git("-c", "fetch.fsckObjects=false", "fetch", "-q", str(bundle), "refs/out/tip:refs/looked/at")
    return str(bench.git("log", "--format=%s", "refs/looked/at"))


@pytest.mark.parametrize(
    "target", ["/etc/shadow", "../../outside", "src/../../outside", ".git/config", "src/../.git/x"]
)
def test_a_link_out_of_the_tree_is_refused_by_name_and_never_followed(overlay_bench: Bench, target: str) -> None:
    done = overlay_bench.work(f"ln -s '{target}' leak; cat leak 2>/dev/null | head -c 100; echo w > w")
    assert done.delivered.refused == "the link 'leak' leads out of the tree"
    assert overlay_bench.git("rev-parse", REF) == done.commit
    assert overlay_bench.git("cat-file", "-p", f"{done.commit}:leak") == target


def test_the_shadow_file_is_not_there_inside(overlay_bench: Bench) -> None:
    done = overlay_bench.work(
        "cat /etc/shadow /etc/gshadow /etc/ssl/private/* /etc/sudoers; test -e /etc/shadow || echo absent"
    )
    assert done.log.splitlines()[-1] == "absent"


def test_a_repository_inside_the_tree_is_refused_by_name(overlay_bench: Bench, canary: Path) -> None:
    done = overlay_bench.work(
        f"git init -q inner; cd inner; echo x > x; git add x; git commit -qm inner; cd ..; {planted(canary)}"
    )
    assert done.delivered.refused is not None
    assert "'inner'" in done.delivered.refused


def test_a_repository_without_commits_inside_the_tree_is_refused_by_name(overlay_bench: Bench) -> None:
    done = overlay_bench.work("git init -q inner; echo x > inner/x; echo w > w")
    assert done.delivered.refused is not None
    assert "'inner/'" in done.delivered.refused


def test_pipes_sockets_and_files_that_nobody_may_read_are_no_hindrance(overlay_bench: Bench) -> None:
    done = overlay_bench.work(
        "mkfifo pipe; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")';"
        "echo x > closed; chmod 000 closed; mkdir shut; echo y > shut/y; chmod 000 shut; echo w > w"
    )
    assert done.delivered.refused is None
    assert sorted(overlay_bench.paths(done.commit)) == ["a", "closed", "shut/y", "src/b", "w"]


def test_a_tracked_file_that_became_a_pipe_hangs_nobody(overlay_bench: Bench) -> None:
    done = overlay_bench.work("rm a; mkfifo a; echo w > w")
    assert overlay_bench.show(done.commit, "w") == "w"


def test_poisoned_alternates_lead_nowhere(overlay_bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "private"
    subprocess.run(("git", "init", "-q", str(other)), check=True)
    secret = (
        subprocess.run(
            ("git", "-C", str(other), "hash-object", "-w", "--stdin"), input=b"secret", capture_output=True, check=True
        )
        .stdout.decode()
        .strip()
    )
    done = overlay_bench.work(
        f"echo '{other}/.git/objects' >> .git/objects/info/alternates; git cat-file -p {secret};"
        f"git update-index --add --cacheinfo 100644,{secret},stolen; git commit -qm steal; echo w > w"
    )
    assert "secret" not in done.log.replace(secret, "").splitlines()
    shown = overlay_bench.git("log", "--all", "--format=%H").split()
    assert all("stolen" not in overlay_bench.paths(commit) for commit in shown)


def test_forged_objects_do_not_replace_the_repositorys(overlay_bench: Bench) -> None:
    head = overlay_bench.head()
    blob = overlay_bench.git("rev-parse", "HEAD:a")
    before = overlay_bench.git("cat-file", "-p", "HEAD:a")
    overlay_bench.work(
        f"mkdir -p .git/objects/{blob[:2]};"
        "python3 -c \"import zlib,sys; sys.stdout.buffer.write(zlib.compress(b'blob 4\\0evil'))\""
        f" > .git/objects/{blob[:2]}/{blob[2:]}; echo w > w; git add w; git commit -qm w; echo x >> a"
    )
    assert overlay_bench.git("cat-file", "-p", f"{head}:a") == before
    overlay_bench.git("fsck", "--strict")


def test_a_head_that_names_a_file_elsewhere_still_gives_the_work(overlay_bench: Bench, canary: Path) -> None:
    done = overlay_bench.work("echo 'ref: refs/heads/../../../../../etc/passwd' > .git/HEAD; echo w > w")
    assert overlay_bench.show(done.commit, "w") == "w"


def test_thousands_of_folders_deep_can_be_thrown_away(overlay_bench: Bench) -> None:
    script = "import os\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\nos.mknod('f')\nos.chmod('.', 0)"
    workspace = overlay_bench.create()
    overlay_bench.enter(workspace, f'python3 -c "{script}"')
    overlay_bench.discard(workspace)
    assert not workspace.folder.exists()


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_files_come_out_whole(overlay_bench: Bench, count: int) -> None:
    if count > 3000 and overlay_bench.sandbox.level is Isolation.VM:
        pytest.skip("an emulated guest takes longer than a test may")
    script = (
        "import os\n"
        f"for n in range({count}):\n"
        "    if n % 1000 == 0: os.makedirs(f'm/{n}')\n"
        "    open(f'm/{n - n % 1000}/{n}', 'w').close()"
    )
    done = overlay_bench.work(f'python3 -c "{script}"', timeout_s=250)
    assert done.ended.exit_code == 0, done.log
    assert len(overlay_bench.paths(done.commit)) == count + 2


def test_a_refused_work_is_found_again_by_the_user(overlay_bench: Bench) -> None:
    done = overlay_bench.work("ln -s /etc/shadow leak; echo c > c; git add -A; git commit -qm evil")
    assert overlay_bench.git("log", "-1", "--format=%s", REF) == "evil"
    assert done.delivered.refused


# What an agent finds around it


def seen(bench: Bench, script: str, **changes: Any) -> str:
    workspace = bench.create()
    workspace = replace(workspace, walls=replace(workspace.walls, **changes)) if changes else workspace
    _, log = bench.enter(workspace, script)
    return str(log)


def test_no_secret_of_the_environment_reaches_the_agent(overlay_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-word")
    log = seen(overlay_bench, "env; tr '\\0' '\\n' < /proc/1/environ; cat /proc/*/environ")
    assert "HOME=/home/agent" in log
    assert "canary-word" not in log


def test_no_file_of_the_home_or_of_the_repository_is_there(overlay_bench: Bench) -> None:
    state = find_repository(overlay_bench.root).state
    paths = [
        Path.home() / ".ssh",
        Path.home() / ".netrc",
        Path.home() / ".gitconfig",
        overlay_bench.root,
        state,
        "/var/log",
    ]
    overlay_bench.git("config", "user.secret", "hidden-word")
    other = overlay_bench.create(name="other")
    log = seen(
        overlay_bench,
        f"for path in {' '.join(map(repr, map(str, [*paths, other.folder])))}; do ls -d $path && echo FOUND; done",
    )
    assert "FOUND" not in log
    log = seen(
        overlay_bench, f"cat /run/luminaguard/objects/../config /run/luminaguard/objects/0/../config; ls {Path.home()}"
    )
    assert "hidden-word" not in log


def test_nothing_can_be_written_but_the_tree_and_scratch_space(overlay_bench: Bench) -> None:
    places = "/ /usr /etc /bin /opt /dev /proc/sys/kernel /home /run /var /run/luminaguard/objects/0"
    log = seen(
        overlay_bench,
        f"for place in {places}; do touch $place/x 2>/dev/null && echo WRITTEN $place; done; touch /tmp/x ~/x x",
    )
    assert log == ""


def test_the_kernel_cannot_be_told_to_run_something(overlay_bench: Bench) -> None:
    # Where the orchestrator is root, the agent owns these files of /proc, whatever its capabilities.
    before = Path("/proc/sys/kernel/core_pattern").read_bytes()
    log = seen(
        overlay_bench,
        "find /proc -type f -writable -not -path '/proc/[0-9]*' 2>/dev/null; cd /proc/sys/kernel;"
        "cat core_pattern > core_pattern && echo WRITTEN",
    )
    assert "WRITTEN" not in log
    assert "/proc/sys" not in log
    assert Path("/proc/sys/kernel/core_pattern").read_bytes() == before


def test_what_proc_tells_of_this_machine_is_not_read(shared_bench: Bench) -> None:
    # As root the agent owns these files; the kernel asks for a capability only at some of them.
    names = (
        "kcore key-users keys kmsg kpagecgroup kpagecount kpageflags mtrr pagetypeinfo sched_debug slabinfo"
        " timer_list vmallocinfo"
    )
    script = (
        f"cd /proc; for name in {names}; do head -c 64 $name 2>/dev/null | wc -c; done; (: >sysrq-trigger) || echo no"
    )
    log = seen(shared_bench, script)
    assert log.split()[:13] == ["0"] * 13
    assert log.split()[-1] == "no"


def test_there_is_no_network_not_even_to_this_machine(overlay_bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = (
            "import socket\n"
            f"for address in (('127.0.0.1', {port}), ('169.254.169.254', 80), ('1.1.1.1', 53)):\n"
            "    try:\n        socket.create_connection(address, timeout=2); print('CONNECTED', address)\n"
            "    except OSError as exc:\n        print('refused', exc.errno)\n"
        )
        assert seen(overlay_bench, f'python3 -c "{script}"').count("refused") == 3


def test_abstract_sockets_of_this_machine_are_out_of_reach(overlay_bench: Bench) -> None:
    name = f"luminaguard-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        script = f"import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + '{name}'); print('CONNECTED')"
        log = seen(overlay_bench, f'python3 -c "{script}"')
    assert "ConnectionRefusedError" in log


def test_processes_of_this_machine_are_neither_seen_nor_traced(overlay_bench: Bench) -> None:
    log = seen(
        overlay_bench,
        f"test -e /proc/{os.getpid()}/status && cat /proc/{os.getpid()}/cmdline; ls -d /proc/[0-9]* | wc -l",
    )
    assert "pytest" not in log
    assert int(log.split()[-1]) < 10


def test_no_capability_no_new_privilege_and_no_namespace_within(overlay_bench: Bench) -> None:
    log = seen(overlay_bench, "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; unshare -Ur true && echo MADE")
    assert log.count("0000000000000000") == 2
    assert "NoNewPrivs:\t1" in log
    assert "MADE" not in log


# What an agent uses up


def limited(bench: Bench, script: str, *, timeout_s: float = 60.0, **limits: int) -> Any:
    workspace = bench.create()
    bounds = replace(Limits(tmp_bytes=64 * MIB), **limits)
    walls = replace(workspace.walls, limits=bounds)
    ended, log = bench.enter(replace(workspace, walls=walls), script, timeout_s=timeout_s)
    bench.discard(workspace)
    return ended, log


def test_a_fork_bomb_is_bounded_and_ends(overlay_bench: Bench) -> None:
    ended, _ = limited(overlay_bench, "bomb() { bomb | bomb & }; bomb; sleep 100", processes=100, timeout_s=3)
    assert ended.cause in ("timeout", "processes", "exited")
    assert not _alive(overlay_bench)


def test_a_program_that_leaves_its_session_ends_with_the_rest(overlay_bench: Bench) -> None:
    sleeps = f"1234.{os.getpid()}"  # the tests may run twice at once here
    script = f"(setsid sh -c 'setsid sleep {sleeps} & exec sleep {sleeps}' >/dev/null 2>&1 &) ; sleep 0.2; echo out"
    ended, log = limited(overlay_bench, script)
    assert (ended.cause, log) == ("exited", "out\n")
    assert sleeps.encode() not in b"".join(_command_lines())


def _alive(bench: Bench) -> bool:
    return any(str(bench.root).encode() in line for line in _command_lines())


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:
            continue


def test_a_file_of_two_gigabytes_cannot_be_written(overlay_bench: Bench) -> None:
    _, log = limited(overlay_bench, "head -c 2147483648 /dev/zero > big; stat -c %s big", file_bytes=16 * MIB)
    assert log.split()[-1] == str(16 * MIB)


def test_filling_the_disk_ends_the_program(overlay_bench: Bench) -> None:
    script = "n=0; while :; do n=$((n + 1)); head -c 8388608 /dev/zero > f$n || exit 1; done"
    ended, _ = limited(overlay_bench, script, disk_bytes=64 * MIB, timeout_s=120)
    assert ended.cause == "disk"


def test_files_that_no_path_can_name_are_counted_against_the_disk(shared_bench: Bench) -> None:
    script = "import os, time\nfor _ in range(60):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\ntime.sleep(100)"
    ended, _ = limited(shared_bench, f'python3 -c "{script}"', timeout_s=110)
    assert ended.cause == "disk"


def test_scratch_space_is_bounded(overlay_bench: Bench) -> None:
    _, log = limited(
        overlay_bench, "for at in /tmp ~ /dev/shm; do head -c 99999999 /dev/zero > $at/f; done", tmp_bytes=8 * MIB
    )
    assert log.count("No space left on device") == 3


def test_a_memory_hog_is_ended(overlay_bench: Bench) -> None:
    script = "import time\nheld = []\nwhile True:\n    held.append(bytearray(b'x') * 4_000_000)\n    time.sleep(0.01)"
    ended, _ = limited(overlay_bench, f'python3 -c "{script}"', memory_bytes=200 * MIB, timeout_s=120)
    assert ended.cause in ("memory", "exited")
    assert ended.exit_code != 0


def test_endless_output_costs_a_bounded_log(overlay_bench: Bench) -> None:
    ended, log = limited(overlay_bench, "yes | head -c 200000000; echo end", log_bytes=100_000)
    assert ended.exit_code == 0
    assert len(log) < 300_000
    assert log.endswith("end\n")
    assert "bytes not kept" in log


def test_work_of_more_than_the_limit_is_refused_in_words(overlay_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luminaguard.workspaces.collect.BUNDLE_BYTES", MIB)
    done = overlay_bench.work("head -c 3000000 /dev/urandom > big")
    assert done.delivered.refused == "the work is larger than 1 MiB"


def test_an_imported_commit_runs_nothing_when_candidates_are_made(overlay_bench: Bench, canary: Path) -> None:
    done = overlay_bench.work(planted(canary))
    git = Git(overlay_bench.root)

    async def merge() -> None:
        await git.run("merge-tree", "--write-tree", overlay_bench.head(), done.commit)

    anyio.run(merge)
