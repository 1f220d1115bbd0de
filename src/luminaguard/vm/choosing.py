"""Which hypervisor is taken: the one that was asked for, or the first that works here, hardware first."""

from collections.abc import Callable, Mapping

from luminaguard.model.faults import HostFault, UserFault
from luminaguard.vm.base import Hypervisor

AUTO = "auto"

Drivers = Mapping[str, Callable[[], Hypervisor]]
"""Name -> what makes the driver; a vm.all.DRIVERS, or a part of it."""


async def chosen(drivers: Drivers, asked: str = AUTO) -> Hypervisor:
    """Give the driver of this name if it works here; for "auto" the first that does, those with hardware first.

    Raises:
        UserFault: there is no driver of this name.
        HostFault: it does not work here, or none does; with each one's reason.
    """
    if asked == AUTO:
        return await _first(drivers)
    if asked not in drivers:
        raise UserFault(f"there is no hypervisor '{asked}'", hint=f"there are: {', '.join((AUTO, *drivers))}")
    driver = drivers[asked]()
    if (why := await driver.missing()) is not None:
        raise HostFault(f"the hypervisor '{asked}' does not work here: {why}", hint="see `luminaguard vm probe`")
    return driver


async def _first(drivers: Drivers) -> Hypervisor:
    works: list[Hypervisor] = []
    why_not: list[str] = []
    for name, make in drivers.items():
        driver = make()
        if (why := await driver.missing()) is not None:
            why_not.append(f"{name}: {why}")
        elif (await driver.abilities()).hardware:
            return driver
        else:
            works.append(driver)
    if not works:
        raise HostFault(f"no hypervisor works here; {'; '.join(why_not)}", hint="see `luminaguard vm probe`")
    return works[0]
