"""The console script: the one edge where every error ends.

It loads the rest by itself, within that edge: Ctrl-C comes in that tenth of a second as well.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

HERE = "luminaguard.ui.cli"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    words = tuple(sys.argv[1:] if argv is None else argv)
    try:
        with import_module(f"{HERE}.ending").interruptible():
            import_module(f"{HERE}.printing").prepare_streams()
            return int(import_module(f"{HERE}.command_line").run(words))
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0
    except BaseException as exc:  # noqa: BLE001 the one edge where every error ends
        before = words[: words.index("--")] if "--" in words else words
        return int(import_module(f"{HERE}.telling").tell(exc, before))
