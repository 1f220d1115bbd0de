"""The command line: finds the verb and runs it."""

import argparse
import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

from luminaguard.model.faults import UserFault
from luminaguard.ui.cli.arguments import WITH_VALUE, Parser, add_global_options, global_defaults, listed
from luminaguard.ui.cli.exits import MEANINGS, Exit

VERBS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "look": {
            "doctor": "what works here, and the way out where something does not",
            "issues": "the open issues as read, and what is left to do",
            "plan": "the waves, why each issue stands where it stands, forecast, risks",
            "status": "what is going on",
            "logs": "what an issue's agent and checks wrote",
            "diff": "what an issue's work changes",
            "problems": "everything that waits for a person, and what to do",
        },
        "work": {
            "demo": "the whole chain on a sample project, in under 30 seconds",
            "init": "write luminaguard.toml with what is detected here",
            "run": "plan and work until every issue is landed, or held with a reason",
        },
        "steer": {
            "approve": "let a change land, or an agent do what it asks for",
            "reject": "refuse a change, or what an agent asks for",
            "say": "tell an issue's agent something",
            "retry": "try a held or failed issue again",
            "cancel": "stop an issue, or the whole run",
            "pause": "let no agent start until resume",
            "resume": "let agents start again",
        },
        "tell": {
            "report": "what was done: Markdown, HTML, or JSON",
            "serve": "the local tracker and repository for gh, git and programs that speak GitHub's language",
        },
        "guests": {
            "vm": "micro-VMs by themselves: spawn one, run programs in it, freeze it, move it",
        },
    }
)
"""The verbs in groups, with each module's SUMMARY, so that --help loads none of them. A test compares the two."""

_TEACHES = """\
LuminaGuard works through a backlog: it plans the open issues of a repository into waves, runs a coding agent on each in
a sandbox of its own, and lands only what passes. Kill it at any moment and start it again: it goes on.

start with:
  luminaguard demo       see the whole chain on a sample project; needs no key and no network
  luminaguard init       in your repository: write luminaguard.toml with what is detected
  luminaguard plan       see what would be done, in which order, and why; then: luminaguard run"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The command line, cut at its verb."""

    before: Sequence[str]
    verb: str | None
    after: Sequence[str]


def run(words: Sequence[str]) -> int:
    """Run what was typed, and give the exit code that it ends with."""
    typed = cut(words)
    if typed.verb == "help":
        return run((*typed.after, "--help"))
    parser = _parser_of_all()
    options = parser.parse_all(typed.before, global_defaults())
    if typed.verb is None:
        parser.print_help()
        return Exit.DONE
    known = tuple(name for group in VERBS.values() for name in group)
    module = importlib.import_module(f"luminaguard.ui.cli.verbs.{_known_verb(typed.verb, known, 'luminaguard')}")
    if hasattr(module, "INNER"):
        return _run_inner(typed.verb, module, typed.after, options)
    return _run_verb(f"luminaguard {typed.verb}", module, typed.after, options)


def _run_inner(verb: str, outer: ModuleType, words: Sequence[str], options: argparse.Namespace) -> int:
    """Run a verb of a verb, as `luminaguard vm spawn`: its module lies in the package of the outer one's name."""
    typed = cut(words)
    if typed.verb == "help":
        return _run_inner(verb, outer, (*typed.after, "--help"), options)
    parser = _parser_of(f"luminaguard {verb}", outer.SUMMARY, outer.arguments)
    options = parser.parse_all(typed.before, options)
    if typed.verb is None:
        parser.print_help()
        return Exit.DONE
    name = f"luminaguard {verb}"
    module = importlib.import_module(f"luminaguard.ui.cli.{verb}.{_known_verb(typed.verb, tuple(outer.INNER), name)}")
    return _run_verb(f"{name} {typed.verb}", module, typed.after, options)


def _run_verb(name: str, module: ModuleType, words: Sequence[str], options: argparse.Namespace) -> int:
    words = tuple(words)
    if getattr(module, "TAKES_COMMAND", False):  # what stands behind "--" is somebody else's command line
        end = words.index("--") if "--" in words else len(words)
        words, options.command = words[:end], words[end + 1 :]
    run: Callable[[argparse.Namespace], int] = module.run
    return run(_parser_of(name, module.SUMMARY, module.arguments).parse_all(words, options))


def cut(words: Sequence[str]) -> Typed:
    """Cut a command line at its verb: the first word that is neither an option nor an option's value."""
    is_value = False
    for index, word in enumerate(words):
        if not word.startswith("-") and not is_value:
            return Typed(before=words[:index], verb=word, after=words[index + 1 :])
        is_value = word in WITH_VALUE
    return Typed(before=words, verb=None, after=())


def _parser_of_all() -> Parser:
    groups = (listed(group, verbs) for group, verbs in VERBS.items())
    codes = {str(code.value): meaning for code, meaning in MEANINGS.items()}
    parser = Parser(
        "luminaguard",
        usage="luminaguard [--repo DIR] [--backlog PATH] [--json] VERB ...    luminaguard VERB --help",
        description="\n\n".join((_TEACHES, *groups)),
        epilog=listed("exit codes", codes),
    )
    add_global_options(parser)
    return parser


def _parser_of(name: str, summary: str, arguments: Callable[[argparse.ArgumentParser], None]) -> Parser:
    parser = Parser(name, description=f"{summary[0].upper()}{summary[1:]}.")
    arguments(parser)
    add_global_options(parser)
    return parser


def _known_verb(verb: str, known: Sequence[str], name: str) -> str:
    if verb in known:
        return verb
    guess = difflib.get_close_matches(verb, known, n=1, cutoff=0.5)
    hint = f"did you mean {guess[0]}? " if guess else ""
    raise UserFault(f"{name}: there is no command {verb}", hint=f"{hint}{name} --help shows all commands")
