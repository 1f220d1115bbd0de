"""Templates that somebody wrote to: QEMU before version 9 can, from its jail, and must not get away with it."""

import os
from pathlib import Path

import pytest

from luminaguard.vm.qemu_templates import Template


@pytest.fixture
def sealed(tmp_path: Path) -> Template:
    for name in ("memory", "state"):
        (tmp_path / name).write_bytes(b"as it was")
    template = Template(folder=tmp_path)
    template.seal()
    assert template.is_sound
    return template


@pytest.mark.parametrize("name", ["memory", "state"])
def test_a_template_that_was_written_to_is_not_sound_though_its_time_was_set_back(sealed: Template, name: str) -> None:
    path = sealed.folder / name
    before = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"poisoned!")
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert not sealed.is_sound


def test_a_template_that_was_only_read_and_moved_is_sound(sealed: Template, tmp_path: Path) -> None:
    with sealed.memory.open("r+b") as file:
        file.read()
    moved = sealed.folder.rename(tmp_path.parent / "moved")
    assert Template(folder=moved).is_sound
