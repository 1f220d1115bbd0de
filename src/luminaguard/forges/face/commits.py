"""Endpoints of commits: statuses, check runs, branches, rules."""

from luminaguard.forges.face.answers import Answer, RefusalError, invalid, link_header, not_found, page_of
from luminaguard.forges.face.calls import Call
from luminaguard.forges.face.diffs import commits_of
from luminaguard.forges.face.pull_shapes import check_run, combined_status, commit, status
from luminaguard.forges.face.shapes import Shape, number_for
from luminaguard.forges.verdicts import CheckRun, StatusState
from luminaguard.host.checkouts import checkouts_of
from luminaguard.model.ids import Json, Oid

STATES: tuple[StatusState, ...] = ("error", "failure", "pending", "success")
CONCLUSIONS = ("action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out")
SAID = ("details_url", "external_id", "status", "started_at", "conclusion", "completed_at", "output")


def _commit(call: Call, name: str) -> Oid:
    found = call.site.commit(call.params[name])
    if found is None:
        raise RefusalError(422, f"No commit found for SHA: {call.params[name][:80]}")
    return found


def shown(call: Call) -> Answer:
    """Show a commit."""
    oid = _commit(call, "ref")
    return Answer(body=commit(call.view(), commits_of(call.site, "--max-count=1", oid)[0]))


# Statuses


def stated(call: Call) -> Answer:
    """Add a status to a commit."""
    call.must_be_full()
    state = call.text("state", "Status")
    if state not in STATES:
        raise invalid("Status", "state")
    found = call.site.verdicts.report(
        _commit(call, "sha"),
        context=call.text("context", "Status", otherwise="default"),
        state=STATES[STATES.index(state)],
        author=call.holder.login,
        description=call.text("description", "Status", otherwise="") or None,
        url=call.text("target_url", "Status", otherwise="") or None,
    )
    return Answer(body=status(call.view(), found), status=201)


def combined(call: Call) -> Answer:
    """Show what the statuses of a commit say together."""
    head = _commit(call, "ref")
    return Answer(body=combined_status(call.view(), head, call.site.verdicts.standing(head)))


def statuses(call: Call) -> Answer:
    """List all statuses of a commit, newest first."""
    view = call.view()
    return call.paged(call.site.verdicts.statuses(_commit(call, "ref")), lambda it: status(view, it))


# Check runs


def run_made(call: Call) -> Answer:
    """Begin a check run."""
    call.must_be_full()
    name, head = call.text("name", "CheckRun"), call.site.commit(call.text("head_sha", "CheckRun"))
    if head is None:
        raise invalid("CheckRun", "head_sha")
    found = call.site.verdicts.begin(head, name=name, said=_said(call), author=call.holder.login)
    return Answer(body=check_run(call.view(), found), status=201)


def run_edited(call: Call) -> Answer:
    """Say how a check run goes on."""
    call.must_be_full()
    found = call.site.verdicts.go_on(_run(call), said=_said(call), author=call.holder.login)
    return Answer(body=check_run(call.view(), found))


def run_shown(call: Call) -> Answer:
    """Show a check run."""
    return Answer(body=check_run(call.view(), _run(call)))


def _run(call: Call) -> CheckRun:
    found = call.site.verdicts.run(call.number())
    if found is None:
        raise not_found()
    return found


def _said(call: Call) -> dict[str, Json]:
    said = {key: call.body[key] for key in SAID if call.body.get(key) is not None}
    if said.get("conclusion", "neutral") not in CONCLUSIONS:
        raise invalid("CheckRun", "conclusion")
    if said.get("status", "queued") not in ("queued", "in_progress", "completed"):
        raise invalid("CheckRun", "status")
    if any(not isinstance(said.get(key, ""), str) for key in SAID if key != "output"):
        raise invalid("CheckRun", "details_url")
    if "conclusion" in said:
        said["status"] = "completed"
    elif said.get("status") == "completed":
        raise invalid("CheckRun", "conclusion", code="missing_field")
    return said


