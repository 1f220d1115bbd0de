"""The key that two hosts share."""

import stat
from pathlib import Path

import pytest

from luminaguard.model.faults import UserFault
from luminaguard.vm.moving_key import made_key, read_key


def test_a_key_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = made_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made_key(path) == key == read_key(path)
    assert made_key(tmp_path / "other") != key


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made_key(path)
    path.chmod(0o640)
    with pytest.raises(UserFault, match="read by others") as refused:
        read_key(path)
    assert "chmod 600" in refused.value.hint


@pytest.mark.parametrize("text", ["", "ab", "x" * 64, "0" * 63, "0" * 66])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(UserFault, match="holds no key"):
        read_key(path)


def test_a_key_that_is_not_there_or_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserFault, match="cannot be read"):
        read_key(tmp_path / "key")
    with pytest.raises(UserFault, match="cannot be made"):
        made_key(tmp_path / "no" / "key")
