"""What holds for all tests."""

import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from guest_image import small_image
from hypothesis import HealthCheck, settings

from luminaguard.vm.qemu_program import program_name

ELSEWHERE = (
    *("firecracker", "apple", "a mac", "macos", "framework", "only root"),
    *("this driver has no pools", "nothing to prepare", "held from outside"),
)
"""Words of the reasons that a test of the hypervisor layer may be skipped for where all of QEMU must run."""


def pytest_configure() -> None:
    """Let no example fail for its time: on a busy machine any of them may wait for the processor for a second."""
    settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")
    # What pytest makes of the test files is kept whatever the environment says: anew it costs a worker eight seconds.
    sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the hypervisor layer: they have a target of their own, `make test-vm`."""
    for item in items:
        if "vm" in item.path.parts:
            item.add_marker("vm")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where LUMINAGUARD_MUST_RUN is 1, a test of the hypervisor layer that is skipped has failed."""
    report = yield
    if os.environ.get("LUMINAGUARD_MUST_RUN") == "1" and item.get_closest_marker("vm") and report.skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if not hasattr(report, "wasxfail") and not any(word in why.lower() for word in ELSEWHERE):
            report.outcome = "failed"
            report.longrepr = f"it must run here: {why}"
    return report


@pytest.fixture
def no_guests(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose QEMU is broken: whoever tries every level starts no guest, which can take a minute."""
    broken = tmp_path_factory.mktemp("bin") / program_name(None)
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent), prepend=os.pathsep)


@pytest.fixture(scope="session")
def guest_image() -> Iterator[Path]:
    """A small root image for guests, in a cache of the tests' own: they find nothing, and leave nothing."""
    cache = Path(tempfile.mkdtemp(prefix="guests-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield small_image(cache)
    shutil.rmtree(cache, ignore_errors=True)
