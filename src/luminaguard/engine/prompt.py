"""What an agent is told for one attempt: the task, the rules, the issue behind a fence, what went wrong before.

The words stand in `prompt.md`, where a user may have others: `$issue` and the like are filled in, each a paragraph or
nothing at all.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from luminaguard.model.faults import UserFault
from luminaguard.model.fence import fenced
from luminaguard.model.issue import Issue

NEEDED = ("issue",)
NAMES = ("branch", "target", "tools", "checks", "rules", "around", "issue", "begun", "history", "words")
NEXT = {
    "retry": "An earlier attempt did not succeed. What happened:",
    "limited": "An earlier attempt was cut short by a limit of the model's provider. The end of its log:",
    "conflict": "{target} has moved and your change conflicts with it. The merge is under way in your working folder, "
    "with conflict markers in the files: resolve them so that both intents hold, then commit. What conflicts, and "
    "what the other side wanted:",
    "checks": "Your change was merged with {target} and the checks failed. Your commits are in the branch; mend them. "
    "The log:",
    "review": "A review found what must be mended before this can land. Your commits are in the branch. The findings:",
    "remarks": "People asked for changes on the pull request. Your commits are in the branch; do what is asked, as far "
    "as it serves the issue. What they say:",
    "person": "A person asks you to try again. Your earlier commits, if any, are in the branch. They say:",
}
BEGUN = "The branch has earlier work on this issue. Go on from it; if it is complete, leave it as it is."


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What stands around an issue, as titles: what it needs and has landed, what else landed meanwhile, what waits."""

    landed: Sequence[str] = ()
    since: Sequence[str] = ()
    waiting: Sequence[str] = ()


@functools.cache
def default_template() -> str:
    """Read the prompt that comes with us."""
    return (Path(__file__).parent / "prompt.md").read_text(encoding="utf-8")


def checked_template(text: str, *, path: str) -> str:
    """Give a user's template back where it can be filled in.

    Raises:
        UserFault: it names something that does not exist, has a stray "$", or leaves the issue out.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        template = Template(line)
        wrong = [name for name in template.get_identifiers() if name not in NAMES]
        if wrong or not template.is_valid():
            what = f"'${wrong[0]}'" if wrong else "a '$' that stands for nothing"
            known = ", ".join(f"${name}" for name in NAMES)
            raise UserFault(f"{path}:{number}: the prompt has {what}", hint=f"known are {known}; write $$ for a dollar")
    missing = [name for name in NEEDED if name not in Template(text).get_identifiers()]
    if missing:
        raise UserFault(f"{path}: the prompt has no ${missing[0]}", hint="put it where the issue's text shall stand")
    return text


def prompt_for(
    issue: Issue,
    *,
    branch: str,
    target: str,
    checks: Sequence[str],
    why: str,
    feedback: str,
    is_begun: bool,
    around: Around | None = None,
    rules: str = "",
    tools: str = "",
    words: Sequence[str] = (),
    template: str | None = None,
) -> str:
    """Write the prompt of an attempt.

    Args:
        issue: what is asked.
        branch: the branch that the workspace is on.
        target: the branch that the work will land on.
        checks: the commands that judge it.
        why: "first", or what makes another attempt necessary (a key of `NEXT`).
        feedback: logs, hunks or a person's words; untrusted like all that comes from outside.
        is_begun: the branch has commits of earlier work already.
        around: what stands around the issue.
        rules: what the repository itself says to agents.
        tools: what else can be done from where it works.
        words: what a person has said meanwhile.
        template: the words to fill in; None takes those that come with us.
    """
    history = f"{NEXT[why].format(target=target)}\n\n{fenced('log', feedback)}" if why in NEXT else ""
    filled = Template(template or default_template()).substitute(
        branch=branch,
        target=target,
        tools=tools,
        checks="\n".join(f"- {check}" for check in checks) or "- (none are configured: a person will look)",
        rules=f"The repository's own rules for agents:\n\n{rules.strip()}" if rules.strip() else "",
        around=_around(around or Around(), target),
        issue=fenced("issue", f"# {issue.title} (#{issue.id})\n\n{issue.body}"),
        begun=BEGUN if is_begun and why == "first" else "",
        history=history,
        words="A person says to you:\n\n" + "\n\n".join(words) if words else "",
    )
    return re.sub(r"\n{3,}", "\n\n", filled)


def _around(around: Around, target: str) -> str:
    said = (
        ("What it depends on has landed:", around.landed),
        (f"Also landed on {target} since your last attempt:", around.since),
        ("These issues wait for this one and will build on it:", around.waiting),
    )
    return "\n\n".join(f"{head}\n{_titles(titles)}" for head, titles in said if titles)


def _titles(titles: Sequence[str]) -> str:
    return fenced("titles", "\n".join(f"- {' '.join(title.split())[:200]}" for title in titles))
