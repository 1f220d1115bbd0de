"""What two hosts say to each other: only with the same key, and only as it was said."""

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luminaguard.model.faults import Fault, HostFault, UserFault
from luminaguard.vm.handover import GREETING, NONCE_BYTES, Address, Wire, address_of, checked_key, greeted

KEY = b"a key that is long enough"
Body = Callable[[Wire, Wire], Awaitable[None]]


def changed(data: bytes) -> bytes:
    return data.replace(b"first", b"worst")


def told_twice(data: bytes) -> bytes:
    return data + data if b"first" in data else data


def as_it_is(data: bytes) -> bytes:
    return data


def between(ends: tuple[socket.socket, socket.socket], change: Callable[[bytes], bytes]) -> None:
    def carry(source: socket.socket, target: socket.socket) -> None:
        with source, target:
            while data := source.recv(1 << 16):
                target.sendall(change(data))

    for source, target in (ends, ends[::-1]):
        threading.Thread(target=carry, args=(source.dup(), target.dup()), daemon=True).start()
    for end in ends:
        end.close()


def pairs(change: Callable[[bytes], bytes]) -> Iterator[socket.socket]:
    sender, left = socket.socketpair()
    right, receiver = socket.socketpair()
    between((left, right), change)
    for sock in (sender, receiver):
        sock.settimeout(0)
        yield sock


def talk(body: Body, *, change: Callable[[bytes], bytes] = as_it_is, keys: tuple[bytes, bytes] = (KEY, KEY)) -> None:
    async def go() -> None:
        sender, receiver = pairs(change)
        wires: list[Wire] = []

        async def greet(sock: socket.socket, key: bytes, *, is_sender: bool) -> None:
            wires.append(await greeted(sock, key, is_sender=is_sender))

        with sender, receiver, anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(greet, sender, keys[0], is_sender=True))
                tasks.start_soon(partial(greet, receiver, keys[1], is_sender=False))
            first, second = sorted(wires, key=lambda wire: wire.socket is not sender)
            await body(first, second)

    anyio.run(go)


def test_what_one_says_the_other_hears_in_its_order() -> None:
    async def body(sender: Wire, receiver: Wire) -> None:
        await sender.say("first", number=7, names={"a": "b"})
        await sender.say("second")
        first = await receiver.hear()
        assert (first.what, first.number("number"), first.texts("names")) == ("first", 7, {"a": "b"})
        assert (await receiver.expect("second")).what == "second"
        await receiver.say("third")
        assert (await sender.hear()).what == "third"
        assert sender.name == receiver.name
        assert sender.secret("tls") == receiver.secret("tls") != sender.secret("other")

    talk(body)


def test_two_connections_have_secrets_of_their_own() -> None:
    found = set()

    async def body(sender: Wire, receiver: Wire) -> None:
        found.add(sender.secret("tls"))

    talk(body)
    talk(body)
    assert len(found) == 2


@pytest.mark.parametrize("keys", [(KEY, KEY + b"!"), (KEY + b"!", KEY)])
def test_another_key_is_told_apart_at_the_first_message(keys: tuple[bytes, bytes]) -> None:
    async def body(sender: Wire, receiver: Wire) -> None:
        await sender.say("first")
        with pytest.raises(UserFault, match="another key"):
            await receiver.hear()
        await receiver.say("refused", why="whatever")
        with pytest.raises(UserFault, match="another key"):
            await sender.hear()

    talk(body, keys=keys)


def test_a_message_that_was_changed_on_the_way_is_refused() -> None:
    async def body(sender: Wire, receiver: Wire) -> None:
        await sender.say("first")
        with pytest.raises(UserFault, match="another key"):
            await receiver.hear()

    talk(body, change=changed)


def test_a_message_that_is_said_again_by_somebody_else_is_refused() -> None:
    async def body(sender: Wire, receiver: Wire) -> None:
        await sender.say("first")
        await receiver.expect("first")
        with pytest.raises(UserFault, match="another key"):
            await receiver.hear()

    talk(body, change=told_twice)


def test_ones_own_message_is_not_taken_for_the_others() -> None:
    async def go() -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        nonce = bytes(NONCE_BYTES)
        theirs.sendall(GREETING + nonce)
        with ours, theirs:
            wire = await greeted(ours, KEY, is_sender=True)
            await wire.say("first")
            theirs.sendall(theirs.recv(1 << 16)[len(GREETING) + NONCE_BYTES :])
            with pytest.raises(UserFault, match="another key"):
                await wire.hear()

    anyio.run(go)


def test_a_refusal_and_a_failure_come_as_faults_with_their_reasons() -> None:
    async def body(sender: Wire, receiver: Wire) -> None:
        await receiver.say("refused", why="another guest", hint="this one")
        with pytest.raises(UserFault, match="another guest") as refused:
            await sender.expect("come")
        assert refused.value.hint == "this one"
        await receiver.say("failed", why="no room")
        with pytest.raises(HostFault, match="no room"):
            await sender.expect("come")
        await receiver.say("something")
        with pytest.raises(HostFault, match="no part of this"):
            await sender.expect("come")

    talk(body)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_a_stranger_sends_is_a_fault(data: bytes) -> None:
    async def go() -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with ours, theirs, pytest.raises(Fault):
            await (await greeted(ours, KEY, is_sender=False)).hear()

    anyio.run(go)


def test_addresses_are_read_and_what_is_none_is_refused() -> None:
    assert address_of("host.example:4711") == Address(host="host.example", port=4711)
    assert str(address_of("[2001:db8::7]:1")) == "[2001:db8::7]:1"
    for text in ("host", "host:", ":1", "host:port", "host:65536", "host:-1", "host:\u0661"):
        with pytest.raises(UserFault, match="not an address"):
            address_of(text)


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(UserFault, match="guessed"):
        checked_key(b"short")
