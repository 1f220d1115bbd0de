"""What a branch demands: branch protection, rulesets and a merge queue, as far as our token may see them."""

from dataclasses import replace
from urllib.parse import quote

from luminaguard.forges.answers import at, list_at, names_in, number_at, text_at, true_at
from luminaguard.forges.base import Rules
from luminaguard.forges.github.comments import Comments
from luminaguard.forges.github.wire import Wire
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json

_QUEUE = """query($owner: String!, $name: String!, $branch: String!) {
  repository(owner: $owner, name: $name) { mergeQueue(branch: $branch) { id } }
}"""


async def rules_of(wire: Wire, comments: Comments, target: str) -> Rules:
    """Put together what the branch itself, its protection and its rulesets say; the strictest wins."""
    name = quote(target, safe="")
    branch = await wire.get(f"branches/{name}", ok=(200, 404))
    if branch.status == 404:
        where = wire.repository.full
        raise UserFault(f"{where} has no branch {target!r}", hint="push it, or change [landing] target")
    found = _of_branch(branch.body)
    if true_at(branch.body, "protected"):
        protection = await wire.get(f"branches/{name}/protection", ok=(200, 403, 404))
        if protection.status == 200:
            found = _of_protection(protection.body, found, login=await comments.login())
        else:
            found = _with(found, "its branch protection can be read only with administration: read")
    rules = await wire.get(f"rules/branches/{name}", {"per_page": 100}, ok=(200, 403, 404))
    for rule in list_at({"": rules.body}, ""):
        found = _of_rule(rule, found)
    if not found.has_queue and (true_at(branch.body, "protected") or list_at({"": rules.body}, "")):
        owner, repository = wire.repository.owner, wire.repository.name
        queue = await wire.ask(_QUEUE, owner=owner, name=repository, branch=target)
        if at(queue, "repository", "mergeQueue") is not None:
            found = _queued(found)
    return found


def _of_branch(branch: Json) -> Rules:
    checks = at(branch, "protection", "required_status_checks")
    return Rules(required=_checks(checks) if text_at(checks, "enforcement_level") != "off" else ())


def _of_protection(protection: Json, found: Rules, *, login: str) -> Rules:
    found = replace(found, required=_joined(found.required, _checks(at(protection, "required_status_checks"))))
    reviews = at(protection, "required_pull_request_reviews")
    if reviews is not None:
        approvals = max(found.approvals, number_at(reviews, "required_approving_review_count"))
        found = _closed(replace(found, needs_pull=True, approvals=approvals), "it takes changes by pull request only")
    restrictions = at(protection, "restrictions")
    if restrictions is not None and not _may_push(restrictions, login):
        found = _closed(found, "only some may push to it, and we are not named")
    if true_at(protection, "lock_branch", "enabled"):
        found = _closed(found, "it is locked")
    return found


def _may_push(restrictions: Json, login: str) -> bool:
    users = names_in(list_at(restrictions, "users"), "login")
    apps = names_in(list_at(restrictions, "apps"), "slug")
    return bool(login) and login in (*users, *apps)


def _of_rule(rule: Json, found: Rules) -> Rules:
    kind, said = text_at(rule, "type"), at(rule, "parameters")
    if kind == "pull_request":
        approvals = max(found.approvals, number_at(said, "required_approving_review_count"))
        return _closed(replace(found, needs_pull=True, approvals=approvals), "a ruleset wants pull requests")
    if kind == "required_status_checks":
        names = names_in(list_at(said, "required_status_checks"), "context")
        return replace(found, required=_joined(found.required, names))
    if kind == "merge_queue":
        return _queued(found)
    if kind == "update":
        return _closed(found, "a ruleset lets nobody change it")
    if kind == "required_signatures":
        return _closed(found, "a ruleset wants signed commits, which GitHub makes when it merges")
    return found


def _queued(found: Rules) -> Rules:
    return _closed(replace(found, has_queue=True, needs_pull=True), "it has a merge queue")


def _closed(found: Rules, why: str) -> Rules:
    return _with(replace(found, pushable=False), why)


def _with(found: Rules, why: str) -> Rules:
    return replace(found, why=f"{found.why}; {why}" if found.why else why)


def _checks(said: Json) -> tuple[str, ...]:
    """Read the names from either form: newer servers say `checks`, older ones only `contexts`."""
    return _joined(names_in(list_at(said, "contexts"), ""), names_in(list_at(said, "checks"), "context"))


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
