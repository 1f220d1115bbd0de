"""`luminaguard plan`: the waves, and why each issue stands where it stands."""

import argparse

import anyio

from luminaguard.app.planning import connected, make_plan
from luminaguard.app.project import checks_of, open_project
from luminaguard.app.tracking import none_open
from luminaguard.reports.json_report import plan_json
from luminaguard.reports.plan_script import plan_script
from luminaguard.reports.plan_text import plan_markdown, plan_mermaid, plan_table
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.flags import add_settings_flags, typed_flags
from luminaguard.ui.cli.printing import printer_for, width

SUMMARY = "the waves, why each issue stands where it stands, forecast, risks"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("issues", nargs="*", metavar="ISSUE", help="only these, and what they need")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="as Markdown, with each issue's checklist")
    form.add_argument("--mermaid", action="store_true", help="the graph, for a Mermaid viewer")
    form.add_argument("--script", action="store_true", help="the same plan as shell steps for a person")
    add_settings_flags(parser)
    show_examples(
        parser,
        ("luminaguard plan", "the plan of all open issues"),
        ("luminaguard plan 154 155", "of these two, and what they need"),
        ("luminaguard plan --script > steps.sh", "as steps to do by hand"),
    )


def run(options: argparse.Namespace) -> int:
    """Plan and print."""
    return anyio.run(show_plan, options)


async def show_plan(options: argparse.Namespace) -> int:
    """Read the backlog, plan it, and print the plan in the form that was asked for."""
    project = open_project(options.repo, backlog=options.backlog, flags=typed_flags(options))
    async with connected(project):
        plan = (await make_plan(project, options.issues)).plan
    printer = printer_for(options)
    if options.json:
        printer.document(plan_json(plan))
        return Exit.DONE
    checks = (await checks_of(project)).run
    if getattr(options, "markdown", False):
        printer.line(plan_markdown(plan, target=project.target, checks=checks))
    elif getattr(options, "mermaid", False):
        printer.line(plan_mermaid(plan))
    elif getattr(options, "script", False):
        printer.line(plan_script(plan, target=project.target, checks=checks))
    else:
        printer.line(plan_table(plan, width=width()))
        if not plan.issues:
            printer.line(none_open(project))
    return Exit.DONE
