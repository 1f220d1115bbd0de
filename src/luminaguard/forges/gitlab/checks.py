"""Verdicts on commits and rules of branches on GitLab.

GitLab requires no checks by name, but the whole pipeline: it is told as one check, "pipeline".
"""

from urllib.parse import quote

from luminaguard.forges.answers import list_at, number_at, text_at, true_at
from luminaguard.forges.base import CheckState, ForeignCheck, Rules
from luminaguard.forges.http_rules import Http
from luminaguard.model.faults import Unreachable, UserFault
from luminaguard.model.ids import Json, Oid

PIPELINE = "pipeline"
TEXT = 250
"""GitLab takes 255 characters of description."""

_STATUS: dict[CheckState, str] = {"pending": "pending", "passed": "success", "failed": "failed"}


class Checks:
    """Reports and reads verdicts, and reads what a branch demands."""

    def __init__(self, http: Http, *, path: str) -> None:
        self._http = http
        self._path = path

    async def rules(self, target: str) -> Rules:
        """Put together what the branch, the project and its approval rules say."""
        branch = await self._http.get(f"repository/branches/{quote(target, safe='')}", ok=(200, 404))
        if branch.status == 404:
            raise UserFault(f"{self._path} has no branch {target!r}", hint="push it, or change [landing] target")
        project = (await self._http.get("")).body
        has_train = true_at(project, "merge_trains_enabled")
        # `can_push` is what the branch's protection says of our own account.
        is_closed = true_at(branch.body, "protected") and not true_at(branch.body, "can_push")
        whys = ["we may not push to the protected branch"] * is_closed + ["it has a merge train"] * has_train
        return Rules(
            required=(PIPELINE,) if true_at(project, "only_allow_merge_if_pipeline_succeeds") else (),
            pushable=not (is_closed or has_train),
            needs_pull=is_closed or has_train,
            approvals=await self._approvals(),
            has_queue=has_train,
            why="; ".join(whys),
        )

    async def report_check(self, commit: Oid, *, name: str, state: CheckState, text: str) -> None:
        """Show a verdict; keyed by commit and name, the last one stands."""
        wanted = {"name": name, "description": text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"}

        async def look() -> Json:
            newest = max(await self._statuses(commit, name), key=lambda one: number_at(one, "id"), default=None)
            if text_at(newest, "status") != _STATUS[state]:
                return None
            # A pending status takes no second "pending", whatever its text.
            is_said = state == "pending" or text_at(newest, "description") == wanted["description"]
            return newest if is_said else None

        async def make() -> Json:
            said: Json = {**wanted, "state": _STATUS[state]}
            answer = await self._http.once("POST", f"statuses/{commit}", said, ok=(200, 201, 409))
            if answer.status == 409:  # the commit's statuses are locked while another one is written
                raise Unreachable(f"GitLab is busy with the statuses of {commit[:12]}", hint="try again")
            return answer.body

        await self._http.made_once(look, make)

    async def checks(self, commit: Oid) -> tuple[ForeignCheck, ...]:
        """List the newest verdict of each job and status, and of the pipeline as a whole."""
        newest: dict[str, Json] = {}
        for one in sorted(await self._statuses(commit), key=lambda one: number_at(one, "id")):
            newest[text_at(one, "name")] = one
        found = [
            ForeignCheck(name=name, state=_state(one), url=text_at(one, "target_url") or None)
            for name, one in sorted(newest.items())
        ]
        answer = await self._http.get(f"repository/commits/{commit}")
        pipeline = answer.body.get("last_pipeline") if isinstance(answer.body, dict) else None
        if pipeline is not None:
            found.append(ForeignCheck(name=PIPELINE, state=_state(pipeline), url=text_at(pipeline, "web_url") or None))
        return tuple(found)

    async def _statuses(self, commit: Oid, name: str = "") -> list[Json]:
        path = f"repository/commits/{commit}/statuses"
        return await self._http.all(path, name=name) if name else await self._http.all(path)

    async def _approvals(self) -> int:
        """Read how many must approve; only licences with approval rules tell."""
        answer = await self._http.get("approval_rules", ok=(200, 403, 404))
        return max((number_at(rule, "approvals_required") for rule in list_at({"": answer.body}, "")), default=0)


def _state(status: Json) -> CheckState:
    said = text_at(status, "status")
    if said in ("success", "skipped") or (
        true_at(status, "allow_failure") and said in ("failed", "canceled", "manual")
    ):
        return "passed"
    return "failed" if said in ("failed", "canceled") else "pending"
