"""SIGTERM means what Ctrl-C means, to every command: let go of everything in order, and say so by the exit code."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C while the block lasts, unless whoever started us said what it is to be taken for."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    # A script's shell lets what it starts with `&` ignore Ctrl-C. Python's own answer to it is put back: only where
    # asyncio finds that does it end its tasks in order.
    is_deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if is_deaf:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if is_deaf:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
