"""What every gate does: a verdict for exactly one commit's tree, made behind real walls, and nothing left behind."""

import json
import os
import subprocess
from pathlib import Path

import anyio
import pytest

from luminaguard.agents.command import CommandAgent
from luminaguard.gates.base import Gate, Subject
from luminaguard.gates.checks import TAIL_BYTES, Checks
from luminaguard.gates.review import Review
from luminaguard.host.git import Git, find_repository
from luminaguard.host.limits import Limits
from luminaguard.model.faults import Transient
from luminaguard.model.ids import IssueId, Oid
from luminaguard.model.issue import Issue
from luminaguard.model.work import Severity, Verdict
from luminaguard.sandboxes.namespace import Namespace
from luminaguard.workspaces.overlay import OverlayWorkspaces

MIB = 1024 * 1024
LIMITS = Limits(tmp_bytes=64 * MIB)


class Place:
    """A repository with one change, and gates for it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repo"
        self.folder = folder / "gates"
        subprocess.run(("git", "init", "-q", "-b", "main", str(self.root)), check=True)
        self.base = self.commit("first", {"told.txt": "old\n"})
        self.change = self.commit("second", {"told.txt": "new\n"})
        self.places = find_repository(self.root)
        self.sandbox = Namespace(self.places.state)
        if (why := self.sandbox.overlay_missing()) is not None:
            pytest.skip(f"no overlays in namespaces: {why}")
        self.workspaces = OverlayWorkspaces(git=Git(self.root), places=self.places, sandbox=self.sandbox)

    def commit(self, message: str, files: dict[str, str]) -> Oid:
        for name, content in files.items():
            (self.root / name).write_text(content, encoding="utf-8")
        who = ("-c", "user.name=n", "-c", "user.email=e@x")
        subprocess.run(("git", "-C", str(self.root), "add", "-A"), check=True)
        subprocess.run(("git", "-C", str(self.root), *who, "commit", "-q", "-m", message), check=True)
        ran = subprocess.run(("git", "-C", str(self.root), "rev-parse", "HEAD"), capture_output=True, check=True)
        return Oid(ran.stdout.decode().strip())

    def checks(self, *commands: str, timeout_s: float = 60.0) -> Checks:
        return Checks(
            commands=commands,
            timeout_s=timeout_s,
            workspaces=self.workspaces,
            sandbox=self.sandbox,
            limits=LIMITS,
            folder=self.folder,
        )

    def review(self, script: str, *, block_at: Severity = Severity.HIGH) -> Review:
        return Review(
            agent=CommandAgent(name="reviewer", argv=("sh", "-c", script)),
            block_at=block_at,
            timeout_s=60.0,
            workspaces=self.workspaces,
            sandbox=self.sandbox,
            limits=LIMITS,
            git=Git(self.root),
            folder=self.folder,
        )

    def ask(self, gate: Gate, *, issue: str = "1", commit: Oid | None = None, body: str = "Please.") -> Verdict:
        about = Issue(id=IssueId(issue), title="Do it", body=body)
        return anyio.run(gate.judge, Subject(issue=about, commit=commit or self.change, base=self.base))

    def left(self) -> list[str]:
        return [path.name for path in (self.places.state / "workspaces").glob("*")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def said(*findings: dict[str, object]) -> str:
    return f"cat >/dev/null; echo '{json.dumps({'grade': 'B', 'findings': list(findings)})}'"


BAD = {"severity": "high", "file": "told.txt", "line": 1, "text": "it is wrong"}


@pytest.mark.parametrize("kind", ["checks", "review"])
def test_gate_judges_the_commits_own_tree_and_leaves_nothing(place: Place, kind: str) -> None:
    (place.root / "told.txt").write_text("the user's own words", encoding="utf-8")
    look = 'test "$(cat told.txt)" = new'
    gate: Gate = place.checks(look) if kind == "checks" else place.review(f"{look} && {said()}")
    assert gate.missing() is None
    assert place.ask(gate).ok
    assert place.left() == []


@pytest.mark.parametrize("issue", ["a/b", "with space", "BACK-1.2", "ünï"])
@pytest.mark.parametrize("kind", ["checks", "review"])
def test_gate_takes_every_issues_id(place: Place, kind: str, issue: str) -> None:
    gate: Gate = place.checks("true") if kind == "checks" else place.review(said())
    assert place.ask(gate, issue=issue).ok


# Checks.


def test_green_checks_say_what_ran(place: Place) -> None:
    verdict = place.ask(place.checks("echo one", "echo two"))
    assert (verdict.ok, verdict.why) == (True, "all checks passed")
    assert [(it.command, it.exit_code, it.tail) for it in verdict.commands] == [
        ("echo one", 0, "one\n"),
        ("echo two", 0, "two\n"),
    ]


def test_checks_stop_at_the_first_red_one_and_tell_its_words(place: Place) -> None:
    verdict = place.ask(place.checks("true", "echo told; echo why >&2; exit 3", "true"))
    assert (verdict.ok, verdict.why) == (False, "`echo told; echo why >&2; exit 3` ended with exit code 3")
    assert sorted(verdict.log.split()) == ["told", "why"]
    assert [it.exit_code for it in verdict.commands] == [0, 3]


def test_command_that_is_not_there_is_red_and_told(place: Place) -> None:
    verdict = place.ask(place.checks("no-such-command --now"))
    assert (verdict.ok, verdict.commands[0].exit_code) == (False, 127)
    assert "not found" in verdict.log


def test_check_that_does_not_end_is_stopped_and_red(place: Place) -> None:
    verdict = place.ask(place.checks("sleep 1000", timeout_s=1.0))
    assert (verdict.ok, verdict.why) == (False, "`sleep 1000` was stopped after 1 s")


def test_flood_of_words_is_cut_to_its_end(place: Place) -> None:
    verdict = place.ask(place.checks("yes | head -c 3000000; echo the end; exit 1"))
    assert len(verdict.log) <= TAIL_BYTES
    assert verdict.log.endswith("the end\n")


def test_words_that_are_no_text_are_told_all_the_same(place: Place) -> None:
    assert "�" in place.ask(place.checks(r"printf '\377\376'; exit 1")).log


def test_later_checks_see_what_earlier_ones_made_and_the_next_judgement_does_not(place: Place) -> None:
    gate = place.checks("test ! -e built && touch built", "test -e built")
    assert place.ask(gate).ok
    assert place.ask(gate).ok


def test_checks_see_neither_network_nor_secrets(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush")
    verdict = place.ask(
        place.checks('test -z "$MY_TOKEN"', 'test "$(ls /sys/class/net 2>/dev/null | grep -vc lo)" = 0')
    )
    assert verdict.ok, verdict.why


def test_fingerprint_tells_other_commands_and_times_apart(place: Place) -> None:
    prints = {
        place.checks(*commands, timeout_s=timeout).fingerprint
        for commands, timeout in ((("a", "b"), 1.0), (("a b",), 1.0), (("b", "a"), 1.0), (("a", "b"), 2.0))
    }
    assert len(prints) == 4
    assert place.checks("a").fingerprint == place.checks("a").fingerprint


def test_no_commands_are_nothing_to_ask(place: Place) -> None:
    why = place.checks().missing()
    assert why is not None
    assert "[checks]" in why


# Review.


def test_reviewer_is_given_issue_and_diff(place: Place) -> None:
    look = (
        'cat > p; grep -q "Please do" p && grep -q -- "-old" p && grep -q "+new" p && cmp p "$LUMINAGUARD_PROMPT_FILE"'
    )
    verdict = place.ask(place.review(f"{look} && {said()}"), body="Please do\ud800 it")
    assert (verdict.ok, verdict.why) == (True, "0 findings, 0 at or above high")


def test_finding_at_the_bar_holds_the_change_and_is_told(place: Place) -> None:
    verdict = place.ask(place.review(said(BAD, {**BAD, "severity": "low"})))
    assert (verdict.ok, verdict.why) == (False, "2 findings, 1 at or above high")
    assert verdict.log == "told.txt:1: high: it is wrong"
    assert len(verdict.findings) == 2


def test_finding_below_the_bar_does_not_hold_it(place: Place) -> None:
    assert place.ask(place.review(said(BAD), block_at=Severity.CRITICAL)).ok


def test_unreadable_answer_is_asked_for_once_more_and_blames_nobody(place: Place) -> None:
    with pytest.raises(Transient, match="no readable answer, 2 times"):
        place.ask(place.review("echo I like it"))
    assert place.left() == []


def test_reviewer_that_ends_badly_after_its_answer_has_answered(place: Place) -> None:
    assert place.ask(place.review(f"{said()}; exit 9")).ok


def test_what_a_reviewer_writes_reaches_nothing(place: Place) -> None:
    before = sorted(os.listdir(place.root))  # noqa: PTH208
    place.ask(place.review(f"echo evil > told.txt; git commit -qam evil; {said()}"))
    assert sorted(os.listdir(place.root)) == before  # noqa: PTH208
    assert (place.root / "told.txt").read_text() == "new\n"
