"""Whole runs: a real repository, agents that are real programs, walls where this machine has them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guest_image import guests_of
from stage import WAIT, WORK, Stage, go, new_stage, skip_or_fail

from luminaguard.sandboxes.namespace import Namespace

OUTSIDE = ("LET_GO", "GATE", "CHECKING", "SEEN", "tools/check.sh", "$HOME", "/tmp")


@pytest.fixture(scope="session")
def walls_missing(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Why the level 'namespace' does not work here, or None."""
    return Namespace(tmp_path_factory.mktemp("walls")).missing()


@pytest.fixture
def walls(walls_missing: str | None) -> str:
    """The level 'namespace', or a skip that says why there is none."""
    if walls_missing is not None:
        skip_or_fail(f"isolation 'namespace' does not work here: {walls_missing}")
    return "namespace"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path; pytest's own are long, and go with the test that filled them only much later."""
    made = Path(tempfile.mkdtemp(prefix="scenario-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def stage_of(folder: Path) -> Iterator[Callable[[str], Stage]]:
    """Make a repository with a backlog for an isolation level; whatever was started there is ended with the test."""
    stages: list[Stage] = []

    def make(isolation: str) -> Stage:
        stages.append(new_stage(folder / f"repository-{len(stages)}", isolation=isolation))
        return stages[-1]

    yield make
    for stage in stages:
        stage.end_everything()


@pytest.fixture
def stage(stage_of: Callable[[str], Stage]) -> Stage:
    """A repository without walls: agents may look at files of the test's, which holds and releases them so."""
    return stage_of("none")


@pytest.fixture(scope="session")
def guests_missing(guest_image: Path, tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Why the level 'vm' does not work here, or None."""
    return guests_of(tmp_path_factory.mktemp("guests"), guest_image).missing()


@pytest.fixture
def in_guests(folder: Path, guests_missing: str | None, guest_image: Path) -> Iterator[Stage]:
    """A repository whose agents and checks each work in a guest."""
    if guests_missing is not None:
        skip_or_fail(f"isolation 'vm' does not work here: {guests_missing}")
    made = new_stage(folder / "in-guests", isolation="vm", vm_image=guest_image)
    yield made
    made.end_everything()


@pytest.fixture(params=["walled", pytest.param("in_guests", marks=pytest.mark.vm)])
def enclosed(request: pytest.FixtureRequest) -> Stage:
    """A repository whose agents and checks work behind walls, of each kind."""
    made: Stage = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def walled(stage_of: Callable[[str], Stage], walls: str) -> Stage:
    """A repository whose agents and checks work behind walls."""
    return stage_of(walls)


@pytest.fixture(params=["stage", pytest.param("in_guests", marks=[pytest.mark.vm, pytest.mark.slow])])
def one(request: pytest.FixtureRequest) -> Callable[..., Stage]:
    """A repository with issue 1, "Do it"; a script may wait for `stage.let_go`.

    The same in guests, for scripts that look at no file of the test's: there is none in a guest.
    """
    stage: Stage = request.getfixturevalue(request.param)

    def make(agent: str = WORK, **more: object) -> Stage:
        if stage.vm_image is not None and any(name in f"{agent}{more}" for name in OUTSIDE):
            pytest.skip("only without walls: it is held from outside")
        stage.env["LET_GO"] = str(go(stage))
        stage.write({"tools/check.sh": 'touch "$CHECKING"\n' + WAIT})
        stage.set_up(agent=agent, **more)  # type: ignore[arg-type]
        stage.issue("1", "Do it")
        return stage

    return make
