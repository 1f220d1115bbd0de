"""What every hypervisor does with programs: exit codes, signals, streams, deadlines."""

import signal
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

from luminaguard.model.faults import HostFault, Transient, UserFault
from luminaguard.vm.base import Hypervisor, VmConfig, VmInstance

Body = Callable[[VmInstance], Awaitable[None]]


def within(driver: Hypervisor, config: VmConfig, body: Body) -> None:
    async def go() -> None:
        vm = await driver.spawn(config)
        try:
            with anyio.fail_after(120):
                await body(vm)
        finally:
            await vm.stop()

    anyio.run(go)


async def shell(vm: VmInstance, script: str, **named: object) -> tuple[int, str, str]:
    result = await vm.exec(["sh", "-c", script], **named)  # type: ignore[arg-type]
    return result.exit_code, result.out.decode(), result.err.decode()


def test_the_exit_code_and_both_streams_come_out(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        assert await shell(vm, "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
        assert (await vm.exec(["true"])).exit_code == 0
        assert (await vm.exec(["false"])).exit_code == 1

    within(driver, config, body)


def test_a_signal_that_ends_a_program_is_a_negative_exit_code(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        assert await shell(vm, "kill -TERM $$") == (-signal.SIGTERM, "", "")
        assert (await shell(vm, "kill -KILL $$"))[0] == -signal.SIGKILL

    within(driver, config, body)


def test_a_program_that_is_not_there_is_127_and_one_that_cannot_be_run_126(
    driver: Hypervisor, config: VmConfig
) -> None:
    async def body(vm: VmInstance) -> None:
        missing = await vm.exec(["no-such-program"])
        assert missing.exit_code == 127
        assert b"no-such-program" in missing.err
        assert (await vm.exec(["/etc/release"])).exit_code == 126
        assert (await vm.exec(["true"], cwd="/no/such/folder")).exit_code == 126

    within(driver, config, body)


def test_large_output_comes_whole(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        result = await vm.exec(["head", "-c", "8000000", "/dev/zero"])
        assert result.out == bytes(8_000_000)

    within(driver, config, body)


def test_binary_input_comes_back_as_it_went(driver: Hypervisor, config: VmConfig) -> None:
    sent = bytes(range(256)) * 8000

    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["cat"], stdin=sent)).out == sent

    within(driver, config, body)


def test_input_that_nobody_reads_does_no_harm(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["true"], stdin=bytes(2_000_000))).exit_code == 0
        assert (await vm.exec(["head", "-c", "3"], stdin=b"abc" * 1_000_000)).out == b"abc"

    within(driver, config, body)


def test_without_input_a_reader_is_at_the_end_at_once(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["cat"])).out == b""

    within(driver, config, body)


