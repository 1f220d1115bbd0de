"""The folder that the hypervisor layer keeps kernels, agents, memory and running guests in: the user's own, or none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from luminaguard.model.faults import HostFault
from luminaguard.vm.places import cache_folder

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to others")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_nobody_else_may_look_into_it_whatever_the_mask(cache: Path) -> None:
    code = "import os; os.umask(0); from luminaguard.vm.places import cache_folder; cache_folder('running')"
    subprocess.run([sys.executable, "-c", code], check=True)
    made = [cache / "luminaguard", cache / "luminaguard/vm", cache / "luminaguard/vm/running"]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700] * 3


def test_what_a_group_or_anybody_could_write_to_is_taken_from_them(cache: Path) -> None:
    (cache / "luminaguard").mkdir()
    (cache / "luminaguard").chmod(0o777)
    cache_folder("kernels")
    assert (cache / "luminaguard").stat().st_mode & 0o777 == 0o755


@only_root
@pytest.mark.parametrize("theirs", ["luminaguard", "luminaguard/vm", "luminaguard/vm/templates"])
def test_a_folder_that_another_user_made_is_refused(cache: Path, theirs: str) -> None:
    (cache / theirs).mkdir(parents=True)
    os.chown(cache / theirs, 65534, 65534)
    with pytest.raises(HostFault, match="belongs to another user") as caught:
        cache_folder("templates")
    assert "XDG_CACHE_HOME" in caught.value.hint


@only_root
def test_a_link_that_another_user_made_is_refused_though_it_leads_to_a_folder_of_ours(cache: Path) -> None:
    (cache / "mine").mkdir()
    (cache / "luminaguard").symlink_to(cache / "mine")
    os.chown(cache / "luminaguard", 65534, 65534, follow_symlinks=False)
    with pytest.raises(HostFault, match="belongs to another user"):
        cache_folder("templates")


def test_a_folder_that_cannot_be_made_is_told_with_the_way_out(cache: Path) -> None:
    (cache / "luminaguard").write_text("")
    with pytest.raises(HostFault, match="cannot make ") as caught:
        cache_folder("templates")
    assert "XDG_CACHE_HOME" in caught.value.hint
