"""The real agent programs that tests drive. As a program it installs them: `python tests/agents/real_agents.py`.

They go into a cache outside the repository, as a global installation lies: `bin` beside `lib`, since that is how users
have them, and what the walls show. Some 1.9 GB.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "real/package.json"
PROGRAMS = ("claude", "claude-agent-acp", "codex", "codex-acp", "opencode")


def agents_folder() -> Path:
    """Give $LUMINAGUARD_TEST_AGENTS, else a folder of the user's cache."""
    said = os.environ.get("LUMINAGUARD_TEST_AGENTS")
    return Path(said) if said else Path.home() / ".cache/luminaguard/test-agents"


def is_installed() -> bool:
    """Tell whether what package.json names was installed, to the version."""
    kept = agents_folder() / "lib/package.json"
    return (agents_folder() / "installed").exists() and kept.read_bytes() == PACKAGE.read_bytes()


def main() -> int:
    """Install, unless it is done."""
    if is_installed():
        return 0
    if shutil.which("npm") is None:
        sys.stderr.write("error: npm is not on PATH; the agents come from npm\n")
        return 3
    lib, links = agents_folder() / "lib", agents_folder() / "bin"
    (agents_folder() / "installed").unlink(missing_ok=True)
    lib.mkdir(parents=True, exist_ok=True)
    links.mkdir(exist_ok=True)
    shutil.copy(PACKAGE, lib / "package.json")
    # Exact versions: for an older Node npm silently takes older ones, which the programs do not need.
    ran = subprocess.run(("npm", "install", "--no-package-lock", "--no-audit", "--no-fund"), cwd=lib, check=False)
    if ran.returncode != 0:
        return ran.returncode
    for name in PROGRAMS:
        (links / name).unlink(missing_ok=True)
        (links / name).symlink_to(Path("../lib/node_modules/.bin") / name)
    (agents_folder() / "installed").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
