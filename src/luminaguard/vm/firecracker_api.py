"""Firecracker's API: what is asked of it, as plain data in the right order, and the way it is asked.

Every path that Firecracker is told is relative: each guest has a folder of its own that Firecracker runs in (or that
the jailer makes its root), so the same calls fit with and without a jail, and a snapshot finds its disks wherever it is
restored.
"""

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio.to_thread

from luminaguard.model.faults import HostFault, Transient, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.answering import AGENT_PORT, disks_of
from luminaguard.vm.base import VmConfig

API_SOCKET = "api.sock"
VSOCK_SOCKET = "v.sock"
KERNEL, INITRD = "kernel", "initrd"
STATE, MEMORY = "state", "memory"
LOG, METRICS = "log", "metrics"
GUEST_CID = 3
MOST_VCPUS = 32
CALL_TIMEOUT_S = 30.0
BOOT_ARGS = (
    "quiet reboot=k panic=-1 pci=off 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd "
    f"random.trust_cpu=on luminaguard.channel=vsock:{AGENT_PORT}"
)
"""No serial console: Firecracker emulates one slowly, and a guest could fill our log through it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `body` None sends none."""

    method: Literal["GET", "PUT", "PATCH"]
    path: str
    body: Mapping[str, Json] | None = None


def observation_calls() -> tuple[Call, ...]:
    """Ask for a log and metrics; they are allowed before a snapshot is loaded, as nothing else is."""
    return (
        Call(method="PUT", path="/logger", body={"log_path": LOG, "level": "Warning", "show_level": True}),
        Call(method="PUT", path="/metrics", body={"metrics_path": METRICS}),
    )


def boot_calls(config: VmConfig) -> tuple[Call, ...]:
    """Ask for a guest that boots: everything in the order that Firecracker wants it, the start last.

    Raises:
        UserFault: Firecracker cannot give so many processors.
    """
    return (
        *observation_calls(),
        Call(method="PUT", path="/machine-config", body=machine_config(config)),
        Call(method="PUT", path="/boot-source", body=boot_source()),
        *(Call(method="PUT", path=f"/drives/{body['drive_id']}", body=body) for body in drives(config)),
        Call(method="PUT", path="/vsock", body={"guest_cid": GUEST_CID, "uds_path": VSOCK_SOCKET}),
        Call(method="PUT", path="/entropy", body={}),
        Call(method="PUT", path="/actions", body={"action_type": "InstanceStart"}),
    )


def machine_config(config: VmConfig) -> dict[str, Json]:
    """Give the body of /machine-config."""
    if not 1 <= config.vcpus <= MOST_VCPUS:
        raise UserFault(f"Firecracker gives a guest 1 to {MOST_VCPUS} processors, not {config.vcpus}")
    return {
        "vcpu_count": config.vcpus,
        "mem_size_mib": config.memory_mib,
        "smt": False,
        "track_dirty_pages": False,
    }


def boot_source() -> dict[str, Json]:
    """Give the body of /boot-source."""
    return {"kernel_image_path": KERNEL, "initrd_path": INITRD, "boot_args": BOOT_ARGS}


def drives(config: VmConfig) -> tuple[dict[str, Json], ...]:
    """Give the bodies of /drives, in the order in which the guest numbers them from /dev/vda."""
    # None is the root device for Firecracker: it would put root= on the command line, and the guest agent mounts it.
    return tuple(
        {
            "drive_id": name,
            "path_on_host": name,
            "is_root_device": False,
            "is_read_only": not disk.writable,
            "cache_type": "Unsafe",
        }
        for name, disk in disks_of(config).items()
    )


def freeze_calls() -> tuple[Call, ...]:
    """Ask for a snapshot of the running guest, which is paused from then on."""
    body: dict[str, Json] = {"snapshot_type": "Full", "snapshot_path": STATE, "mem_file_path": MEMORY}
    return (
        Call(method="PATCH", path="/vm", body={"state": "Paused"}),
        Call(method="PUT", path="/snapshot/create", body=body),
    )


def restore_calls() -> tuple[Call, ...]:
    """Ask for a guest that goes on from a snapshot; its memory is mapped, and copied where it is written."""
    memory: dict[str, Json] = {"backend_type": "File", "backend_path": MEMORY}
    body: dict[str, Json] = {"snapshot_path": STATE, "mem_backend": memory, "resume_vm": True}
    return (*observation_calls(), Call(method="PUT", path="/snapshot/load", body=body))


def pause_call() -> Call:
    """Ask for all processors of the guest to stand still."""
    return Call(method="PATCH", path="/vm", body={"state": "Paused"})


def resume_call() -> Call:
    """Ask for a paused guest to go on."""
    return Call(method="PATCH", path="/vm", body={"state": "Resumed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The API of one Firecracker process. One connection for each call: there are about ten in its life."""

    socket_path: Path
    timeout_s: float = field(default=CALL_TIMEOUT_S)

    async def ready(self) -> None:
        """Wait until the socket is there and somebody listens; the caller holds the deadline."""
        while True:
            try:
                stream = await anyio.connect_unix(self.socket_path)
            except OSError:
                await anyio.sleep(0.002)
            else:
                await stream.aclose()
                return

    async def send(self, calls: Sequence[Call]) -> None:
        """Make the calls one after the other.

        Raises:
            HostFault: Firecracker refuses one; with the reason it gives.
            Transient: no answer within the time.
        """
        for call in calls:
            await anyio.to_thread.run_sync(self._ask, call)

    def _ask(self, call: Call) -> None:
        connection = _UnixConnection(self.socket_path, self.timeout_s)
        body = None if call.body is None else json.dumps(call.body)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            connection.request(call.method, call.path, body, headers)
            answer = connection.getresponse()
            said = answer.read()
        except TimeoutError as exc:
            raise Transient(f"Firecracker did not answer {call.path} within {self.timeout_s:g} s") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise HostFault(f"Firecracker went away at {call.path}: {exc}") from exc
        finally:
            connection.close()
        if answer.status >= 300:
            raise HostFault(f"Firecracker refuses {call.method} {call.path} ({answer.status}): {_reason(said)}")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def _reason(said: bytes) -> str:
    try:
        return str(json.loads(said)["fault_message"])
    except (ValueError, KeyError, TypeError):
        return said.decode(errors="replace").strip()[:500] or "no reason given"
