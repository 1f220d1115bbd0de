"""`luminaguard vm exec`: run a program in a guest, with our input, output, signals and exit code."""

import argparse
import contextlib
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager

import anyio

from luminaguard.app.vm_begin import program_in_new
from luminaguard.app.vm_words import config_from, variables_from
from luminaguard.app.vms import Program, program
from luminaguard.model.faults import Transient, UserFault
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, pass_through, printer_for
from luminaguard.ui.cli.vm.words import add_guest_options, words_of

SUMMARY = "run a program in a guest, with your input and output"
TAKES_COMMAND = True
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
INTERRUPTS = 3
"""So many Ctrl-C leave, whatever the program does."""
BLOCK_BYTES = 1 << 16


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb, before `--`."""
    parser.usage = "luminaguard vm exec ID|--new [options] -- PROGRAM [ARG...]"
    parser.description = (
        f"{SUMMARY[0].upper()}{SUMMARY[1:]}. The exit code is the program's, 128 + N where signal N ended it.\n"
        "Ctrl-C goes to the program; three times leaves it, which kills it. No terminal is made in the guest."
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="the guest")
    parser.add_argument("--new", action="store_true", help="a guest of its own, gone afterwards; takes spawn's options")
    parser.add_argument("--cwd", default="/", metavar="DIR", help="the folder in the guest to run it in (/)")
    parser.add_argument("--timeout", type=float, metavar="S", help="kill it after this many seconds")
    add_guest_options(parser)
    show_examples(
        parser,
        ("luminaguard vm exec vm-0123456789ab -- uname -a", "run a program"),
        ("tar c . | luminaguard vm exec vm-0123456789ab --cwd /work -- tar x", "give it input"),
        ("luminaguard vm exec --new --image tools -- make test", "in a guest of its own"),
    )


def run(options: argparse.Namespace) -> int:
    """Run it, and give its exit code."""
    if not options.command:
        raise UserFault("luminaguard vm exec: there is no program", hint="luminaguard vm exec ID -- PROGRAM ARG...")
    if bool(options.id) == options.new:
        raise UserFault("luminaguard vm exec needs a guest's ID, or --new", hint="luminaguard vm list shows what runs")
    spawned = ("image", "kernel", "memory", "vcpus", "disk", "forward", "deadline", "movable")
    if not options.new and (typed := next((name for name in spawned if getattr(options, name)), None)):
        raise UserFault(f"luminaguard vm exec: --{typed} is for a new guest", hint="add --new in place of the ID")
    return anyio.run(_run, options, printer_for(options))


def _begun(options: argparse.Namespace) -> AbstractAsyncContextManager[Program]:
    argv, cwd = options.command, options.cwd
    if options.new:  # its variables are those of all programs in it
        return program_in_new(config_from(words_of(options)), argv, env={}, cwd=cwd, driver=options.driver)
    return program(options.id, argv, env=variables_from(options.env), cwd=cwd)


async def _run(options: argparse.Namespace, printer: Printer) -> int:
    kept: dict[str, bytearray] | None = {"out": bytearray(), "err": bytearray()} if printer.is_json else None
    async with _begun(options) as running:
        try:
            with anyio.fail_after(options.timeout):
                is_left = await _followed(running, kept)
        except TimeoutError:
            said = f"'{' '.join(options.command)[:80]}' was still running in the guest after {options.timeout:g} s"
            raise Transient(said, hint="give it a longer --timeout") from None
    if is_left or (code := running.exit_code) is None:
        printer.note("left: the program in the guest was killed")
        return Exit.INTERRUPTED
    if kept is not None:
        texts = {name: bytes(data).decode(errors="replace") for name, data in kept.items()}
        printer.document({"schema": "luminaguard/vm-exec@1", "exit_code": _shown(code), **texts})
    return _shown(code)


def _shown(code: int) -> int:
    return code if code >= 0 else 128 - code


async def _followed(running: Program, kept: dict[str, bytearray] | None) -> bool:
    """Pass everything on in both directions until it ends; tells whether we were asked to leave before that."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_pass_signals, running, tasks.cancel_scope)
        tasks.start_soon(_pass_input, running)
        async for chunk in running:
            if kept is not None:
                kept[chunk.stream] += chunk.data
            else:
                pass_through(chunk.data, is_error=chunk.stream == "err")
        tasks.cancel_scope.cancel()
    return running.exit_code is None


async def _pass_signals(running: Program, scope: anyio.CancelScope) -> None:
    interrupts = 0
    with anyio.open_signal_receiver(*PASSED_ON) as signals:
        async for number in signals:
            interrupts += number == signal.SIGINT
            if interrupts >= INTERRUPTS:
                scope.cancel()
            await running.signal(number)


async def _pass_input(running: Program) -> None:
    while data := await _read(sys.stdin.fileno()):
        await running.write(data)
    await running.close_input()


async def _read(fd: int) -> bytes:
    with contextlib.suppress(PermissionError):  # a regular file: it can always be read
        await anyio.wait_readable(fd)
    try:
        return os.read(fd, BLOCK_BYTES)
    except OSError:
        return b""  # the terminal is gone