def test_a_program_past_its_deadline_is_killed_with_all_that_it_started(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        with pytest.raises(Transient, match="still running"):
            await vm.exec(["sh", "-c", "setsid sleep 3137 & sleep 3137"], timeout_s=1.0)
        count = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done"
        with anyio.fail_after(60):
            while "sleep 3137" in (await shell(vm, count))[1].replace(count, ""):
                pass

    within(driver, config, body)


def test_an_ended_program_does_not_wait_for_what_it_left_running(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        assert await shell(vm, "sleep 1000 & echo gone", timeout_s=60.0) == (0, "gone\n", "")

    within(driver, config, body)


def test_programs_run_side_by_side(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        found: dict[int, bytes] = {}

        async def one(number: int) -> None:
            ask = f"until [ -p /tmp/f{number} ]; do sleep 0.01; done; echo {number} > /tmp/f{number}"
            answer = f"mkfifo /tmp/f{number}; cat /tmp/f{number}"
            async with anyio.create_task_group() as both:
                both.start_soon(vm.exec, ["sh", "-c", ask])
                found[number] = (await vm.exec(["sh", "-c", answer])).out

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(one, number)
        assert found == {number: b"%d\n" % number for number in range(8)}

    within(driver, config, body)


def test_one_program_that_nobody_reads_does_not_stop_the_others(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        async with vm.start(["yes"]):
            assert (await vm.exec(["head", "-c", "5000000", "/dev/zero"])).out == bytes(5_000_000)

    within(driver, config, body)


def test_output_comes_while_the_program_runs_and_input_goes_to_it(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        async with vm.start(["sh", "-c", "while read line; do echo got $line; done; exit 4"]) as running:
            seen = b""
            await running.write(b"one\n")
            async for chunk in running:
                seen += chunk.data
                if seen == b"got one\n":
                    assert running.exit_code is None
                    await running.write(b"two\n")
                    await running.close_input()
            assert (seen, running.exit_code) == (b"got one\ngot two\n", 4)

    within(driver, config, body)


def test_a_signal_reaches_the_program_and_what_it_started(driver: Hypervisor, config: VmConfig) -> None:
    script = (
        "sh -c 'trap \"echo child; exit\" USR1; echo up; while :; do sleep 0.05; done' & trap 'wait; exit 9' USR1; wait"
    )

    async def body(vm: VmInstance) -> None:
        async with vm.start(["sh", "-c", script]) as running:
            seen = b""
            async for chunk in running:
                seen += chunk.data
                if seen == b"up\n":
                    await running.signal(signal.SIGUSR1)
            assert b"child" in seen
            assert running.exit_code == 9

    within(driver, config, body)


def test_a_program_ends_with_the_block_that_follows_it(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        async with vm.start(["sleep", "2718"]):
            pass
        script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done"
        with anyio.fail_after(60):
            while b"sleep 2718" in (await vm.exec(["sh", "-c", script])).out:
                pass

    within(driver, config, body)


def test_variables_of_the_guest_and_of_the_program_reach_it(driver: Hypervisor, root_image: object) -> None:
    config = VmConfig(root=root_image, environment={"ONE": "1", "TWO": "x"}, boot_timeout_s=120)  # type: ignore[arg-type]

    async def body(vm: VmInstance) -> None:
        result = await vm.exec(["sh", "-c", "echo $ONE $TWO $THREE"], env={"TWO": "2", "THREE": "a b"})
        assert result.out == b"1 2 a b\n"

    within(driver, config, body)


def test_a_program_starts_where_it_is_told(driver: Hypervisor, config: VmConfig) -> None:
    async def body(vm: VmInstance) -> None:
        assert (await vm.exec(["pwd"], cwd="/etc")).out == b"/etc\n"
        assert (await vm.exec(["pwd"])).out == b"/\n"

    within(driver, config, body)


@pytest.mark.parametrize(
    ("argv", "env"),
    [([], {}), ([""], {}), (["a\0b"], {}), (["true"], {"": "x"}), (["true"], {"A=B": "x"}), (["x" * 2_000_000], {})],
)
def test_a_command_line_that_cannot_be_is_refused(
    driver: Hypervisor, config: VmConfig, argv: list[str], env: dict[str, str]
) -> None:
    async def body(vm: VmInstance) -> None:
        with pytest.raises(UserFault):
            await vm.exec(argv, env=env)
        assert (await vm.exec(["true"])).exit_code == 0

    within(driver, config, body)


def test_the_guest_ends_at_its_deadline(driver: Hypervisor, root_image: object) -> None:
    config = VmConfig(root=root_image, deadline_s=3.0, boot_timeout_s=120)  # type: ignore[arg-type]

    async def go() -> None:
        await (await driver.spawn(VmConfig(root=config.root, boot_timeout_s=120))).stop()  # the template is there
        vm = await driver.spawn(config)
        try:
            begin = time.monotonic()
            with pytest.raises((Transient, HostFault)):
                await vm.exec(["sleep", "600"], timeout_s=500)
            assert time.monotonic() - begin < 100
        finally:
            await vm.stop()

    anyio.run(go)
