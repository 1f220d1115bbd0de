"""Starts one driver where this folder is all that is there of our package."""

import importlib
import os
import sys
import types

NAME = "luminaguard.agents.inside"


def main() -> int:
    """Make the folder importable under its own name, and what else the driver needs; then become the driver."""
    driver, *packages = sys.argv[1:]
    # A package lies beside what it needs, and all that was shown is needed.
    sys.path[:] = [*(path for path in sys.path if path != sys.path[0]), *dict.fromkeys(map(os.path.dirname, packages))]
    for number, name in enumerate(parents := ["luminaguard", "luminaguard.agents", NAME], start=1):
        module = types.ModuleType(name)
        module.__path__ = [os.path.dirname(os.path.abspath(__file__))] if number == len(parents) else []  # noqa: PTH100, PTH120 this starts with every agent
        sys.modules[name] = module
    return int(importlib.import_module(f"{NAME}.{driver}").main())


if __name__ == "__main__":
    sys.exit(main())
