"""A request to stop that comes while a program is only being started."""

import contextlib
import json
import os
from pathlib import Path

import anyio

from luminaguard.host.detached import Command, Ended, _spec, ask_to_stop, wait
from luminaguard.host.limits import Limits
from luminaguard.host.locks import try_lock
from luminaguard.host.nursery import NURSERY


def test_a_request_to_stop_that_comes_before_the_shim_listens_is_heard_by_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    os.mkfifo(place / "spec.json")  # the shim waits here, right after its fork
    lock, log = try_lock(place / "lock"), os.open(place / "shim.log", os.O_WRONLY | os.O_CREAT)
    assert lock is not None
    NURSERY.start(place, lock=lock, log=log, owner=-1)
    for fd in (lock, log):
        os.close(fd)
    sleeps = Command(argv=("/bin/sleep", "600"), env={}, cwd=tmp_path, limits=Limits(), die_with_parent=True)
    with contextlib.suppress(BrokenPipeError), (place / "spec.json").open("w") as spec:
        ask_to_stop(place)
        json.dump(_spec(place, sleeps, timeout_s=600, stdin=None, out_bytes=0), spec)

    async def go() -> Ended:
        with anyio.fail_after(60):
            return await wait(place)

    assert anyio.run(go).cause == "cancelled"
