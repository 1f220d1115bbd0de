"""What a killed session leaves in the state folder: removed before the next one begins, with the lock held.

A checkout that a check was at work in holds what the check wrote: it must not be found again under its name.
"""

import anyio

from luminaguard.host.git import Places
from luminaguard.workspaces.remove import remove_folder

LEFT = (
    "git-*",
    "snapshots/new-*",
    "snapshots/old-*",
    "vm/.new-*",
    "workspaces/.new-*",
    "workspaces/checks-*",
    "workspaces/review-*",
)


async def clear_leftovers(places: Places) -> None:
    """Remove temporary folders, and the workspaces of checks and reviews that were cut short."""
    for folder in [folder for pattern in LEFT for folder in places.state.glob(pattern)]:
        await anyio.to_thread.run_sync(remove_folder, folder)
