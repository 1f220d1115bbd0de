"""Which walls are taken, and what is said where they are not to be had."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from luminaguard.host.detached import Command
from luminaguard.host.limits import Limits
from luminaguard.model.faults import HostFault
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.all import choose
from luminaguard.sandboxes.base import Mount, Overlay, Walls
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.sandboxes.none import NoWalls

TREE = Mount(source=Path("/"), at=Path("/workspace"))


class Broken:
    """A level that does not work on this machine, as doctor would find it elsewhere."""

    level = Isolation.NAMESPACE

    def missing(self) -> str | None:
        return "user namespaces are switched off"

    def seen_at(self, mount: Mount) -> Path:
        return mount.at

    def enclose(self, argv: Sequence[str], walls: Walls) -> Command:
        raise HostFault("never")


def test_auto_takes_the_namespace_and_says_why_not_more(tmp_path: Path) -> None:
    namespace = Namespace(tmp_path)
    if (why := namespace.missing()) is not None:
        pytest.skip(why)
    chosen = choose("auto", {Isolation.NAMESPACE: namespace, Isolation.NONE: NoWalls()})
    assert chosen.sandbox is namespace
    assert "no 'vm'" in chosen.reason


def test_auto_never_takes_none() -> None:
    with pytest.raises(HostFault, match="user namespaces are switched off") as caught:
        choose("auto", {Isolation.NAMESPACE: Broken(), Isolation.NONE: NoWalls()})
    assert "sysctl" in caught.value.hint


def test_more_than_the_machine_can_give_is_refused() -> None:
    with pytest.raises(HostFault, match="'namespace' does not work here: user namespaces are switched off"):
        choose(Isolation.NAMESPACE, {Isolation.NAMESPACE: Broken(), Isolation.NONE: NoWalls()})
    with pytest.raises(HostFault, match="'vm' does not work here"):
        choose(Isolation.VM, {Isolation.NAMESPACE: Broken(), Isolation.NONE: NoWalls()})


def test_none_is_taken_when_it_is_asked_for_by_name() -> None:
    none = NoWalls()
    assert choose(Isolation.NONE, {Isolation.NONE: none}).sandbox is none


def test_a_namespace_that_does_not_work_encloses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luminaguard.sandboxes.namespace.WALLS", ("--no-such-flag",))
    namespace = Namespace(tmp_path)
    assert namespace.missing() is not None
    with pytest.raises(HostFault, match="does not work here"):
        namespace.enclose(("true",), Walls(tree=TREE))


def test_no_walls_cannot_show_an_overlay() -> None:
    overlay = Overlay(lower=Path("/a"), upper=Path("/b"), work=Path("/c"), at=Path("/workspace"))
    with pytest.raises(HostFault, match="overlay"):
        NoWalls().enclose(("true",), Walls(tree=overlay, limits=Limits()))


def test_a_secret_of_the_environment_is_not_on_the_command_line(tmp_path: Path) -> None:
    namespace = Namespace(tmp_path)
    if (why := namespace.missing()) is not None:
        pytest.skip(why)
    command = namespace.enclose(("true",), Walls(tree=TREE, env={"TOKEN": "canary-word"}))
    assert not any("canary-word" in word for word in command.argv)
    assert command.env["TOKEN"] == "canary-word"
