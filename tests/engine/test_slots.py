"""Slots go to the highest rank and never leak; a session is over when nobody moves any more."""

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luminaguard.engine.slots import Movement, Slots


async def settle() -> None:
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def order_of(ranks: Sequence[float], *, cancelled: frozenset[int] = frozenset(), count: int = 1) -> list[int]:
    """Let all wait while the slots are held, cancel some, then say in which order the others came."""
    slots, served = Slots(count), list[int]()
    scopes = [anyio.CancelScope() for _ in ranks]
    free = anyio.Event()

    async def hold() -> None:
        async with slots.take(0.0):
            await free.wait()

    async def work(number: int) -> None:
        with scopes[number]:
            async with slots.take(ranks[number]):
                served.append(number)
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(hold)
        await settle()
        for number in range(len(ranks)):
            group.start_soon(work, number)
            await settle()
        for number in cancelled:
            scopes[number].cancel()
        await settle()
        free.set()
    assert slots._free == count, "every slot came back"
    assert slots._waiting == []
    return served


@given(ranks=st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), max_size=8), data=st.data())
@settings(max_examples=40)
def test_free_slot_goes_to_the_highest_rank_then_to_the_first_come(ranks: list[float], data: st.DataObject) -> None:
    cancelled = data.draw(st.frozensets(st.integers(0, len(ranks) - 1))) if ranks else frozenset()
    expected = sorted(set(range(len(ranks))) - cancelled, key=lambda number: (-ranks[number], number))
    assert anyio.run(lambda: order_of(ranks, cancelled=cancelled)) == expected


@pytest.mark.parametrize("count", [1, 2, 5])
def test_never_more_at_work_than_slots(count: int) -> None:
    async def main() -> int:
        slots, at_work, most = Slots(count), 0, 0

        async def work() -> None:
            nonlocal at_work, most
            async with slots.take(0.0):
                at_work += 1
                most = max(most, at_work)
                await settle()
                at_work -= 1

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(work)
        return most

    assert anyio.run(main) == count


def test_one_who_is_cancelled_just_as_its_turn_comes_gives_the_slot_back() -> None:
    async def main() -> bool:
        slots, scope = Slots(1), anyio.CancelScope()

        async def work() -> None:
            with scope:
                async with slots.take(0.0):
                    await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            async with slots.take(0.0):
                group.start_soon(work)
                await settle()
            scope.cancel()  # its event is set, and it has not run yet
        with anyio.fail_after(60):
            async with slots.take(0.0):
                return True

    assert anyio.run(main)


def test_slot_comes_back_after_an_error() -> None:
    async def main() -> None:
        slots = Slots(1)
        with pytest.raises(ZeroDivisionError):
            async with slots.take(0.0):
                _ = 1 / 0
        with anyio.fail_after(60):
            async with slots.take(0.0):
                pass

    anyio.run(main)


def test_all_are_still_when_everybody_has_parked_or_ended() -> None:
    async def main() -> None:
        movement = Movement()

        async def parks() -> None:
            with movement.moving(), movement.parked():
                await anyio.sleep_forever()

        async def ends() -> None:
            with movement.moving():
                await settle()

        async with anyio.create_task_group() as group:
            group.start_soon(parks)
            group.start_soon(ends)
            with anyio.fail_after(60):
                await movement.all_still()
            group.cancel_scope.cancel()

    anyio.run(main)


def test_one_who_is_woken_by_the_last_to_stop_is_waited_for() -> None:
    async def main() -> list[str]:
        movement, landed, done = Movement(), anyio.Event(), list[str]()

        async def needs() -> None:
            with movement.moving():
                with movement.parked():
                    await landed.wait()
                await settle()
                done.append("needs")

        async def lands() -> None:
            with movement.moving():
                await settle()
                landed.set()
            done.append("lands")

        async with anyio.create_task_group() as group:
            group.start_soon(needs)
            group.start_soon(lands)
            with anyio.fail_after(60):
                await movement.all_still()
            done.append("still")
        return done

    assert anyio.run(main) == ["lands", "needs", "still"]


def test_error_of_one_who_moves_counts_as_its_end() -> None:
    movement = Movement()
    with pytest.raises(ZeroDivisionError), movement.moving(), movement.parked():
        _ = 1 / 0
    anyio.run(movement.all_still)
    assert movement._moving == 0


def test_what_began_and_ended_since_is_not_missed() -> None:
    async def main() -> None:
        movement = Movement()
        before = movement.stirs
        with movement.moving():
            pass
        with anyio.fail_after(60):
            await movement.stirred(since=before)
            await movement.all_still()

    anyio.run(main)
