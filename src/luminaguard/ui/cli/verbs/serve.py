"""`luminaguard serve`: the local forge for `gh` and everything else that speaks GitHub's language."""

import argparse
import contextlib
from pathlib import Path

import anyio

from luminaguard.app.project import open_project
from luminaguard.app.serving import Served, doors_of, face
from luminaguard.model.faults import UserFault
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, printer_for

SUMMARY = "the local tracker and repository for gh, git and programs that speak GitHub's language"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("--forge", action="store_true", help="serve the local forge")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="the Unix socket (.git/luminaguard/forge/socket)")
    parser.add_argument("--listen", metavar="HOST:PORT", help="on TCP too; this machine only")
    parser.add_argument("--anywhere", action="store_true", help="let --listen reach beyond this machine, unencrypted")
    parser.add_argument(
        "--new-token", metavar="read|ISSUE", help="print a token that only reads, or may comment on one issue; and end"
    )
    show_examples(
        parser,
        ("luminaguard serve --forge", "then, in another shell: . .git/luminaguard/forge/env; gh issue list"),
        ("luminaguard serve --forge --listen 127.0.0.1:4710", "git clone http://127.0.0.1:4710/you/project.git"),
        ("luminaguard serve --forge --new-token 12", "a token for the agent that works on 12"),
    )


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C, or SIGTERM, which means the same."""
    if not options.forge:
        raise UserFault("the dashboard is not there yet", hint="luminaguard serve --forge serves the local forge")
    doors = doors_of(socket=options.socket, listen=options.listen, anywhere=options.anywhere)
    project = open_project(options.repo, backlog=options.backlog)
    printer = printer_for(options)
    if options.new_token is not None:
        issue = None if options.new_token == "read" else options.new_token  # noqa: S105 a word, not a token
        token = face().new_token(project, issue)
        if options.json:
            printer.document({"schema": "luminaguard/token@1", "token": token})
        else:
            printer.line(token)
        return Exit.DONE
    # A server ends when somebody stops it, so that is no interruption.
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(face().serve_forge, project, doors, lambda served: _tell(printer, served))
    return Exit.DONE


def _tell(printer: Printer, served: Served) -> None:
    if printer.is_json:
        printer.document(
            {
                "schema": "luminaguard/serve@1",
                "repository": served.repository,
                "socket": str(served.socket),
                "url": served.url or None,
                "env": str(served.env),
                "token": str(served.token),
            }
        )
        return
    printer.line(f"{served.repository} on {served.socket}{f' and {served.url}' if served.url else ''}")
    printer.line(f"in another shell:  . {served.env}")
    printer.line("then:              gh issue list")
    if served.url:
        printer.line(f"git:               {served.url}/{served.repository}.git, any name, the token of {served.token}")
