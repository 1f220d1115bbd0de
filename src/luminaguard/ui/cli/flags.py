"""Settings as flags: every key of [run], [landing] and [budget], for the verbs that plan or work."""

import argparse
from collections.abc import Mapping

from luminaguard.app.settings import flags


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each key that has one. The words are checked by the settings, with the same code as the file's."""
    group = parser.add_argument_group("settings that win over luminaguard.toml")
    for flag in flags():
        metavar = "|".join(flag.choices) if flag.choices else flag.name.rpartition("_")[2].upper()
        group.add_argument(flag.option, dest=_dest(flag.name), default=None, metavar=metavar, help=flag.help)


def typed_flags(options: argparse.Namespace) -> Mapping[str, str]:
    """Give the flags that were typed, as `settings.with_flags` takes them."""
    typed = {flag.name: getattr(options, _dest(flag.name)) for flag in flags()}
    return {name: words for name, words in typed.items() if words is not None}


def _dest(name: str) -> str:
    return f"flag_{name}"  # apart from a verb's own words, such as ISSUE or run
