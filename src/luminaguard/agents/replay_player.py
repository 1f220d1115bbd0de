"""Plays one recorded attempt inside a workspace. A script of the standard library alone: it runs behind the walls."""

import json
import os
import subprocess
import sys
import time


def main() -> int:
    """Do what $LUMINAGUARD_REPLAY says, in the current folder."""
    part = json.loads(os.environ["LUMINAGUARD_REPLAY"])
    sys.stdout.write(f"working on issue {os.environ.get('LUMINAGUARD_ISSUE', '?')}\n")
    time.sleep(part.get("work_s", 0))
    for path, text in part.get("write", {}).items():
        put(path, text, "w")
    for path, text in part.get("append", {}).items():
        put(path, text, "a")
    for path in part.get("delete", []):
        os.unlink(path)  # noqa: PTH108
    if "commit" in part:
        subprocess.run(["git", "add", "-A"], check=True)
        subprocess.run(["git", "commit", "-q", "-m", part["commit"]], check=True)
    if "review" in part:
        sys.stdout.write(json.dumps(part["review"]) + "\n")
    sys.stdout.write(part.get("say", ""))
    sys.stdout.flush()
    return int(part.get("exit", 0))


def put(path: str, text: str, mode: str) -> None:
    """Write or append to a file, making its folders."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
    with open(path, mode, encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    sys.stdout.write(f"{'wrote' if mode == 'w' else 'appended to'} {path}\n")


if __name__ == "__main__":
    sys.exit(main())
