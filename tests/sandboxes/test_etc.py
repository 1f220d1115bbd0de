"""What is shown of /etc: copies of what everybody may read, never changed under a program that runs."""

import os
from pathlib import Path

import pytest

from luminaguard.model.faults import HostFault
from luminaguard.sandboxes.etc import UNUSED_S, EtcFolder

WRITTEN = {"passwd": "agent:x:1000:1000::/:/bin/sh\n"}


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    made = tmp_path / "etc"
    for name in ("alternatives", "fonts/conf.d", "ssl/private", "ssl/certs"):
        (made / name).mkdir(parents=True)
    (made / "timezone").write_text("Etc/UTC\n", encoding="utf-8")
    (made / "alternatives/awk").symlink_to("/usr/bin/mawk")
    (made / "fonts/conf.d/10.conf").write_text("<x/>", encoding="utf-8")
    (made / "ssl/openssl.cnf").write_text("[x]", encoding="utf-8")
    for secret in ("shadow", "ssl/private/key", "npmrc"):
        (made / secret).write_text("secret", encoding="utf-8")
    return made


@pytest.fixture
def kept(tmp_path: Path, etc: Path) -> EtcFolder:
    return EtcFolder(tmp_path / "walls", written=WRITTEN, etc=etc)


def paths(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def test_what_is_nobodys_secret_is_copied_and_nothing_else(kept: EtcFolder) -> None:
    made = kept.current()
    assert paths(made) == {
        "alternatives/awk",
        "fonts/conf.d/10.conf",
        "mtab",
        "passwd",
        "ssl/openssl.cnf",
        "timezone",
    }
    assert os.readlink(made / "alternatives/awk") == "/usr/bin/mawk"  # noqa: PTH115 as it is spelled
    assert (made / "passwd").read_text(encoding="utf-8") == WRITTEN["passwd"]


def test_what_not_everybody_may_read_is_left_out_at_any_depth(kept: EtcFolder, etc: Path) -> None:
    (etc / "fonts/conf.d/10.conf").chmod(0o640)
    (etc / "timezone").chmod(0o600)
    (etc / "alternatives").chmod(0o700)
    assert paths(kept.current()) == {"mtab", "passwd", "ssl/openssl.cnf"}


def test_a_link_to_what_is_not_shown_is_copied_as_what_it_leads_to(kept: EtcFolder, etc: Path, tmp_path: Path) -> None:
    (tmp_path / "zone").write_text("zone", encoding="utf-8")
    (etc / "localtime").symlink_to(tmp_path / "zone")
    made = kept.current()
    assert not (made / "localtime").is_symlink()
    assert (made / "localtime").read_text(encoding="utf-8") == "zone"


def test_a_link_into_the_system_stays_a_link(kept: EtcFolder, etc: Path) -> None:
    (etc / "localtime").symlink_to("/usr/bin")
    assert (kept.current() / "localtime").is_symlink()


def test_the_folder_is_made_once_also_by_another_process(kept: EtcFolder, etc: Path, tmp_path: Path) -> None:
    first = kept.current()
    before = first.stat().st_ino
    assert kept.current() == first
    assert EtcFolder(tmp_path / "walls", written=WRITTEN, etc=etc).current() == first
    assert first.stat().st_ino == before


def test_a_source_that_changed_gives_a_new_folder_and_leaves_the_old(kept: EtcFolder, etc: Path) -> None:
    first = kept.current()
    (etc / "timezone").write_text("Europe/London\n", encoding="utf-8")
    os.utime(etc / "timezone", (1, 1))
    second = kept.current()
    assert second != first
    assert (first / "timezone").read_text(encoding="utf-8") == "Etc/UTC\n"
    assert (second / "timezone").read_text(encoding="utf-8") == "Europe/London\n"


def test_a_source_that_came_or_went_gives_a_new_folder(kept: EtcFolder, etc: Path) -> None:
    first = kept.current()
    (etc / "magic").write_text("m", encoding="utf-8")
    os.utime(etc, (1, 1))
    second = kept.current()
    (etc / "timezone").unlink()
    third = kept.current()
    assert len({first, second, third}) == 3
    assert (second / "magic").exists()
    assert not (third / "timezone").exists()


def test_a_folder_that_was_long_not_used_goes_when_a_new_one_is_made(kept: EtcFolder, etc: Path) -> None:
    first = kept.current()
    long_ago = first.stat().st_mtime - UNUSED_S - 60
    os.utime(first, (long_ago, long_ago))
    (etc / "timezone").unlink()
    second = kept.current()
    assert not first.exists()
    assert second.exists()


def test_a_disk_that_refuses_is_the_machines_fault(tmp_path: Path, etc: Path) -> None:
    (tmp_path / "walls").write_text("no folder", encoding="utf-8")
    with pytest.raises(HostFault, match="cannot copy what is shown of"):
        EtcFolder(tmp_path / "walls", written=WRITTEN, etc=etc).current()
