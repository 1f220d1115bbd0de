"""What the level `vm` stands on here: a question as JSON on standard input, the answer as JSON on standard output.

`{"drivers": {NAME: "module:class"}, "hardware": true}`: which driver would be taken, and if it is slow. With `look`
in place of `hardware`: the same, by having run a program in a guest. `{"image": NAME OR PATH}`: where that image lies.
`{"folders": [...], "system": [...]}`: the image of this machine's programs, made if need be.
"""

import functools
import json
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.base import Hypervisor, VmConfig
from luminaguard.vm.choosing import Drivers, chosen
from luminaguard.vm.enclosed_files import missing
from luminaguard.vm.image_names import find_image
from luminaguard.vm.images import Image, build_from_toolchain, default_cache
from luminaguard.vm.images_quick import quick_look, unneeded

AGENT_ITSELF = "/proc/self/exe"
TRIES = 3
LEAST_MIB = 128


def main() -> int:
    """Answer the question on standard input."""
    try:
        answer = _answer(json.load(sys.stdin))
    except Fault as fault:
        answer = {"fault": fault.message, "hint": fault.hint}
    json.dump(answer, sys.stdout)
    return 0


def _answer(question: dict[str, Json]) -> dict[str, Json]:
    if question.get("look") or question.get("hardware"):
        return anyio.run(functools.partial(_look, _drivers(question), by_trying=bool(question.get("look"))))
    if isinstance(name := question.get("image"), str):
        return {"path": str(_named(name))}
    folders, system = _paths(question["folders"]), _paths(question["system"])
    return {"path": str(_toolchain(folders, system))}


def _drivers(question: dict[str, Json]) -> Drivers:
    told = question["drivers"]
    assert isinstance(told, dict)
    return {name: functools.partial(_made, str(where)) for name, where in told.items()}


def _made(where: str) -> Hypervisor:
    driver: Hypervisor = pkgutil.resolve_name(where)()
    return driver


async def _look(drivers: Drivers, *, by_trying: bool) -> dict[str, Json]:
    try:
        if (why := missing()) is not None:
            raise HostFault(why)
        driver = await chosen(drivers)
        if by_trying:
            await _try(driver)
    except Fault as fault:
        return {"missing": f"{fault.message}{f': {fault.hint}' if fault.hint else ''}"}
    is_fast = (await driver.abilities()).hardware
    return {
        "missing": None,
        "driver": f"{type(driver).__module__}:{type(driver).__name__}",
        "slow": "" if is_fast else "no hardware acceleration works here",
    }


async def _try(driver: Hypervisor) -> None:
    guest = await driver.spawn(VmConfig(memory_mib=LEAST_MIB, boot_timeout_s=60.0))
    try:
        if (await guest.exec([AGENT_ITSELF])).exit_code != 0:
            raise HostFault("a guest was started, and no program can be run in it")
    finally:
        with anyio.CancelScope(shield=True):
            await guest.stop()


def _named(name: str) -> Path:
    if "/" in name or Path(name).is_file():
        if not Path(name).is_file():
            raise UserFault(f"there is no image {name}", hint="see `luminaguard vm image list`")
        return Path(name).resolve()
    return find_image(name, cache=default_cache()).path


def _toolchain(folders: Sequence[Path], system: Sequence[Path]) -> Path:
    cache = default_cache()
    known = quick_look(folders, system, cache=cache)
    if known.path is not None:
        return known.path
    image = _built(folders, system, cache, tries_left=TRIES)
    known.remember(image.path)
    return image.path


def _built(folders: Sequence[Path], system: Sequence[Path], cache: Path, *, tries_left: int) -> Image:
    try:
        return build_from_toolchain(cache=cache, folders=folders, system=system, without=unneeded(folders))
    except Transient:  # somebody installs something
        if tries_left == 1:
            raise
    return _built(folders, system, cache, tries_left=tries_left - 1)


def _paths(texts: Json) -> list[Path]:
    assert isinstance(texts, list)
    return [Path(str(text)) for text in texts]


if __name__ == "__main__":
    sys.exit(main())
