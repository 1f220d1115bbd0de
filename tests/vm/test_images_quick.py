"""The look whether a toolchain has changed: it finds what matters, and nothing that does not."""

from pathlib import Path

import pytest

from luminaguard.vm.images_quick import Known, quick_look, unneeded


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    for name in ("bin", "lib/python3/__pycache__", "share/doc", "share/data"):
        (tmp_path / "tools" / name).mkdir(parents=True)
    (tmp_path / "tools/bin/tool").write_text("#!/bin/sh\n")
    return tmp_path / "tools"


def look(tools: Path) -> Known:
    return quick_look((tools,), (), cache=tools.parent / "cache")


@pytest.fixture
def known(tools: Path) -> Path:
    """An image that is known to show the tools as they are."""
    image = tools.parent / "image.erofs"
    image.touch()
    look(tools).remember(image)
    assert look(tools).path == image
    return image


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("place", ["bin/another", "share/data/file", "lib/python3/module.py"])
def test_what_is_installed_is_seen(tools: Path, place: str) -> None:
    (tools / place).write_text("new")
    assert look(tools).path is None


@pytest.mark.usefixtures("known")
def test_what_is_written_over_or_removed_is_seen(tools: Path) -> None:
    (tools / "bin/tool").write_text("#!/bin/sh\nexit 1\n")
    assert look(tools).path is None
    (tools / "bin/tool").unlink()
    assert look(tools).path is None


def test_what_no_program_needs_and_what_python_compiles_does_not_count(tools: Path, known: Path) -> None:
    (tools / "share/doc/new").write_text("words")
    (tools / "lib/python3/__pycache__/module.pyc").write_text("compiled")
    assert look(tools).path == known
    assert str(tools / "share/doc").lstrip("/") in unneeded((tools,))


def test_an_image_that_was_removed_is_not_known(tools: Path, known: Path) -> None:
    known.unlink()
    assert look(tools).path is None
