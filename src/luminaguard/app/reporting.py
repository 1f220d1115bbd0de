"""A run's report at the forge: posted where the settings say, once for each run, and edited when posted again."""

from collections.abc import Sequence

from luminaguard.app.project import Project
from luminaguard.app.settings_tables import BacklogSource
from luminaguard.model.facts import Fact
from luminaguard.model.faults import UserFault
from luminaguard.reports.markdown import report_markdown
from luminaguard.reports.view import run_view


async def post_report(project: Project, facts: Sequence[Fact]) -> str:
    """Post the report of the run that the facts tell of; return its address.

    Raises:
        UserFault: the settings name no place, or it is not there.
        HostFault: the forge refuses.
        Transient: the forge cannot be reached.
    """
    said = project.settings.report
    if project.talk is None or (said.issue is None and said.category is None):
        raise _no_place(project)
    view = run_view(facts)
    # The title is the key: a run has one, so that its report is edited and never there twice.
    return await project.talk.post_report(report_markdown(view), title=f"LuminaGuard run {view.run}")


def _no_place(project: Project) -> UserFault:
    where = 'issue = "12"'
    if project.settings.backlog.source is BacklogSource.GITHUB:
        where += ' or category = "General"'
    return UserFault(
        "the settings name no place for a report", hint=f"write {where} under [report] in luminaguard.toml"
    )
