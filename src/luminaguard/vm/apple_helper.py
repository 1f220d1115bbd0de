"""The process that is a virtual machine of Virtualization.framework: run as a script by a signed Python on macOS.

`python apple_helper.py SPEC`, where SPEC is the JSON of `apple_config.helper_spec`. It listens on the sockets of the
agent and of the way out and leads each connection to the guest's port, and each of the guest's connections to the
channel's socket. It ends when
the guest ends; its parent kills it otherwise. What goes wrong stands on its standard error.

All calls go to the main queue, which the main thread's run loop serves; sockets are copied by threads.
"""

import importlib
import importlib.util
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def _framework(name: str) -> Any:
    return importlib.import_module(name) if importlib.util.find_spec(name) is not None else None


# PyObjC; None where it is not installed, so that this file can be looked at everywhere.
objc, foundation, vz = map(_framework, ("objc", "Foundation", "Virtualization"))

COPY_BYTES = 1 << 16
EXIT_REFUSED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk image."""

    path: str
    is_read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A port of the host that the guest may call, or of the guest that the host may, and the socket for it."""

    port: int
    socket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to start."""

    kernel: str
    initrd: str
    command_line: str
    cpus: int
    memory_bytes: int
    disks: tuple[Drive, ...]
    inward: tuple[Door, ...]
    channels: tuple[Door, ...]


def parsed(text: str) -> Spec:
    """Read a spec; an unknown or missing key is a bug and raises TypeError."""
    found = json.loads(text)
    disks = tuple(Drive(**disk) for disk in found.pop("disks"))
    channels, inward = (tuple(Door(**door) for door in found.pop(name)) for name in ("channels", "inward"))
    return Spec(disks=disks, channels=channels, inward=inward, **found)


def copy_both_ways(one: socket.socket, other: socket.socket) -> None:
    """Copy between two connections in threads until both have ended, and close them."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(COPY_BYTES):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, target):
                _shut(end)

    def both() -> None:
        back = threading.Thread(target=copy, args=(other, one), daemon=True)
        back.start()
        copy(one, other)
        back.join()
        one.close()
        other.close()

    threading.Thread(target=both, daemon=True).start()


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def configured(spec: Spec) -> Any:
    """Give the framework's configuration of a guest; raises RuntimeError with its reason where it refuses."""
    loader = vz.VZLinuxBootLoader.alloc().initWithKernelURL_(_url(spec.kernel))
    loader.setInitialRamdiskURL_(_url(spec.initrd))
    loader.setCommandLine_(spec.command_line)
    made = vz.VZVirtualMachineConfiguration.alloc().init()
    made.setBootLoader_(loader)
    made.setCPUCount_(spec.cpus)
    made.setMemorySize_(spec.memory_bytes)
    made.setEntropyDevices_([vz.VZVirtioEntropyDeviceConfiguration.alloc().init()])
    made.setSocketDevices_([vz.VZVirtioSocketDeviceConfiguration.alloc().init()])
    made.setStorageDevices_([_block_device(drive) for drive in spec.disks])
    is_valid, error = made.validateWithError_(None)
    if not is_valid:
        raise RuntimeError(f"the configuration is refused: {error.localizedDescription()}")
    return made


def _block_device(drive: Drive) -> Any:
    new = vz.VZDiskImageStorageDeviceAttachment.alloc()
    attachment, error = new.initWithURL_readOnly_error_(_url(drive.path), drive.is_read_only, None)
    if attachment is None:
        raise RuntimeError(f"{drive.path} cannot be a disk: {error.localizedDescription()}")
    return vz.VZVirtioBlockDeviceConfiguration.alloc().initWithAttachment_(attachment)


def _url(path: str) -> Any:
    return foundation.NSURL.fileURLWithPath_(path)


def _on_main(work: Callable[[], None]) -> None:
    foundation.NSOperationQueue.mainQueue().addOperationWithBlock_(work)


def _own(connection: Any) -> socket.socket:
    # The framework closes its descriptor with the object; ours lives on.
    return socket.socket(fileno=os.dup(connection.fileDescriptor()))


def serve_guest(port: int, device: Any, listener: socket.socket) -> None:
    """Lead every connection to a port of the guest; one that finds no listener there is closed."""
    while True:
        here, _ = listener.accept()

        def answered(connection: Any, error: Any, here: socket.socket = here) -> None:
            if error is not None:
                here.close()
                return
            copy_both_ways(here, _own(connection))

        def connect(answered: Callable[[Any, Any], None] = answered) -> None:
            device.connectToPort_completionHandler_(port, answered)

        _on_main(connect)


def listener_at(path: str) -> socket.socket:
    """Listen at a path."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def open_doors(device: Any, channels: Sequence[Door]) -> list[Any]:
    """Lead the guest's calls to the sockets of its channels. The answer must be kept: nothing else holds it."""
    kept = []
    for door in channels:
        listener = vz.VZVirtioSocketListener.alloc().init()
        delegate = _delegate_class().alloc().init()
        delegate.target = door.socket
        listener.setDelegate_(delegate)
        device.setSocketListener_forPort_(listener, door.port)
        kept += [listener, delegate]
    return kept


_classes: dict[str, Any] = {}


def _delegate_class() -> Any:
    # A class of this name can be made once in a process, and only where there is an Objective-C.
    if "LuminaguardDoor" not in _classes:

        def accept(self: Any, _listener: Any, connection: Any, _device: Any) -> bool:
            there = socket.socket(socket.AF_UNIX)
            try:
                there.connect(self.target)
            except OSError:
                there.close()
                return False
            copy_both_ways(there, _own(connection))
            return True

        methods: Mapping[str, Any] = {
            "target": "",
            "listener_shouldAcceptNewConnection_fromSocketDevice_": objc.selector(
                accept, selector=b"listener:shouldAcceptNewConnection:fromSocketDevice:", signature=b"Z@:@@@"
            ),
        }
        _classes["LuminaguardDoor"] = type("LuminaguardDoor", (foundation.NSObject,), dict(methods))
    return _classes["LuminaguardDoor"]


def main(arguments: Sequence[str]) -> int:
    """Be the virtual machine."""
    if vz is None:
        sys.stderr.write("Virtualization.framework and PyObjC are not here\n")
        return EXIT_REFUSED
    spec = parsed(arguments[0])
    try:
        machine = vz.VZVirtualMachine.alloc().initWithConfiguration_(configured(spec))
    except RuntimeError as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_REFUSED
    listeners = {door.port: listener_at(door.socket) for door in spec.inward}
    kept: list[Any] = []

    def started(error: Any) -> None:
        if error is not None:
            sys.stderr.write(f"the guest cannot be started: {error.localizedDescription()}\n")
            os._exit(EXIT_REFUSED)
        device = machine.socketDevices()[0]
        kept.extend((device, *open_doors(device, spec.channels)))
        for port, listener in listeners.items():
            threading.Thread(target=serve_guest, args=(port, device, listener), daemon=True).start()

    _on_main(lambda: machine.startWithCompletionHandler_(started))
    loop = foundation.NSRunLoop.currentRunLoop()
    while machine.state() not in (vz.VZVirtualMachineStateStopped, vz.VZVirtualMachineStateError) or not kept:
        loop.runMode_beforeDate_(foundation.NSDefaultRunLoopMode, foundation.NSDate.dateWithTimeIntervalSinceNow_(0.25))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
