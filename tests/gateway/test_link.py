"""Connections on the loop's callbacks: waits that end, ends that are seen, both ways."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from luminaguard.gateway.link import AHEAD_BYTES, Link


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, socket.socket]]:
    near, far = socket.socketpair()
    _, link = await asyncio.get_running_loop().create_connection(Link, sock=near)
    far.setblocking(False)  # noqa: FBT003 the socket's shape
    try:
        yield link, far
    finally:
        link.abort()
        far.close()
        await anyio.lowlevel.checkpoint()


def test_a_wait_ends_after_its_time_and_the_next_one_has_its_own() -> None:
    async def go() -> None:
        async with linked() as (link, far):
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await link.receive(within_s=0.01)
            far.send(b"late")
            assert await link.receive(within_s=60) == b"late"
            with pytest.raises(TimeoutError):
                await link.receive(within_s=0.01)

    anyio.run(go)


def test_each_wait_has_its_own_length_whatever_came_before() -> None:
    async def go() -> None:
        async with linked() as (link, far):
            far.send(b"x")
            assert await link.receive(within_s=1.0) == b"x"
            asyncio.get_running_loop().call_later(1.1, far.send, b"y")  # when the first wait would be over
            assert await link.receive(within_s=60) == b"y"
            with anyio.move_on_after(60) as waited, pytest.raises(TimeoutError):
                await link.receive(within_s=0.01)
            assert not waited.cancel_called

    anyio.run(go)


def test_what_comes_is_given_in_pieces_no_larger_than_wanted() -> None:
    async def go() -> None:
        async with linked() as (link, far):
            far.send(b"abcdef")
            assert [await link.receive(4), await link.receive(4)] == [b"abcd", b"ef"]

    anyio.run(go)


def test_the_end_is_seen_and_what_came_before_it_is_not_lost() -> None:
    async def go() -> None:
        async with linked() as (link, far):
            far.send(b"last")
            far.close()
            assert await link.receive() == b"last"
            with pytest.raises(anyio.EndOfStream):
                await link.receive()

    anyio.run(go)


def test_who_goes_is_told_of_at_once() -> None:
    async def go() -> None:
        async with linked() as (link, far):
            gone = anyio.Event()
            with link.on_gone(gone.set):
                far.close()
                await gone.wait()
            again = anyio.Event()
            with link.on_gone(again.set):
                assert again.is_set()

    anyio.run(go)


def test_a_side_that_does_not_read_holds_the_one_that_sends() -> None:
    async def go() -> None:
        async with linked() as (link, far):
            sent = 0
            while not link.is_full:
                await link.send(b"x" * 65536)
                sent += 65536
                assert sent < 10 * AHEAD_BYTES
            with pytest.raises(TimeoutError), anyio.fail_after(0.05):
                await link.send(b"x")
            far.close()
            with pytest.raises(anyio.BrokenResourceError):
                await link.send(b"x")

    anyio.run(go)


def test_a_side_that_sends_too_much_is_held() -> None:
    async def go() -> None:
        async with linked() as (link, far):
            sent = 0
            for _ in range(200):
                try:
                    sent += far.send(b"x" * 65536)
                except BlockingIOError:
                    await anyio.lowlevel.checkpoint()
            got = 0
            while got < sent:
                got += len(await link.receive(within_s=60))
            assert got == sent

    anyio.run(go)
