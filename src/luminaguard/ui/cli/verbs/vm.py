"""`luminaguard vm`: the hypervisor layer alone."""

import argparse
from collections.abc import Mapping
from types import MappingProxyType

from luminaguard.ui.cli.arguments import listed, show_examples

SUMMARY = "micro-VMs by themselves: spawn one, run programs in it, freeze it, move it"

INNER: Mapping[str, str] = MappingProxyType(
    {
        "probe": "what runs guests on this machine, and why not where it does not",
        "image": "build, list and remove root images",
        "spawn": "start a guest; it goes on until it is stopped or its time is over",
        "exec": "run a program in a guest, with your input and output",
        "list": "the guests that run; what killed owners left is cleared",
        "stop": "end guests",
        "snapshot": "freeze a guest under a name, list what was frozen, remove it",
        "restore": "begin a guest from a snapshot",
        "migrate": "move a guest to another process or to another machine",
        "bench": "measure starts, restores and moves on this machine",
    }
)
"""The verbs within, with each module's SUMMARY. A test compares the two."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb, before the one within."""
    parser.usage = "luminaguard vm VERB ...    luminaguard vm VERB --help"
    parser.description = f"{SUMMARY[0].upper()}{SUMMARY[1:]}.\n\n{listed('verbs', INNER)}"
    show_examples(
        parser,
        ("luminaguard vm probe", "see what works here"),
        ("luminaguard vm image build --toolchain --name tools", "this machine's programs as a read-only image"),
        ("luminaguard vm spawn --image tools", "start a guest; prints its id"),
        ("luminaguard vm exec vm-0123456789ab -- uname -a", "run a program in it"),
        ("luminaguard vm exec --new --image tools -- make", "in a guest of its own, gone afterwards"),
        ("luminaguard vm stop --all", "end them"),
    )
