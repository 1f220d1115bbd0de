"""The request bodies, held to Firecracker's published API description."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.faults import UserFault
from luminaguard.vm.answering import device_of, disks_of
from luminaguard.vm.base import Disk, VmConfig
from luminaguard.vm.firecracker_api import (
    BOOT_ARGS,
    Call,
    boot_calls,
    freeze_calls,
    observation_calls,
    pause_call,
    restore_calls,
    resume_call,
)


def _fake() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_firecracker", Path(__file__).parent / "fake_firecracker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fake = _fake()

configs = st.builds(
    VmConfig,
    root=st.none() | st.just(Path("/images/root")),
    memory_mib=st.integers(32, 1 << 20),
    vcpus=st.integers(1, 32),
    disks=st.lists(st.builds(Disk, path=st.just(Path("/images/disk")), writable=st.booleans()), max_size=20).map(tuple),
)


def hold_to_contract(call: Call) -> None:
    fake.check(fake.CONTRACT["calls"][fake.route_of(call.method, call.path)]["body"], call.body)


@given(configs)
def test_every_body_of_a_boot_keeps_the_contract(config: VmConfig) -> None:
    for call in boot_calls(config):
        hold_to_contract(call)


@pytest.mark.parametrize("call", [*observation_calls(), *freeze_calls(), *restore_calls(), pause_call(), resume_call()])
def test_every_other_body_keeps_the_contract(call: Call) -> None:
    hold_to_contract(call)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"vcpu_count": 1}, "missing field `mem_size_mib`"),
        ({"vcpu_count": "1", "mem_size_mib": 1}, "is no integer"),
        ({"vcpu_count": True, "mem_size_mib": 1}, "is no integer"),
        ({"vcpu_count": 33, "mem_size_mib": 1}, "out of bounds"),
        ({"vcpu_count": 1, "mem_size_mib": 1, "huge_pages": "1G"}, "unknown variant"),
        ({"vcpu_count": 1, "mem_size_mib": 1, "memory": 1}, "unknown field"),
    ],
)
def test_the_contract_refuses_what_the_description_refuses(body: dict[str, object], why: str) -> None:
    with pytest.raises(fake.Refused, match=why):
        fake.check("MachineConfiguration", body)


def test_a_snapshot_is_loaded_with_fields_that_the_oldest_firecracker_knows_as_well() -> None:
    # Newer ones know clock_realtime, vsock_override, network_overrides and track_dirty_pages here: the guest's own
    # agent sets the clock, the socket's path is relative, and there is no network.
    body = restore_calls()[-1].body
    assert body is not None
    assert set(body) == {"snapshot_path", "mem_backend", "resume_vm"}
    assert body["resume_vm"] is True


def test_the_contract_says_what_it_was_checked_against() -> None:
    assert fake.CONTRACT["checked"] == {"version": "1.17.0-dev", "commit": "004d935399ba6062240af269638635d54229f5bf"}


def test_the_guest_is_started_by_the_last_call() -> None:
    calls = boot_calls(VmConfig(root=Path("/r"), disks=(Disk(path=Path("/d")),)))
    assert [call.path for call in calls if call.path == "/actions"] == [calls[-1].path]


def test_disks_are_numbered_from_the_root_on() -> None:
    config = VmConfig(root=Path("/r"), disks=(Disk(path=Path("/a")), Disk(path=Path("/b"), writable=True)))
    assert [device_of(config, name) for name in disks_of(config)] == ["/dev/vda", "/dev/vdb", "/dev/vdc"]
    read_only = {
        call.path: call.body["is_read_only"] for call in boot_calls(config) if call.body and "drives" in call.path
    }
    assert read_only == {"/drives/root": True, "/drives/disk0": True, "/drives/disk1": False}


def test_a_guest_without_a_root_begins_with_its_first_disk() -> None:
    assert device_of(VmConfig(disks=(Disk(path=Path("/a")),)), "disk0") == "/dev/vda"


def test_no_call_gives_a_guest_a_network() -> None:
    assert not [call for call in boot_calls(VmConfig()) if "network" in call.path]


def test_no_call_names_a_path_outside_of_the_guests_folder() -> None:
    config = VmConfig(kernel=Path("/k"), root=Path("/r"), disks=(Disk(path=Path("/d")),))
    named = [
        value
        for call in (*boot_calls(config), *restore_calls(), *freeze_calls())
        for key, value in (call.body or {}).items()
        if key.endswith("path")
    ]
    assert named
    assert not [value for value in named if "/" in str(value)]


def test_the_agent_is_told_to_listen_where_the_driver_connects() -> None:
    assert "luminaguard.channel=vsock:5000" in BOOT_ARGS.split()


@pytest.mark.parametrize("vcpus", [0, 33])
def test_a_number_of_processors_that_firecracker_has_not_is_refused(vcpus: int) -> None:
    with pytest.raises(UserFault, match=f"not {vcpus}"):
        boot_calls(VmConfig(vcpus=vcpus))


def test_more_disks_than_there_are_letters_are_refused() -> None:
    config = VmConfig(disks=(Disk(path=Path("/d")),) * 27)
    with pytest.raises(UserFault, match="at most 26"):
        device_of(config, "disk26")
