"""A process that owns one guest, so that others can come and go: `python -m luminaguard.vm.keeper`.

It is started by `vm.kept`. It reads one line of JSON on its standard input, what to begin and how; begins it; answers
with one line of JSON on its standard output; and waits for a word of whoever started it. If that never comes, because
they were killed meanwhile, the guest ends. From then on it answers at the guest's control socket, until somebody says
`stop`, the guest ends or its deadline comes, or a signal asks it to end. Killed at once, it takes the guest with it.
"""

import json
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import anyio
from anyio.abc import TaskStatus

from luminaguard.model.faults import Fault, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.base import Hypervisor, Sending, VmConfig, VmInstance
from luminaguard.vm.choosing import AUTO, Drivers, chosen
from luminaguard.vm.config_json import config_json, config_of
from luminaguard.vm.control import fault_words
from luminaguard.vm.keeper_service import Service
from luminaguard.vm.named import Storing, find
from luminaguard.vm.places import cache_folder
from luminaguard.vm.tasks import group_of_tasks

LOG = "keeper.log"
KEEP = b"keep\n"
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a keeper begins: a guest of a configuration, one from the named snapshot, or one that comes to `listen`."""

    drivers: Mapping[str, str]
    asked: str = AUTO
    config: VmConfig | None = None
    snapshot: str = ""
    listen: str = ""
    key: bytes = field(default=b"", repr=False)

    def line(self) -> bytes:
        """Give it as a line."""
        said = {
            "drivers": dict(self.drivers),
            "asked": self.asked,
            "config": None if self.config is None else config_json(self.config),
            "snapshot": self.snapshot,
            "listen": self.listen,
            "key": self.key.hex(),
        }
        return json.dumps(said).encode() + b"\n"


def order_of(line: bytes) -> Order:
    """Read the line of an order.

    Raises:
        UserFault: it is none.
    """
    try:
        said = json.loads(line)
        return Order(
            drivers={str(name): str(where) for name, where in said["drivers"].items()},
            asked=str(said["asked"]),
            config=None if said["config"] is None else config_of(said["config"]),
            snapshot=str(said["snapshot"]),
            listen=str(said["listen"]),
            key=bytes.fromhex(said["key"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserFault("a keeper is started by luminaguard itself", hint="type `luminaguard vm spawn`") from None


def found_drivers(names: Mapping[str, str]) -> Drivers:
    """Find drivers by where they are, as `module:name`; only what is needed is loaded."""
    return {name: _Later(where) for name, where in names.items()}


@dataclass(frozen=True, slots=True)
class _Later:
    where: str

    def __call__(self) -> Hypervisor:
        make = cast("Callable[[], Hypervisor]", pkgutil.resolve_name(self.where))
        return make()


def main() -> None:
    """Leave whoever started us, then begin and keep the guest."""
    if os.fork():
        os._exit(0)  # nobody has to wait for the keeper's end
    line = sys.stdin.buffer.readline()
    try:
        anyio.run(_keep, line)
    except BaseException as exc:
        _answer({"say": "fault", "kind": "HostFault", "message": f"the keeper failed: {exc!r}", "hint": ""})
        raise


async def _keep(line: bytes) -> None:
    over, beginning = anyio.Event(), anyio.CancelScope()
    async with group_of_tasks() as tasks:
        await tasks.start(_until_told, over, beginning)
        try:
            with beginning:
                begun = await _begun(order_of(line))
                if begun is not None:
                    await _keep_guest(Service(begun.driver, begun.instance, begun.config, over), begun.instance)
        except Fault as fault:
            _answer({"say": "fault", **fault_words(fault)})
        tasks.cancel_scope.cancel()


async def _keep_guest(service: Service, instance: VmInstance) -> None:
    # From here on a signal ends the guest by `over`, so that those who follow its programs hear of it.
    with anyio.CancelScope(shield=True):
        async with service.open():
            _answer({"say": "here", **service.words()})
            if await _is_wanted():
                _settle_down(instance)
                await service.over.wait()


async def _until_told(
    over: anyio.Event, beginning: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(*ENDS) as signals:
        task_status.started()
        async for _ in signals:
            over.set()
            beginning.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    driver: Hypervisor
    instance: VmInstance
    config: VmConfig


async def _begun(order: Order) -> _Begun | None:
    """Begin the guest, unless whoever started us leaves meanwhile."""
    begun: _Begun | None = None
    try:
        async with group_of_tasks() as tasks:
            tasks.start_soon(_cancel_when_alone, tasks.cancel_scope)
            begun = await _begin(order)
            tasks.cancel_scope.cancel()
    except BaseException:
        if begun is not None:
            with anyio.CancelScope(shield=True):
                await begun.instance.stop()
        raise
    return begun


async def _begin(order: Order) -> _Begun:
    drivers = found_drivers(order.drivers)
    if order.snapshot:
        named = find(order.snapshot)
        driver = await chosen(drivers, named.driver)
        storing = cast("Storing", driver)
        snapshot = await storing.recall(named.folder, named.config, named.made_with)
        return _Begun(driver=driver, instance=await storing.restore(snapshot), config=named.config)
    if order.config is None:
        raise UserFault("a keeper needs a configuration or a snapshot", hint="type `luminaguard vm spawn`")
    driver = await chosen(drivers, order.asked)
    instance = await (_arrived(driver, order, order.config) if order.listen else driver.spawn(order.config))
    return _Begun(driver=driver, instance=instance, config=order.config)


async def _arrived(driver: Hypervisor, order: Order, config: VmConfig) -> VmInstance:
    if not (await driver.abilities()).live_migrate or not hasattr(driver, "receive"):
        raise UserFault(f"'{driver.name}' takes no guests of other hosts", hint="see `luminaguard vm probe`")
    receiver = await cast("Sending", driver).receive(config, listen=order.listen, key=order.key)
    try:
        _answer({"say": "listening", "address": receiver.address})
        return await receiver.arrived()
    finally:
        with anyio.CancelScope(shield=True):
            await receiver.aclose()


async def _cancel_when_alone(scope: anyio.CancelScope) -> None:
    await anyio.wait_readable(sys.stdin.fileno())  # nobody says anything before we do: this is the end of it
    scope.cancel()


async def _is_wanted() -> bool:
    await anyio.wait_readable(sys.stdin.fileno())
    return os.read(sys.stdin.fileno(), len(KEEP)) == KEEP


def _answer(words: Mapping[str, Json]) -> None:
    try:
        os.write(sys.stdout.fileno(), json.dumps(dict(words)).encode() + b"\n")
    except BrokenPipeError:
        return  # whoever started us is gone, which our standard input tells too


def _settle_down(instance: VmInstance) -> None:
    """Hold on to nothing of whoever started us; what goes wrong from now on is written beside the guest."""
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(cache_folder("running") / instance.id / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for ours, at in ((null, 0), (null, 1), (log, 2)):
        os.dup2(ours, at)
    os.close(null)
    os.close(log)


if __name__ == "__main__":
    main()