def runs(call: Call) -> Answer:
    """List the check runs of a commit: the newest of each name unless all are asked for."""
    view = call.view()
    found = call.site.verdicts.runs(_commit(call, "ref"), every=call.query.get("filter") == "all")
    wanted = [it for it in found if call.query.get("check_name") in (None, it.name)]
    page = page_of(call.query)
    links = link_header(call.address, call.query, page, len(wanted))
    shapes: list[Json] = [check_run(view, it) for it in page.of(wanted)]
    return Answer(body={"total_count": len(wanted), "check_runs": shapes}, headers=links)


# Branches and what is allowed on them


def branches(call: Call) -> Answer:
    """List the branches."""
    return call.paged(list(call.site.heads().items()), lambda pair: _branch(call, *pair))


def _branch(call: Call, name: str, tip: Oid) -> Shape:
    commit_url = f"{call.urls.repo}/commits/{tip}"
    return {"name": name, "commit": {"sha": tip, "url": commit_url}, "protected": name == call.site.target}


def branch(call: Call) -> Answer:
    """Show a branch."""
    name = call.params["branch"]
    tip = call.site.heads().get(name)
    if tip is None:
        raise RefusalError(404, "Branch not found")
    here = f"{call.urls.repo}/branches/{name}"
    body: Shape = {
        **_branch(call, name, tip),
        "commit": commit(call.view(), commits_of(call.site, "--max-count=1", tip)[0]),
        "_links": {"self": here, "html": f"{call.urls.page}/tree/{name}"},
        "protection": {"enabled": name == call.site.target},
        "protection_url": f"{here}/protection",
    }
    return Answer(body=body)


def protection(call: Call) -> Answer:
    """Show what protects a branch: nobody rewrites or removes the target."""
    name = call.params["branch"]
    if name not in call.site.heads():
        raise RefusalError(404, "Branch not found")
    if name != call.site.target:
        raise RefusalError(404, "Branch not protected")
    here = f"{call.urls.repo}/branches/{name}/protection"
    off: Json = {"enabled": False}
    return Answer(
        body={
            "url": here,
            "enforce_admins": {"url": f"{here}/enforce_admins", "enabled": True},
            **dict.fromkeys(("required_linear_history", "allow_force_pushes", "allow_deletions"), off),
        }
    )


def rules(call: Call) -> Answer:
    """List the rules of a branch, as rulesets tell them."""
    if call.params["branch"] != call.site.target:
        return Answer(body=[])
    source: Shape = {
        "ruleset_source_type": "Repository",
        "ruleset_source": f"{call.site.owner}/{call.site.name}",
        "ruleset_id": number_for("the target"),
    }
    return call.paged(["deletion", "non_fast_forward"], lambda kind: {"type": kind, **source})


def ref(call: Call) -> Answer:
    """Show a branch as a ref."""
    name = call.params["name"]
    tip = call.site.heads().get(name)
    if tip is None:
        raise not_found()
    return Answer(body=_ref(call, name, tip))


def _ref(call: Call, name: str, tip: Oid) -> Shape:
    git = f"{call.urls.repo}/git"
    pointed: Shape = {"type": "commit", "sha": tip, "url": f"{git}/commits/{tip}"}
    return {
        "ref": f"refs/heads/{name}",
        "node_id": f"REF_{number_for(name)}",
        "url": f"{git}/refs/heads/{name}",
        "object": pointed,
    }


def ref_deleted(call: Call) -> Answer:
    """Remove a branch; never the target, never one that somebody has checked out."""
    call.must_be_full()
    name = call.params["name"]
    tip = call.site.heads().get(name)
    if tip is None:
        raise RefusalError(422, "Reference does not exist")
    if name == call.site.target or checkouts_of(call.site.places, f"refs/heads/{name}"):
        raise RefusalError(422, "Cannot delete this branch: it is the target, or checked out")
    call.site.git.run_blocking("update-ref", "-d", f"refs/heads/{name}", tip)
    return Answer(status=204)
