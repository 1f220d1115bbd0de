"""What keys of different tables must agree on, beyond what each may hold."""

from luminaguard.app.settings_keys import shown
from luminaguard.app.settings_tables import BacklogSource, LandingBy, Settings
from luminaguard.app.settings_toml import Document
from luminaguard.model.faults import UserFault

AT_HOME = (BacklogSource.LOCAL, BacklogSource.FILE)


def check_agreed(document: Document, settings: Settings) -> None:
    """Refuse keys that cannot hold together.

    Raises:
        UserFault: names the file, the line and the key that must go, or the one that is absent.
    """
    _check_app(document, settings)
    _check_assignee(document, settings)
    _check_report(document, settings)
    _check_landing(document, settings)


def _check_app(document: Document, settings: Settings) -> None:
    said = settings.backlog
    given = {name: value for name, value in (("app_id", said.app_id), ("app_key", said.app_key)) if value is not None}
    for name, value in given.items():
        if said.source is not BacklogSource.GITHUB:
            hint = 'take it out, or set source = "github"'
            raise _unfit(
                document, "backlog", name, f'= {shown(value)} means nothing with source = "{said.source}"', hint
            )
    if len(given) == 1:
        name = next(iter(given))
        other = "app_key" if name == "app_id" else "app_id"
        example = '"12345"' if other == "app_id" else '"~/keys/app.pem"'
        raise _unfit(document, "backlog", name, f"needs {other} beside it", f"write {other} = {example}")


def _check_assignee(document: Document, settings: Settings) -> None:
    said = settings.backlog
    if said.assignee is not None and said.source in AT_HOME:
        why = f'= {shown(said.assignee)}: issues of source = "{said.source}" have no assignees'
        raise _unfit(document, "backlog", "assignee", why, "take it out; labels and milestone work everywhere")


def _check_report(document: Document, settings: Settings) -> None:
    said, source = settings.report, settings.backlog.source
    if said.category is not None and source is not BacklogSource.GITHUB:
        why = f'= {shown(said.category)}: there are no discussions with source = "{source}"'
        raise _unfit(document, "report", "category", why, 'write issue = "12" instead, the id of an issue')
    if said.category is not None and said.issue is not None:
        raise _unfit(document, "report", "category", "and issue are both set", "take one of them out")
    if said.post and said.issue is None and said.category is None:
        or_category = ' or category = "General"' if source is BacklogSource.GITHUB else ""
        raise _unfit(document, "report", "post", "= true, and no place is named", f'write issue = "12"{or_category}')


def _check_landing(document: Document, settings: Settings) -> None:
    if settings.landing.by is LandingBy.FORGE and settings.backlog.source in AT_HOME:
        why = f'= "forge": source = "{settings.backlog.source}" merges nothing'
        raise _unfit(document, "landing", "by", why, 'take it out, or set source = "github", "gitlab" or "gitea"')


def _unfit(document: Document, table: str, key: str, why: str, hint: str) -> UserFault:
    return UserFault(f"{document.at(table, key)}: [{table}] {key} {why}", hint=hint)
