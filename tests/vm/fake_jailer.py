"""A stand-in for Firecracker's jailer: it takes the published command line and no other, and makes the same folder.

Source: github.com/firecracker-microvm/firecracker, docs/jailer.md at 00aaacd5952a7e51cb8cf7f613200b76c4c2fc6a, and how
src/jailer/src/env.rs at 0068fe5e86deeac1d19b82bbeea4b206994a0183 checks it. It changes no root and no user.
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

LIMITS = ("fsize", "no-file")
MOST_ID = 64


def resource_limit(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if name not in LIMITS:
        raise argparse.ArgumentTypeError(f"invalid resource: {name}")
    return name, int(value)


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--id", required=True)
    parser.add_argument("--exec-file", required=True, type=Path)
    parser.add_argument("--uid", required=True, type=int)
    parser.add_argument("--gid", required=True, type=int)
    parser.add_argument("--chroot-base-dir", default="/srv/jailer", type=Path)
    parser.add_argument("--cgroup-version", default="1", choices=("1", "2"))
    parser.add_argument("--parent-cgroup")
    parser.add_argument("--cgroup", action="append")
    parser.add_argument("--netns")
    parser.add_argument("--resource-limit", action="append", type=resource_limit)
    parser.add_argument("--daemonize", action="store_true")
    parser.add_argument("--new-pid-ns", action="store_true")
    return parser.parse_args(argv)


def main() -> None:
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    chosen, extra = parsed(sys.argv[1:at]), sys.argv[at + 1 :]
    if not re.fullmatch(rf"[A-Za-z0-9-]{{1,{MOST_ID}}}", chosen.id):
        sys.exit(f"Invalid instance ID: {chosen.id}")
    program = chosen.exec_file.resolve(strict=True)
    if "firecracker" not in program.name:
        sys.exit(f"Invalid filename: {program.name}")
    root = chosen.chroot_base_dir.resolve(strict=True) / program.name / chosen.id / "root"
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, root / program.name)
    root.chmod(0o700)
    os.chown(root, chosen.uid, chosen.gid)
    os.chdir(root)
    times = ("--start-time-us", "0", "--start-time-cpu-us", "0")
    os.execve(root / program.name, (program.name, "--id", chosen.id, *times, *extra), {})


if __name__ == "__main__":
    main()
