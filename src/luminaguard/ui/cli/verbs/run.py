"""`luminaguard run`: plan, work, land, until everything is landed or held."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio

from luminaguard.app.project import Project, open_project
from luminaguard.app.working import Wanted, facts_of_last_run, work
from luminaguard.reports.json_report import report_json
from luminaguard.reports.status_text import problems_text, totals_text
from luminaguard.reports.view import RunView, Verified, run_view
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.flags import add_settings_flags, typed_flags
from luminaguard.ui.cli.live import Read, screen_for
from luminaguard.ui.cli.printing import Printer, printer_for
from luminaguard.ui.cli.verbs.plan import show_plan

SUMMARY = "plan and work until every issue is landed, or held with a reason"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issues", nargs="*", metavar="ISSUE", help="only these, and what they need")
    parser.add_argument("--dry", action="store_true", help="stop after the plan")
    parser.add_argument("--watch", action="store_true", help="never end: work on issues as they appear, until Ctrl-C")
    add_settings_flags(parser)
    show_examples(
        parser,
        ("luminaguard run", "work through all open issues; goes on where an interrupted run stopped"),
        ("luminaguard run 154 155 --slots 2", "these two, and what they need, two at once"),
        ("luminaguard run --approve human", "land nothing without `luminaguard approve`"),
        ("luminaguard run --watch", "work on every issue that gets the label of [backlog], until Ctrl-C"),
    )


def run(options: argparse.Namespace) -> int:
    """Work, and tell of it as it happens."""
    if options.dry:
        return anyio.run(show_plan, options)
    project = open_project(options.repo, backlog=options.backlog, flags=typed_flags(options))
    issues, printer = tuple(options.issues), printer_for(options)
    return anyio.run(partial(run_with_face, project, issues, printer, watch=options.watch))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A session that was shown while it worked, and its run at the end."""

    is_done: bool
    view: RunView


async def run_with_face(project: Project, issues: tuple[str, ...], printer: Printer, *, watch: bool) -> int:
    """Run a session and show it: live on a terminal, line by line elsewhere; then what came of it."""
    seen = await work_with_face(project, issues, printer, watch=watch)
    return await _nothing_to_do(project, printer) if seen is None else _close(printer, seen)


async def work_with_face(
    project: Project, issues: tuple[str, ...], printer: Printer, *, watch: bool = False
) -> Seen | None:
    """Run a session and show it until it ends; None where there is nothing to do."""
    views: list[RunView] = []
    async with anyio.create_task_group() as group:
        screen = screen_for(printer)

        def noticed(notices: Sequence[str]) -> None:
            for notice in notices:
                printer.note(f"note: {notice}")

        def began(read: Read) -> None:
            group.start_soon(screen.follow, read)

        def ended(read: Read) -> None:
            screen.stop()  # before the journal is closed
            views.append(run_view(read(0)))

        try:
            worked = await work(project, Wanted(issues=issues, watch=watch, noticed=noticed, began=began, ended=ended))
        finally:
            screen.stop()
            group.cancel_scope.cancel()
    if not views:
        return None
    screen.last_words(views[-1])
    return Seen(is_done=worked.is_done, view=views[-1])


async def _nothing_to_do(project: Project, printer: Printer) -> int:
    """Say so; a program is told of the last run, whose end this is, or of a target on which nothing is missing."""
    if printer.is_json:
        facts = facts_of_last_run(project)
        printer.document(report_json(run_view(facts) if facts else await _empty_view(project)))
    else:
        printer.line("nothing to do: there are no open issues")
    return Exit.DONE


async def _empty_view(project: Project) -> RunView:
    verified = Verified(made=True, commits_on_target=True, trees_tested=True, issues_closed=True, details=())
    return replace(run_view(()), target=project.target, base=await project.trunk.tip(), verified=verified)


def _close(printer: Printer, seen: Seen) -> int:
    if printer.is_json:
        printer.document(report_json(seen.view))
    else:
        printer.line()
        printer.line(totals_text(seen.view))
        if not seen.is_done:
            printer.line(problems_text(seen.view))
        printer.line("the whole report: luminaguard report")
    return Exit.DONE if seen.is_done else Exit.HELD
