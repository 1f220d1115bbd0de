"""What the steering verbs say when they are done."""

import argparse

from luminaguard.app.steering import LastRun
from luminaguard.ui.cli.printing import printer_for


def tell_done(options: argparse.Namespace, last: LastRun, said: str) -> None:
    """Say what was recorded, and who will act on it."""
    is_at_work = last.is_at_work()
    printer = printer_for(options)
    if options.json:
        printer.document({"schema": "luminaguard/steer@1", "run": last.run, "said": said, "at_work": is_at_work})
        return
    printer.line(said)
    if not is_at_work:
        printer.line("nobody is at work now; it takes effect with: luminaguard run")
