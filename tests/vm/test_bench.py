"""The benchmark measures what it says."""

import os
from pathlib import Path

import anyio
import pytest

from luminaguard.vm.bench import AIMS, Figure, bench, described, figure
from luminaguard.vm.qemu import Qemu
from luminaguard.vm.running import listed


def test_a_figure_is_the_median_between_the_least_and_the_most() -> None:
    made = figure("cold_boot_ms", [30.0, 10.0, 11.0], plain_boot_ms=44.0)
    assert (made.median, made.least, made.most, made.samples) == (11.0, 10.0, 30.0, 3)
    assert (made.aim, made.plain_boot_ms) == (AIMS["cold_boot_ms"], 44.0)


def test_what_nobody_aims_at_has_no_aim() -> None:
    assert figure("plain_qemu_boot_ms", [1.0], plain_boot_ms=1.0).aim is None


def test_everything_with_an_aim_is_measured_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if (why := anyio.run(Qemu().missing)) is not None:
        if os.environ.get("LUMINAGUARD_MUST_RUN") == "1":
            pytest.fail(f"QEMU must run here: {why}")
        pytest.skip(why)
    told: list[Figure] = []
    found = anyio.run(lambda: bench(samples=1, clones=2, report=told.append))
    assert list(found) == told
    assert AIMS.keys() <= {one.name for one in found}
    assert all(one.plain_boot_ms > 0 for one in found)
    assert listed() == ()
    assert list((tmp_path / "luminaguard/vm/snapshots").iterdir()) == []
    assert "QEMU" in anyio.run(described)
