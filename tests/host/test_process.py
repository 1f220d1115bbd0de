"""One program to its end, and nothing left behind."""

import os
import select
import sys
from pathlib import Path

import anyio
import pytest

from luminaguard.host.process import Ran, run, run_blocking
from luminaguard.model.faults import HostFault, Transient


def test_output_is_bytes_and_the_exit_code_is_told() -> None:
    ran = run_blocking(("sh", "-c", r"cat; printf '\377' >&2; exit 3"), stdin=b"\xfe")
    assert ran == Ran(exit_code=3, out=b"\xfe", err=b"\xff")


def test_more_than_a_pipe_holds_goes_both_ways() -> None:
    much = b"x" * 3_000_000
    assert run_blocking(("cat",), stdin=much).out == much


def test_program_that_does_not_read_its_input_is_no_fault() -> None:
    assert run_blocking(("true",), stdin=b"x" * 1_000_000).exit_code == 0


def test_program_that_is_not_there_is_named() -> None:
    with pytest.raises(HostFault, match="'no-such-program' is not installed"):
        run_blocking(("no-such-program",))


def test_folder_that_is_not_there_is_not_taken_for_the_program(tmp_path: Path) -> None:
    with pytest.raises(HostFault, match=r"the folder .*gone is not there"):
        run_blocking(("true",), tmp_path / "gone")


def test_program_that_may_not_be_executed_is_the_hosts_fault(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program", encoding="utf-8")
    with pytest.raises(HostFault, match="cannot be started: Permission denied"):
        run_blocking((str(tmp_path / "data"),))


def test_program_at_its_deadline_is_killed_with_its_children() -> None:
    reading, held = os.pipe()
    try:
        with pytest.raises(Transient, match="still running after"):
            run_blocking(("sh", "-c", "sleep 1000 & wait"), timeout_s=2.0, pass_fds=(held,))
    finally:
        os.close(held)
    with open(reading, "rb") as ended:  # noqa: PTH123 a descriptor
        assert select.select([ended], [], [], 60)[0], "somebody still holds the other end"
        assert ended.read() == b""


def test_only_the_descriptors_that_were_given_are_inherited(tmp_path: Path) -> None:
    given, kept = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    try:
        listing = [sys.executable, "-c", "import os; print(*sorted(map(int, os.listdir('/proc/self/fd'))))"]
        seen = set(map(int, run_blocking(listing, pass_fds=(given,)).out.split()))
    finally:
        os.close(given)
        os.close(kept)
    assert given in seen
    assert kept not in seen


def test_environment_is_exactly_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hush")

    async def told() -> bytes:
        return (await run(("/usr/bin/env",), env={"A": "1"})).out

    assert anyio.run(told) == b"A=1\n"
