"""The hypervisors that exist."""

from collections.abc import Callable, Mapping

from luminaguard.vm.apple import Apple
from luminaguard.vm.base import Hypervisor
from luminaguard.vm.firecracker import Firecracker
from luminaguard.vm.qemu import Qemu

DRIVERS: Mapping[str, Callable[[], Hypervisor]] = {"qemu": Qemu, "firecracker": Firecracker, "apple": Apple}
"""What each is called on the command line, in the order in which "auto" tries them."""
