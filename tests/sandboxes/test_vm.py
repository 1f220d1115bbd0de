"""What the level `vm` says of itself, and what it asks a guest for; no guest is started here."""

import json
from pathlib import Path

import pytest

from luminaguard.app.walls import GUESTS
from luminaguard.host.limits import MIB, Limits
from luminaguard.model.faults import HostFault
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.all import choose
from luminaguard.sandboxes.base import Mount, Overlay, Walls
from luminaguard.sandboxes.vm import MicroVm, _Driver, linked_from
from luminaguard.vm.all import DRIVERS
from luminaguard.vm.enclosed_spec import spec_of

NOWHERE = {"none": "luminaguard.vm.qemu:NoSuchThing"}
TREE = Overlay(lower=Path("/l"), upper=Path("/u"), work=Path("/w"), at=Path("/workspace"))


@pytest.fixture
def guests(tmp_path: Path) -> MicroVm:
    """As it is where a guest has been started, and has an image."""
    made = MicroVm(tmp_path, drivers=GUESTS, image="small")
    made.__dict__["_looked"] = _Driver(name="luminaguard.vm.qemu:Qemu")  # what a look finds out
    made.__dict__["_image"] = "/images/small.erofs"
    return made


def test_the_names_of_the_drivers_are_those_that_there_are() -> None:
    assert {f"{made.__module__}:{made.__name__}" for made in DRIVERS.values()} == set(GUESTS.values())
    assert list(DRIVERS) == list(GUESTS)


def test_where_no_driver_works_it_says_so_and_encloses_nothing(tmp_path: Path) -> None:
    broken = MicroVm(tmp_path, drivers=NOWHERE)
    assert broken.missing() is not None
    with pytest.raises(HostFault, match="'vm' does not work here") as caught:
        choose(Isolation.VM, {Isolation.VM: broken})
    assert "vm probe" in caught.value.hint
    with pytest.raises(HostFault, match="does not work here"):
        broken.enclose(("true",), Walls(tree=TREE))


def test_what_a_program_is_enclosed_with_comes_back_as_it_was(guests: MicroVm) -> None:
    note = Mount(source=Path("/note"), at=Path("/run/note"))
    limits = Limits(memory_bytes=512 * MIB, disk_bytes=MIB)
    walls = Walls(tree=TREE, mounts=(note,), env={"TOKEN": "canary-word"}, limits=limits, gateway=Path("/g.sock"))
    command = guests.enclose(("sh", "-c", "echo $TOKEN"), walls)
    spec = spec_of(command.argv[4])
    assert (spec.memory_mib, spec.disk_bytes, spec.gateway) == (512, MIB, Path("/g.sock"))
    assert (spec.tree.lower, spec.tree.work, spec.mounts[0].at) == (Path("/l"), Path("/w"), "/run/note")
    assert command.argv[5:] == ("sh", "-c", "echo $TOKEN")


def test_a_variable_of_the_program_means_nothing_to_the_runner(guests: MicroVm) -> None:
    command = guests.enclose(("true",), Walls(tree=TREE, env={"LD_PRELOAD": "/evil.so", "TOKEN": "canary-word"}))
    assert "LD_PRELOAD" not in command.env
    assert command.env["IN_LD_PRELOAD"] == "/evil.so"
    assert not any("canary-word" in word for word in command.argv)


def test_what_programs_on_path_link_to_is_shown(tmp_path: Path) -> None:
    for name in ("opt/editor/bin", "opt/unused", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "opt/editor/bin/edit").touch()
    (tmp_path / "bin/edit").symlink_to(tmp_path / "opt/editor/bin/edit")
    (tmp_path / "bin/sh").symlink_to("/bin/sh")
    found = linked_from((tmp_path / "bin", tmp_path / "gone"), top=tmp_path / "opt")
    assert found == (tmp_path / "opt/editor",)


def test_a_guest_has_no_more_memory_than_is_set_for_guests(guests: MicroVm) -> None:
    command = guests.enclose(("true",), Walls(tree=TREE))
    assert json.loads(command.argv[4])["memory_mib"] == 2048
    assert command.limits.memory_bytes > 2048 * MIB
