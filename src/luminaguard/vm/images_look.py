"""A look into an image: is a path there?"""

import functools
import shutil
from pathlib import Path

from luminaguard.host.process import run_blocking

LOOK_WITHIN_S = 30.0
FOUND = b"File : "


@functools.cache
def holds(image: Path, path: str) -> bool:
    """Tell whether an image has something at a path; False where nothing here can tell."""
    if (program := shutil.which("dump.erofs")) is None:
        return False
    ran = run_blocking((program, f"--path={path}", str(image)), timeout_s=LOOK_WITHIN_S)
    return ran.exit_code == 0 and FOUND in ran.out
