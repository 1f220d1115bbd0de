"""`luminaguard issues`: the open issues as read; and the local tracker's add, edit, close."""

import argparse
from collections.abc import Callable, Mapping

import anyio

from luminaguard.app.planning import connected, make_plan
from luminaguard.app.project import Project, open_project
from luminaguard.app.tracking import Changes, add, close, edit, none_open, read, reopen
from luminaguard.app.transfer import export_to, import_from
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import IssueId, Json
from luminaguard.model.issue import Issue, Kind
from luminaguard.model.plan import PlannedIssue
from luminaguard.reports.json_report import issues_json
from luminaguard.reports.wording import cut, plain
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, printer_for, width

SUMMARY = "the open issues as read, and what is left to do"
ACTIONS = ("list", "show", "add", "edit", "close", "reopen", "import", "export")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="what to do (list)")
    parser.add_argument("what", nargs="?", metavar="ISSUE|TITLE|PATH", help="the issue; for add, a title")
    group = parser.add_argument_group("for add and edit")
    group.add_argument("--id", help="for add: an id of your own instead of the next number")
    group.add_argument("--title", help="for edit")
    group.add_argument("--body", help="the text; - reads it from a file named by --body-file")
    group.add_argument(
        "--body-file", type=argparse.FileType(encoding="utf-8"), metavar="FILE", help="- is standard input"
    )
    group.add_argument("--label", action="append", metavar="LABEL", help="may be given several times")
    group.add_argument("--needs", metavar="ID,ID", help="what must land first")
    group.add_argument("--kind", choices=[kind.value for kind in Kind])
    group.add_argument("--priority", type=int, choices=range(5), help="0 is the most urgent")
    group.add_argument("--estimate", type=float, metavar="MINUTES")
    group.add_argument("--touches", metavar="PATH,PATH", help="files that it will change")
    group.add_argument("--comment", default="", help="for close and reopen")
    parser.add_argument("--all", action="store_true", help="for import and export: closed issues too")
    show_examples(
        parser,
        ("luminaguard issues", "the open issues: kind, needs, what is there, what is left"),
        ('luminaguard issues add "Parse dates" --needs 3', "a new issue in the local tracker"),
        ("luminaguard issues edit 4 --label bug --body-file -", "change one; the text comes from standard input"),
        ('luminaguard issues close 4 --comment "done by hand"', "close one"),
        (
            "luminaguard issues import issues.json",
            "copy from a backlog file, or `local`, to where yours live; each once",
        ),
        ("luminaguard issues export issues.json", "copy yours to a file, or to the tracker with `local`"),
    )


def run(options: argparse.Namespace) -> int:
    """Do it."""
    project = open_project(options.repo, backlog=options.backlog)
    printer = printer_for(options)
    if options.action == "list":
        return anyio.run(_list, project, printer)
    if options.action == "show":
        _print_issue(printer, anyio.run(read, project, _wanted(options, "an issue")))
        return Exit.DONE
    if options.action in ("import", "export"):
        return anyio.run(_transfer, project, printer, options)
    _print_done(printer, options.action, _CHANGES[options.action](project, options))
    return Exit.DONE


async def _transfer(project: Project, printer: Printer, options: argparse.Namespace) -> int:
    transfer = import_from if options.action == "import" else export_to
    moved = await transfer(project, _wanted(options, "a file, or local"), everything=options.all)
    if printer.is_json:
        ids: list[Json] = [{"from": old, "to": new} for old, new in moved.ids.items()]
        notices: list[Json] = list(moved.notices)
        printer.document({"schema": "luminaguard/transfer@1", "issues": ids, "notices": notices})
        return Exit.DONE
    printer.line(f"{len(moved.added)} copied, {len(moved.ids) - len(moved.added)} were there")
    for notice in moved.notices:
        printer.note(f"note: {notice}")
    return Exit.DONE


