"""One plain line for each fact that a person wants to hear of."""

from collections.abc import Callable, Mapping

from luminaguard.model.facts import Fact
from luminaguard.model.work import FileChange
from luminaguard.reports.readings import Data, files_at, findings_at, flag_at, number_at, text_at, texts_at
from luminaguard.reports.wording import counted, lasting, plain, stamp


def event_text(fact: Fact) -> str | None:
    """Say what happened, without time and issue; None for a fact that is of interest to programs only."""
    say = _SAY.get(fact.name)
    return plain(say(fact)) if say else None


def changes_text(files: tuple[FileChange, ...]) -> str:
    """Sum up changes: "2 files, +41 -3"."""
    added, removed = sum(file.added for file in files), sum(file.removed for file in files)
    return f"{counted(len(files), 'file')}, +{added} -{removed}"


def because(said: str, why: str) -> str:
    """Put a reason behind what is said, where there is one."""
    return f"{said}: {why}" if why else said


def _started(fact: Fact) -> str:
    target, base = text_at(fact.data, "target"), text_at(fact.data, "base")
    checks = "; ".join(texts_at(fact.data, "checks")) or "none"
    return because(f"run started on {target} at {base[:12]}, checks", f"{checks} ({text_at(fact.data, 'checks_from')})")


def _session(fact: Fact) -> str:
    return f"at work, isolation {text_at(fact.data, 'isolation') or 'unknown'}"


def _session_ended(fact: Fact) -> str:
    return because("session ended", text_at(fact.data, "outcome"))


def _verified(fact: Fact) -> str:
    names = ("commits_on_target", "trees_tested", "issues_closed")
    wrong = [name.replace("_", " ") for name in names if not flag_at(fact.data, name)]
    said = f"final verification: {'not so: ' + ', '.join(wrong) if wrong else 'all true'}"
    return because(said, text_at(fact.data, "why"))


def _attempt(fact: Fact) -> str:
    why = text_at(fact.data, "why")
    again = f" (because of: {why})" if why not in {"", "first"} else ""
    return f"attempt {fact.number} started{again}"


def _placed(fact: Fact) -> str:
    agent, isolation = text_at(fact.data, "agent") or "agent", text_at(fact.data, "isolation") or "unknown"
    return f"agent started: {agent}, isolation {isolation}"


def _agent(fact: Fact) -> str:
    problem = text_at(fact.data, "problem")
    if problem:
        return because("agent failed", problem)
    if text_at(fact.data, "ended") == "taken_over":
        return f"commits of others taken over: {changes_text(files_at(fact.data))}"
    if not text_at(fact.data, "commit"):
        # No failure yet: what an attempt before it made may go on.
        return "agent done: it changed nothing"
    return f"agent done: {changes_text(files_at(fact.data))}"


def _published(fact: Fact) -> str:
    pull, branch = text_at(fact.data, "pull_request"), text_at(fact.data, "branch")
    said = f"published {branch}" + (f" as pull request {pull}" if pull else "")
    return because(said, text_at(fact.data, "note"))


def _review(fact: Fact) -> str:
    found = counted(len(findings_at(fact.data)), "finding")
    if flag_at(fact.data, "ok"):
        return f"review passed: {found}"
    return because(f"review blocks ({found})", text_at(fact.data, "why"))


def _conflict(fact: Fact) -> str:
    return because("conflict with the target", ", ".join(texts_at(fact.data, "paths")))


def _checks(fact: Fact) -> str:
    if not flag_at(fact.data, "ok"):
        said = "checks red again, on the same tree" if flag_at(fact.data, "again") else "checks red"
        return because(said, text_at(fact.data, "why"))
    if flag_at(fact.data, "cached"):
        return "checks green (known for this tree)"
    return f"checks green in {_took(fact.data)}" if ran_checks(fact) else "no checks to pass"


def ran_checks(fact: Fact) -> bool:
    """Tell whether a `checks` fact is of commands that ran for it: it may be known, or there may be none to run."""
    return not flag_at(fact.data, "cached") and fact.data.get("commands") != []


def _took(data: Data) -> str:
    return lasting(number_at(data, "seconds"))


def _landed(fact: Fact) -> str:
    said = f"landed as {text_at(fact.data, 'commit')[:12]}: {changes_text(files_at(fact.data))}"
    behind = [note for note in texts_at(fact.data, "checkouts") if "pending" in note or "could not" in note]
    return "; ".join((said, *behind))


def _closed(fact: Fact) -> str:
    said = "issue closed" if flag_at(fact.data, "closed") else "issue is still open"
    return because(said, text_at(fact.data, "note"))


def _with_why(said: str) -> Callable[[Fact], str]:
    return lambda fact: because(said, text_at(fact.data, "why"))


def _by_person(said: str, *, key: str = "why") -> Callable[[Fact], str]:
    def say(fact: Fact) -> str:
        person = text_at(fact.data, "by")
        return because(f"{said} by {person}" if person else said, text_at(fact.data, key))

    return say


def _limited(fact: Fact) -> str:
    said = (
        f"no agent starts until {stamp(number_at(fact.data, 'until'))}: {text_at(fact.data, 'provider')} takes no calls"
    )
    return because(said, text_at(fact.data, "why"))


def _remark(fact: Fact) -> str:
    means = {"changes": "asks for changes", "approved": "approves"}.get(text_at(fact.data, "stand"), "says")
    where = f" on {text_at(fact.data, 'path')}" if text_at(fact.data, "path") else ""
    return because(f"{text_at(fact.data, 'author')} {means} on the pull request{where}", text_at(fact.data, "text"))


def _answered(fact: Fact) -> str:
    said = "allowed" if flag_at(fact.data, "ok") else "refused"
    return f"what it asked was {said} by {text_at(fact.data, 'by') or 'nobody'}"


_SAY: Mapping[str, Callable[[Fact], str]] = {
    "started": _started,
    "session": _session,
    "session_ended": _session_ended,
    "verified": _verified,
    "paused": _by_person("paused"),
    "resumed": _by_person("resumed"),
    "limited": _limited,
    "attempt": _attempt,
    "placed": _placed,
    "asked": lambda fact: because("its agent asks", text_at(fact.data, "what")),
    "answered": _answered,
    "said": _by_person("said", key="text"),
    "agent": _agent,
    "published": _published,
    "review": _review,
    "approval_asked": _with_why("waits for approval"),
    "queued": lambda _: "in the merge queue",
    "passed": lambda _: "the pull request is ready",
    "remark": _remark,
    "waiting": lambda fact: text_at(fact.data, "why"),
    "foreign": _with_why("checks of others"),
    "conflict": _conflict,
    "checks": _checks,
    "landed": _landed,
    "closed": _closed,
    "held": _with_why("held"),
    "failed": _with_why("failed"),
    "approved": _by_person("approved"),
    "rejected": _by_person("rejected"),
    "retry": _by_person("retry asked", key="text"),
    "cancelled": _by_person("cancelled"),
    "released": _by_person("released"),
}
