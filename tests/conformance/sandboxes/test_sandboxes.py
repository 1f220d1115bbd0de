"""What every sandbox does: real programs behind every kind of walls that this machine can make."""

from pathlib import Path

import anyio
import pytest
from guest_image import guests_of

from luminaguard.host.detached import Ended, ask_to_stop, run_attached, start, wait
from luminaguard.host.limits import Limits
from luminaguard.sandboxes.base import Mount, Sandbox, Walls
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.none import NoWalls
from luminaguard.sandboxes.vm import MicroVm

AT = Path("/workspace")


@pytest.fixture(scope="module")
def guests(guest_image: Path, tmp_path_factory: pytest.TempPathFactory) -> MicroVm:
    return guests_of(tmp_path_factory.mktemp("state"), guest_image)


@pytest.fixture(params=["namespace", "none", pytest.param("guests", marks=pytest.mark.vm)])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    made: Sandbox = NoWalls()
    if request.param == "namespace":
        made = Namespace(tmp_path / "state")
    elif request.param == "guests":
        made = request.getfixturevalue("guests")
    if (why := made.missing()) is not None:
        pytest.skip(f"no {request.param}: {why}")
    return made


def run(
    sandbox: Sandbox, folder: Path, *argv: str, walls: Walls | None = None, timeout_s: float = 120
) -> tuple[Ended, str]:
    tree = folder / "tree"
    tree.mkdir(exist_ok=True)
    walls = walls or Walls(tree=Mount(source=tree, at=AT, writable=True), limits=Limits())
    command = sandbox.enclose(argv, walls)

    async def go() -> Ended:
        return await run_attached(folder / "place", command, timeout_s=timeout_s)

    ended = anyio.run(go)
    return ended, (folder / "place/log").read_text(encoding="utf-8")


def test_the_exit_code_and_the_words_come_out(sandbox: Sandbox, tmp_path: Path) -> None:
    ended, log = run(sandbox, tmp_path, "sh", "-c", "echo words; echo more >&2; exit 7")
    assert (ended.cause, ended.exit_code, sorted(log.split())) == ("exited", 7, ["more", "words"])


def test_the_program_starts_in_the_tree_and_writes_to_it(sandbox: Sandbox, tmp_path: Path) -> None:
    tree = Mount(source=tmp_path / "tree", at=AT, writable=True)
    _, log = run(sandbox, tmp_path, "sh", "-c", "pwd -P; echo x > made")
    assert log.strip() == str(sandbox.seen_at(tree).resolve())
    assert (tmp_path / "tree/made").read_text() == "x\n"


def test_a_mount_is_found_where_the_sandbox_says(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "note").write_text("seen")
    note = Mount(source=tmp_path / "note", at=Path("/run/luminaguard/note"))
    walls = Walls(tree=Mount(source=tmp_path / "tree", at=AT, writable=True), mounts=(note,))
    _, log = run(sandbox, tmp_path, "cat", str(sandbox.seen_at(note)), walls=walls)
    assert log == "seen"


def test_variables_reach_the_program_and_path_finds_programs(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    walls = Walls(tree=Mount(source=tmp_path / "tree", at=AT, writable=True), env={"SAID": "it is"})
    _, log = run(sandbox, tmp_path, "sh", "-c", 'echo "$SAID"; command -v git >/dev/null && echo git', walls=walls)
    assert log.splitlines() == ["it is", "git"]


def test_a_program_that_is_not_there_ends_with_an_error(sandbox: Sandbox, tmp_path: Path) -> None:
    ended, _ = run(sandbox, tmp_path, "no-such-program-anywhere")
    assert ended.cause == "exited"
    assert ended.exit_code != 0


def test_a_program_is_asked_before_it_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    script = "trap 'echo saved; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    (tmp_path / "tree").mkdir()
    place, walls = tmp_path / "place", Walls(tree=Mount(source=tmp_path / "tree", at=AT, writable=True))

    async def asked() -> Ended:
        start(place, sandbox.enclose(("sh", "-c", script), walls), timeout_s=60)
        while "ready" not in ((place / "log").read_text() if (place / "log").exists() else ""):
            assert not (place / "result.json").exists()
            await anyio.sleep(0.01)
        ask_to_stop(place)
        return await wait(place)

    ended = anyio.run(asked)
    assert (ended.cause, ended.exit_code) == ("cancelled", 3)
    assert "saved" in (place / "log").read_text()


def test_a_program_that_takes_too_long_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    ended, _ = run(sandbox, tmp_path, "sleep", "1000", timeout_s=0.5)
    assert ended.cause == "timeout"