async def _list(project: Project, printer: Printer) -> int:
    async with connected(project):
        plan = (await make_plan(project)).plan
    if printer.is_json:
        printer.document(issues_json(plan.issues))
        return Exit.DONE
    for item in plan.issues:
        printer.line(_line(item))
    if not plan.issues:
        printer.line(none_open(project))
    for notice in plan.notices:
        printer.note(f"note: {notice.text}")
    return Exit.DONE


def _line(item: PlannedIssue) -> str:
    needs = f" needs {', '.join(f'#{it}' for it in item.needs)};" if item.needs else ""
    left = f"{item.kind};{needs} left to do: {item.present.left_to_do}"
    return cut(f"#{item.issue.id:<6} {plain(item.issue.title)}  [{left}]", width=max(width(), 100))


def _wanted(options: argparse.Namespace, what: str) -> str:
    if options.what is None:
        raise UserFault(f"luminaguard issues {options.action}: name {what}", hint="luminaguard issues --help")
    found: str = options.what
    return found


def _add(project: Project, options: argparse.Namespace) -> Issue:
    return add(project, _wanted(options, "a title"), issue=options.id, said=_said(options))


def _edit(project: Project, options: argparse.Namespace) -> Issue:
    return edit(project, _id(options), title=options.title, said=_said(options))


def _close(project: Project, options: argparse.Namespace) -> Issue:
    return close(project, _id(options), comment=options.comment)


def _reopen(project: Project, options: argparse.Namespace) -> Issue:
    return reopen(project, _id(options), comment=options.comment)


def _id(options: argparse.Namespace) -> str:
    return _wanted(options, "an issue").removeprefix("#")


_CHANGES: Mapping[str, Callable[[Project, argparse.Namespace], Issue]] = {
    "add": _add,
    "edit": _edit,
    "close": _close,
    "reopen": _reopen,
}


def _said(options: argparse.Namespace) -> Changes:
    said = Changes()
    if options.body_file is not None:
        said["body"] = options.body_file.read()
    elif options.body is not None:
        said["body"] = options.body
    if options.label is not None:
        said["labels"] = tuple(options.label)
    if options.needs is not None:
        said["needs"] = tuple(IssueId(it.strip().removeprefix("#")) for it in options.needs.split(",") if it.strip())
    if options.kind is not None:
        said["kind"] = Kind(options.kind)
    if options.priority is not None:
        said["priority"] = options.priority
    if options.estimate is not None:
        said["estimate_s"] = options.estimate * 60
    if options.touches is not None:
        said["touches"] = tuple(it.strip() for it in options.touches.split(",") if it.strip())
    return said


def _issue_data(issue: Issue) -> dict[str, Json]:
    return {
        "id": issue.id,
        "title": issue.title,
        "body": issue.body,
        "state": issue.state,
        "labels": list(issue.labels),
        "kind": issue.kind,
        "needs": list(issue.needs),
        "priority": issue.priority,
        "estimate_s": issue.estimate_s,
        "touches": list(issue.touches),
    }


def _print_issue(printer: Printer, issue: Issue) -> None:
    if printer.is_json:
        printer.document({"schema": "luminaguard/issue@1", "issue": _issue_data(issue)})
        return
    printer.line(f"#{issue.id} {issue.title}  [{issue.state}]")
    for name, value in (("labels", ", ".join(issue.labels)), ("needs", ", ".join(f"#{it}" for it in issue.needs))):
        if value:
            printer.line(f"{name}: {value}")
    if issue.body:
        printer.line()
        printer.line(issue.body.rstrip("\n"))


def _print_done(printer: Printer, action: str, issue: Issue) -> None:
    if printer.is_json:
        printer.document({"schema": "luminaguard/issue@1", "issue": _issue_data(issue)})
        return
    past = {"add": "added", "edit": "edited", "close": "closed", "reopen": "reopened"}[action]
    printer.line(f"{past} #{issue.id} {issue.title}")
