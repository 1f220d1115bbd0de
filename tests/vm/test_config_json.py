"""Configurations as JSON: what comes back is what went in, and nothing else gets in."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.base import Channel, Disk, Forward, VmConfig
from luminaguard.vm.config_json import config_json, config_of

PATHS = st.text(min_size=1).map(Path)
LIVES = st.floats(min_value=0.1, max_value=1e9)
DISKS = st.builds(
    Disk,
    path=PATHS,
    writable=st.booleans(),
    mount_at=st.none() | st.text(),
    filesystem=st.sampled_from(("erofs", "ext4")),
)
CONFIGS = st.builds(
    VmConfig,
    kernel=st.none() | PATHS,
    root=st.none() | PATHS,
    memory_mib=st.integers(),
    vcpus=st.integers(),
    disks=st.lists(DISKS, max_size=3).map(tuple),
    channels=st.lists(st.builds(Channel, name=st.text(), socket=PATHS), max_size=3).map(tuple),
    forwards=st.lists(st.builds(Forward, port=st.integers(), socket=PATHS), max_size=3).map(tuple),
    environment=st.dictionaries(st.text(), st.text(), max_size=3),
    deadline_s=LIVES,
    boot_timeout_s=LIVES,
)


@given(CONFIGS)
def test_what_comes_back_is_what_went_in(config: VmConfig) -> None:
    assert config_of(json.loads(json.dumps(config_json(config)))) == config


def test_a_field_that_is_not_there_has_its_default() -> None:
    assert config_of({}) == VmConfig()
    assert config_of({"deadline_s": 5}).deadline_s == 5.0


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (None, "config "),
        ([], "config "),
        ({"memory_mib": "4"}, "config.memory_mib"),
        ({"memory_mib": True}, "config.memory_mib"),
        ({"root": 4}, "config.root"),
        ({"disks": {}}, "config.disks"),
        ({"disks": [{"path": "a"}, {"path": 1}]}, r"config.disks\[1\].path"),
        ({"disks": [{}]}, r"config.disks\[0\]"),
        ({"environment": {"A": 1}}, "config.environment.A"),
        ({"wings": 2}, "wings"),
    ],
)
def test_what_is_no_configuration_is_refused_by_its_field(said: Json, named: str) -> None:
    with pytest.raises(UserFault, match=named):
        config_of(said)
