"""What holds for all tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the hypervisor layer: they have a target of their own, `make test-vm`."""
    for item in items:
        if "vm" in item.path.parts:
            item.add_marker("vm")
