"""No walls: the program runs as the user, with all that the user may do. Taken only when it is asked for by name."""

import os
from collections.abc import Sequence
from pathlib import Path

from luminaguard.host.detached import Command
from luminaguard.model.faults import HostFault
from luminaguard.model.isolation import Isolation
from luminaguard.sandboxes.base import Mount, Overlay, Walls
from luminaguard.sandboxes.doorway import open_door


class NoWalls:
    """Runs a program as it is. Limits on output, time, memory, processes and disk hold all the same."""

    level = Isolation.NONE

    def missing(self) -> str | None:
        """Say None: this works everywhere."""
        return None

    def seen_at(self, mount: Mount) -> Path:
        """Tell where a mount is: where it lies."""
        return mount.source

    def enclose(self, argv: Sequence[str], walls: Walls) -> Command:
        """Give `argv` with the user's own environment, in the tree; a word that names a mount names what is mounted."""
        if isinstance(walls.tree, Overlay):
            raise HostFault(
                "an overlay needs a sandbox that mounts it", hint="use workspaces that are checked out in full"
            )
        lies_at = {str(mount.at): str(self.seen_at(mount)) for mount in walls.mounts}
        found = [lies_at.get(word, word) for word in argv]
        return Command(
            argv=_found(found) if walls.gateway is None else open_door(found, walls.gateway),
            # What points git at the repository that we were started in would make the agent work there.
            env={**{name: value for name, value in os.environ.items() if not name.startswith("GIT_")}, **walls.env},
            cwd=walls.tree.source,
            limits=walls.limits,
            grow=walls.tree.source,
            die_with_parent=True,
        )


def _found(argv: Sequence[str]) -> tuple[str, ...]:
    # The shim executes a path; PATH is searched here as a shell would.
    if "/" in argv[0]:
        return tuple(argv)
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        program = Path(folder or ".") / argv[0]
        if program.is_file() and os.access(program, os.X_OK):
            return (str(program), *argv[1:])
    return tuple(argv)
