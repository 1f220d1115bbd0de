import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from luminaguard.model.plan import Plan
from luminaguard.reports.plan_script import plan_script
from luminaguard.reports.plan_text import plan_markdown, plan_mermaid, plan_table
from luminaguard.reports.wording import columns

PlanOf = Callable[[dict[str, str]], Plan]
SEED = {"154": "Platform-Agnostic VM Abstraction Layer", "155": "Implement macOS VM Backend"}
GIT = {
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
}


def shell(script: str, *arguments: str, cwd: Path, typed: str = "") -> str:
    sh = shutil.which("sh")
    assert sh is not None
    done = subprocess.run(
        [sh, *arguments],
        input=typed if arguments else script,
        cwd=cwd,
        env=GIT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_plan_table_groups_issues_by_wave_and_says_why(plan_of: PlanOf) -> None:
    text = plan_table(plan_of(SEED), width=100)
    assert text.startswith("2 issues in 2 waves, from 111111111111\n")
    assert re.search(r"Wave 1\n  #154  Platform-Agnostic VM .*design +45 min 00 s  medium  everything\n", text)
    assert "Order\n  #154 before #155: says 'Implement macOS VM Backend'\n" in text
    assert "#154 and #155 may both change src/a.py (40%)" in text
    assert "1 h 30 min with 2 slots; lower bound 1 h 23 min; one after the other 2 h 30 min" in text
    assert "#9 is not known (b.md:3)" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_plan_table_is_as_wide_as_said(plan_of: PlanOf, hostile: str, width: int) -> None:
    text = plan_table(plan_of({"1": hostile, "2": hostile}), width=width)
    assert all(columns(line) <= width for line in text.splitlines())
    assert not any(ord(char) < 32 for char in text if char != "\n")


def test_plan_markdown_has_graph_and_checklists(plan_of: PlanOf) -> None:
    text = plan_markdown(plan_of(SEED), target="main", checks=["make test"])
    assert "```mermaid\nflowchart LR\n" in text
    assert text.count("- [ ] Checks pass: make test\n") == 2
    assert "| #155 | high | Implement macOS VM Backend | the whole suite runs |" in text


def test_plan_markdown_keeps_its_cells_whatever_is_written_in_it(plan_of: PlanOf, hostile: str) -> None:
    text = plan_markdown(plan_of({"1": hostile, "2": "harmless"}))
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in block.splitlines()}) == 1, block
    assert text.count("```") == 2


def test_mermaid_draws_a_subgraph_for_each_wave(plan_of: PlanOf) -> None:
    assert plan_mermaid(plan_of(SEED)) == (
        "flowchart LR\n"
        '  subgraph wave1["Wave 1"]\n'
        '    n0_154["#35;154 Platform-Agnostic VM Abstraction Layer"]\n'
        "  end\n"
        '  subgraph wave2["Wave 2"]\n'
        '    n1_155["#35;155 Implement macOS VM Backend"]\n'
        "  end\n"
        "  n0_154 --> n1_155\n"
    )


def test_mermaid_has_only_our_lines_whatever_is_written_in_them(plan_of: PlanOf, hostile: str) -> None:
    shapes = (
        r"flowchart LR",
        r'  subgraph wave\d+\["Wave \d+"\]',
        r'    n\d+_\w*\["[^"<>`\[\]]*"\]',
        r"  end",
        r"  n\d+_\w* --> n\d+_\w*",
    )
    for line in plan_mermaid(plan_of({'a"]': hostile, "a_": hostile, "end": "x"})).splitlines():
        assert any(re.fullmatch(shape, line) for shape in shapes), line


def test_empty_plan_can_be_shown(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of({})
    assert plan_table(plan, width=80).startswith("0 issues in 0 waves")
    assert plan_mermaid(plan) == "flowchart LR\n"
    assert "# Plan" in plan_markdown(plan)
    shell(plan_script(plan, target="main", checks=[]), "-n", cwd=tmp_path)


@pytest.mark.parametrize("checks", [["make test"], ["echo 'open"], ["if true"], ["a && b\nc", ""]])
def test_sh_accepts_the_script_whatever_is_written_in_it(
    plan_of: PlanOf, hostile: str, checks: list[str], tmp_path: Path
) -> None:
    script = plan_script(plan_of({"1": hostile, f"x{hostile}": hostile}), target="main", checks=checks)
    file = tmp_path / "plan.sh"
    file.write_text(script)
    shell(script, "-n", str(file), cwd=tmp_path)


def test_script_says_what_a_person_has_to_type(plan_of: PlanOf) -> None:
    script = plan_script(plan_of(SEED), target="main", checks=["make test"])
    assert "git worktree add ../wt-154 -b feature/issue-154 main\n" in script
    assert "  make test\n" in script
    assert "-m 'feat: Platform-Agnostic VM Abstraction Layer (#154)' -m 'Closes #154'\n" in script
    assert "# [ ] Checks pass: make test\n" in script
    assert script.index("git merge --no-ff feature/issue-154") < script.index("git worktree add ../wt-155")


def test_script_lands_work_on_the_target_and_runs_nothing_that_an_issue_says(
    plan_of: PlanOf, hostile: str, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    shell("git init -q -b main . && git commit -q --allow-empty -m base", cwd=repository)
    # The check stands in for the person too: the script commits before it checks, so the next issue brings the file.
    script = plan_script(plan_of({"1": hostile, "2": "second"}), target="main", checks=["echo work | tee made >seen"])
    file = tmp_path / "plan.sh"
    file.write_text(script.replace("  git add -A", '  echo work >made-$(basename "$PWD")\n  git add -A'))
    shell("", str(file), cwd=repository, typed="\n\n")
    landed = shell("git log --first-parent --format=%s%n%b main", cwd=repository)
    assert "Closes #1\n" in landed
    assert "feat: second (#2)" in landed
    assert not list(tmp_path.rglob("owned"))
