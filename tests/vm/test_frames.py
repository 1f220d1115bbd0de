"""What a guest may say, taken apart: by the host in Python, by the agent in C."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luminaguard.model.faults import UserFault
from luminaguard.vm.agent_binary import HERE
from luminaguard.vm.frames import (
    FRAME_BYTES,
    HEAD,
    SIZES,
    TOKEN_BYTES,
    Flow,
    Frame,
    Frames,
    MalformedFrame,
    Say,
    Told,
    exec_payload,
    frame,
    listen_payload,
    mount_payload,
    refresh_payload,
    words,
)


def told(kind: Told, name: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload) + 5, kind, name) + payload


@st.composite
def whole(draw: st.DrawFn) -> Frame[Told]:
    kind = draw(st.sampled_from(Told))
    least, most = SIZES[kind]
    payload = draw(st.binary(min_size=least, max_size=min(most, 300)))
    return Frame(kind, draw(st.integers(0, 2**32 - 1)), payload)


@settings(deadline=None)
@given(st.lists(whole(), max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent: list[Frame[Told]], cuts: list[int]) -> None:
    stream = b"".join(told(one.type, one.id, one.payload) for one in sent)
    frames, found, number = Frames(SIZES), [], 0
    while stream:
        size = cuts[number % len(cuts)]
        found += list(frames.feed(stream[:size]))
        stream, number = stream[size:], number + 1
    assert found == sent


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_frames_or_malformed_and_nothing_else(data: bytes) -> None:
    try:
        found = list(Frames(SIZES).feed(data))
    except MalformedFrame:
        return
    for one in found:
        least, most = SIZES[one.type]
        assert least <= len(one.payload) <= most


@settings(deadline=None)
@given(st.sampled_from(Told), st.integers(0, 2**32 - 1))
def test_a_frame_of_a_size_that_its_type_has_not_is_malformed(kind: Told, size: int) -> None:
    least, most = SIZES[kind]
    if least <= size - 5 <= most:
        return
    with pytest.raises(MalformedFrame):
        list(Frames(SIZES).feed(HEAD.pack(size, kind, 1)))


def test_what_came_before_a_malformed_frame_is_given() -> None:
    seen = []
    frames = Frames(SIZES).feed(told(Told.OUT, 3, b"x") + b"\xff" * 20)
    seen.append(next(frames))
    with pytest.raises(MalformedFrame):
        next(frames)
    assert seen == [Frame(Told.OUT, 3, b"x")]


def test_numbers_are_signed() -> None:
    assert Frame(Told.EXIT, 1, struct.pack("<i", -9)).number == -9


@pytest.mark.parametrize(("argv", "env"), [([], {}), ([""], {}), (["a"], {"": ""}), (["a"], {"a=b": ""}), (["\0"], {})])
def test_what_no_program_can_be_given_is_refused(argv: list[str], env: dict[str, str]) -> None:
    with pytest.raises(UserFault):
        exec_payload(argv, env, "/")


def some_frames() -> list[bytes]:
    return [
        frame(Say.EXEC, 1, exec_payload(["sh", "-c", "true"], {"A": "b", "C": ""}, "/work")),
        frame(Say.MOUNT, 2, mount_payload("/dev/vdb", "/mnt", filesystem="ext4", flags=1)),
        frame(Say.ROOT, 3, words("/dev/vda", "erofs")),
        frame(Say.REFRESH, 4, refresh_payload(time_ns=10**18, entropy=bytes(32))),
        frame(Say.INPUT, 5, b"x" * 1000),
        frame(Say.PING),
        frame(Say.LISTEN, 6, listen_payload(bytes(range(TOKEN_BYTES)), [1, 8080, 65535])),
        frame(Flow.DATA, 7, b"x" * 100) + frame(Flow.TAKEN, 7, bytes(4)) + frame(Flow.END, 7) + frame(Flow.RESET, 7),
        struct.pack("<BIqQI", ord("f"), 0o644, 5, 3, 4) + b"pathabc",
        struct.pack("<BIqQI", ord("l"), 0o777, 5, 3, 4) + b"pathabc",
    ]


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's parsers as a program of this machine, with a sanitizer that ends it at the first wrong byte."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler here")
    made = tmp_path_factory.mktemp("fuzz") / "fuzz"
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(made), str(HERE / "fuzz.c")], check=True)
    return made


def feed(fuzzer: Path, folder: Path, inputs: list[bytes]) -> subprocess.CompletedProcess[bytes]:
    paths = []
    for number, data in enumerate(inputs):
        paths.append(folder / f"{number}")
        paths[-1].write_bytes(data)
    return subprocess.run([str(fuzzer), *map(str, paths)], capture_output=True, check=False)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_agent_survives_any_bytes(
    fuzzer: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = b"".join(data.draw(st.lists(st.sampled_from(some_frames()), max_size=4)))
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(0, 6))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(0, len(changed)))])
    ran = feed(fuzzer, tmp_path_factory.mktemp("case"), [bytes(changed), cut, data.draw(st.binary(max_size=300))])
    assert ran.returncode == 0, ran.stderr.decode()[:2000]


@pytest.mark.parametrize("good", some_frames())
def test_the_agent_survives_every_cut_and_every_changed_byte(fuzzer: Path, tmp_path: Path, good: bytes) -> None:
    head = good[:64]
    changed = [
        head[:at] + bytes([value]) + good[at + 1 :] for at in range(len(head)) for value in (0, 1, 127, 128, 255)
    ]
    ran = feed(fuzzer, tmp_path, [good[:size] for size in range(len(head))] + changed)
    assert ran.returncode == 0, ran.stderr.decode()[:2000]


def test_a_frame_may_not_be_larger_than_both_sides_say() -> None:
    source = (HERE / "frames.h").read_text(encoding="utf-8")
    assert "FRAME_MAX = 1 << 20" in source
    assert FRAME_BYTES == 1 << 20
    for kind in Say:
        assert f" {kind.name} = '{chr(kind)}'," in source
    for answer in Told:
        assert f" {answer.name} = '{chr(answer)}'," in source
