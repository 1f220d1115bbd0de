"""Verdicts on commits: ours as commit statuses with a token and as check runs with an App, and everybody else's."""

from luminaguard.forges.answers import number_at, text_at
from luminaguard.forges.base import CheckState, ForeignCheck
from luminaguard.forges.github.auth import AppKey
from luminaguard.forges.github.wire import Wire
from luminaguard.model.ids import Json, Oid

STATUS_TEXT = 140
RUN_TEXT = 60_000

SOME_LACK = (200, 404)
"""Look-alikes have the one kind of verdict or the other; a required one that never shows is waited for all the same."""

_STATUS: dict[CheckState, str] = {"pending": "pending", "passed": "success", "failed": "failure"}
_CONCLUSION: dict[CheckState, str] = {"passed": "success", "failed": "failure"}
_GOOD = frozenset({"success", "neutral", "skipped"})


class Checks:
    """Reports and reads verdicts."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._is_app = isinstance(wire.line.credentials, AppKey)

    async def report_check(self, commit: Oid, *, name: str, state: CheckState, text: str) -> None:
        """Show a verdict; keyed by commit and name, the last one stands."""
        if self._is_app:
            await self._report_run(commit, name, state, text)
        else:
            await self._report_status(commit, name, state, text)

    async def checks(self, commit: Oid) -> tuple[ForeignCheck, ...]:
        """List the newest verdict of each check, by name; runs and statuses of one name are both told."""
        runs = await self._wire.all(
            f"commits/{commit}/check-runs", {"filter": "latest"}, key="check_runs", ok=SOME_LACK
        )
        statuses = await self._wire.all(f"commits/{commit}/status", key="statuses", ok=SOME_LACK)
        found = [*(_from_run(one) for one in runs), *(_from_status(one) for one in statuses)]
        return tuple(sorted(found, key=lambda one: one.name))

    async def _report_status(self, commit: Oid, name: str, state: CheckState, text: str) -> None:
        wanted = {"state": _STATUS[state], "context": name, "description": _cut(text, STATUS_TEXT)}

        async def look() -> Json:
            async for one in self._wire.pages(f"commits/{commit}/statuses", ok=SOME_LACK):  # newest first
                if text_at(one, "context") == name:
                    return one if all(text_at(one, key) == value for key, value in wanted.items()) else None
            return None

        async def make() -> Json:
            return (await self._wire.once("POST", f"statuses/{commit}", dict(wanted), ok=(201,))).body

        await self._wire.made_once(look, make)

    async def _report_run(self, commit: Oid, name: str, state: CheckState, text: str) -> None:
        said = _run(name, state, text)

        async def look() -> Json:
            return await self._run_of(commit, name)

        async def make() -> Json:
            return (await self._wire.once("POST", "check-runs", {**said, "head_sha": commit}, ok=(201,))).body

        run = await self._wire.made_once(look, make)
        is_said = all(text_at(run, key) == value for key, value in said.items() if isinstance(value, str))
        if not is_said or text_at(run, "output", "summary") != text_at(said, "output", "summary"):
            await self._wire.again("PATCH", f"check-runs/{number_at(run, 'id')}", said)

    async def _run_of(self, commit: Oid, name: str) -> Json:
        """Find our own run of this name; one of another App is not ours to change."""
        credentials = self._wire.line.credentials
        assert isinstance(credentials, AppKey)
        path = f"commits/{commit}/check-runs"
        async for run in self._wire.pages(path, {"check_name": name, "filter": "latest"}, key="check_runs"):
            is_ours = credentials.app_id in (str(number_at(run, "app", "id")), text_at(run, "app", "client_id"))
            if text_at(run, "name") == name and is_ours:
                return run
        return None


def _run(name: str, state: CheckState, text: str) -> dict[str, Json]:
    title = _cut(text, STATUS_TEXT) or name
    output: Json = {"title": title, "summary": _cut(text, RUN_TEXT) or title}
    if state == "pending":
        return {"name": name, "status": "in_progress", "output": output}
    return {"name": name, "status": "completed", "conclusion": _CONCLUSION[state], "output": output}


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _from_run(run: Json) -> ForeignCheck:
    state: CheckState = "pending"
    if text_at(run, "status") == "completed":
        state = "passed" if text_at(run, "conclusion") in _GOOD else "failed"
    url = text_at(run, "html_url") or text_at(run, "details_url")
    return ForeignCheck(name=text_at(run, "name"), state=state, url=url or None)


def _from_status(status: Json) -> ForeignCheck:
    states: dict[str, CheckState] = {"success": "passed", "pending": "pending"}
    state = states.get(text_at(status, "state"), "failed")
    return ForeignCheck(name=text_at(status, "context"), state=state, url=text_at(status, "target_url") or None)
