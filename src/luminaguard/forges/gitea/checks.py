"""Verdicts on commits and rules of branches on Gitea or Forgejo."""

from urllib.parse import quote

from luminaguard.forges.answers import list_at, names_in, number_at, text_at, true_at
from luminaguard.forges.base import CheckState, ForeignCheck, Rules
from luminaguard.forges.http_rules import Http
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json, Oid

TEXT = 250

_STATUS: dict[CheckState, str] = {"pending": "pending", "passed": "success", "failed": "failure"}


class Checks:
    """Reports and reads verdicts, and reads what a branch demands."""

    def __init__(self, http: Http, *, path: str) -> None:
        self._http = http
        self._path = path

    async def rules(self, target: str) -> Rules:
        """Read what the branch says of its protection, which needs no right to its settings.

        Required checks may be patterns ("ci/*"), as Gitea has them.
        """
        answer = await self._http.get(f"branches/{quote(target, safe='')}", ok=(200, 404))
        if answer.status == 404:
            raise UserFault(f"{self._path} has no branch {target!r}", hint="push it, or change [landing] target")
        branch = answer.body
        is_closed = true_at(branch, "protected") and not true_at(branch, "user_can_push")
        contexts = names_in(list_at(branch, "status_check_contexts"), "")
        return Rules(
            required=contexts if true_at(branch, "enable_status_check") else (),
            pushable=not is_closed,
            needs_pull=is_closed,
            approvals=number_at(branch, "required_approvals"),
            why="we may not push to the protected branch" if is_closed else "",
        )

    async def report_check(self, commit: Oid, *, name: str, state: CheckState, text: str) -> None:
        """Show a verdict; keyed by commit and name, the last one stands."""
        description = text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"

        async def look() -> Json:
            newest = (await self._newest(commit)).get(name)
            is_said = text_at(newest, "status") == _STATUS[state] and text_at(newest, "description") == description
            return newest if is_said else None

        async def make() -> Json:
            body: Json = {"context": name, "state": _STATUS[state], "description": description}
            return (await self._http.once("POST", f"statuses/{commit}", body)).body

        await self._http.made_once(look, make)

    async def checks(self, commit: Oid) -> tuple[ForeignCheck, ...]:
        """List the newest verdict of each check on a commit."""
        return tuple(
            ForeignCheck(name=name, state=_state(one), url=text_at(one, "target_url") or None)
            for name, one in sorted((await self._newest(commit)).items())
        )

    async def _newest(self, commit: Oid) -> dict[str, Json]:
        statuses = await self._http.all(f"commits/{commit}/statuses")
        return {text_at(one, "context"): one for one in sorted(statuses, key=lambda one: number_at(one, "id"))}


def _state(status: Json) -> CheckState:
    said = text_at(status, "status") or text_at(status, "state")
    if said in ("success", "warning", "skipped"):
        return "passed"
    return "pending" if said == "pending" else "failed"
