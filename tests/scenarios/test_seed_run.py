"""The seed run: research and design side by side, the implementation when its design has landed."""

import json
from collections.abc import Callable, Sequence

import pytest
from stage import Stage

AGENT = r'''
cat > /dev/null
case $LUMINAGUARD_ISSUE in
152)
  mkdir -p docs/architecture
  printf '# Cross-platform research\n\nVirtualization.framework on macOS, KVM on Linux.\n' \
    > docs/architecture/cross-platform-research.md
  git add -A; git commit -qm 'Compare the platforms' ;;
154)
  mkdir -p hypervisor tests
  echo '"""The platform-agnostic layer."""' > hypervisor/__init__.py
  printf '"""A virtual machine."""\n\n\nclass Backend:\n    """Starts machines."""\n\n    name = "none"\n' \
    > hypervisor/backend.py
  printf 'import unittest\n\nfrom hypervisor.backend import Backend\n\n\nclass Backends(unittest.TestCase):\n' \
    > tests/test_backend.py
  printf '    def test_a_backend_has_a_name(self):\n        self.assertEqual(Backend.name, "none")\n' \
    >> tests/test_backend.py
  git add -A; git commit -qm 'The layer' ;;
155)
  # The layer is there, because its design landed first.
  printf '"""The backend of macOS."""\n\nfrom hypervisor.backend import Backend\n\n\nclass Apple(Backend):\n' \
    > hypervisor/apple.py
  printf '    """Virtualization.framework."""\n\n    name = "apple"\n' >> hypervisor/apple.py ;;
esac
'''
LINT = """\
import pathlib, sys
bad = [str(path) for path in pathlib.Path(".").rglob("*.py") if not path.read_text().startswith(('"', "import"))]
sys.exit(f"no docstring: {bad}" if bad else 0)
"""
CHECKS = ("python3 -m compileall -q .", "python3 tools/lint.py", "python3 -m unittest discover -q -s tests -t .")
SETTINGS = """\
[agents.reviewer]
protocol = "replay"
script = "review.json"

[review]
agent = "reviewer"
"""


def review(*findings: str) -> list[dict[str, object]]:
    told = [{"severity": "low", "file": "README.md", "line": 1, "text": text} for text in findings]
    return [{"review": {"grade": "A", "findings": told}}]


@pytest.fixture
def seed(enclosed: Stage) -> Stage:
    enclosed.write(
        {
            "tools/lint.py": f'"""A lint."""\n{LINT}',
            "tests/__init__.py": '"""Tests."""\n',
            "tests/test_nothing.py": '"""No test yet."""\n\nimport unittest\n\n\n'
            "class Nothing(unittest.TestCase):\n    def test_it(self):\n        pass\n",
            "review.json": json.dumps(
                {
                    "152": review("name the version", "say which kernel", "one table would do"),
                    "154": review("a name may be empty", "Backend could be a protocol"),
                    "155": review("Apple has no test", "the framework needs a licence", "say since which macOS"),
                }
            ),
        }
    )
    enclosed.set_up(agent=AGENT, checks=CHECKS, settings=SETTINGS)
    enclosed.issue(
        "152", "Cross-Platform VM Research", "Write docs/architecture/cross-platform-research.md", kind="research"
    )
    enclosed.issue("154", "Platform-Agnostic VM Abstraction Layer", "A module hypervisor/backend.py", kind="design")
    enclosed.issue(
        "155", "Implement macOS VM Backend", "Depends on #154. Write hypervisor/apple.py", kind="implementation"
    )
    return enclosed


def held(stage: Stage) -> Callable[[], object]:
    """Let the agents of 152 and 154 begin their work when the test calls what this returns.

    Behind walls they see no file of the test's but the repository's objects. A guest takes long enough to begin.
    """
    if stage.vm_image is not None:
        return lambda: None
    word = stage.root.parent / "word"
    word.write_text("go on\n", encoding="utf-8")
    wait = f"until git cat-file -e {stage.git('hash-object', str(word))} 2> /dev/null; do sleep 0.02; done\n"
    stage.commit("Hold", {"tools/agent.sh": f"[ $LUMINAGUARD_ISSUE = 155 ] || {wait}{AGENT}"})
    return lambda: stage.git("hash-object", "-w", str(word))


def seqs(stage: Stage, *names: str) -> dict[str, int]:
    return {fact.subject: fact.seq for fact in stage.facts(None, *names)}


def lines_with(text: str, *words: str) -> Sequence[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_the_seed_run(seed: Stage) -> None:
    let_go = held(seed)
    began = seed.git("rev-parse", "main")
    session = seed.start()
    seed.wait_for_fact("152", "placed:1.1")
    seed.wait_for_fact("154", "placed:1.1")
    let_go()
    assert session.wait(timeout=seed.patience_s) == 0, seed.said(session)

    placed, done, landed = seqs(seed, "placed"), seqs(seed, "agent"), seqs(seed, "landed")
    # Side by side: both agents were started before either was done.
    assert max(placed["152"], placed["154"]) < min(done["152"], done["154"])
    assert placed["155"] > landed["154"]

    subjects = seed.subjects()[-3:]
    assert sorted(subjects) == [
        "docs: Cross-Platform VM Research (#152)",
        "feat: Implement macOS VM Backend (#155)",
        "feat: Platform-Agnostic VM Abstraction Layer (#154)",
    ]
    assert subjects.index("feat: Platform-Agnostic VM Abstraction Layer (#154)") < subjects.index(
        "feat: Implement macOS VM Backend (#155)"
    )
    for issue in ("152", "154", "155"):
        commit = str(seed.facts(issue, "landed")[0].data["commit"])
        assert seed.git("log", "-1", "--format=%B", commit).splitlines()[-1] == f"Closes #{issue}"
    seed.must_be_whole(landed=("152", "154", "155"))
    assert seed.git("rev-list", "--count", "--first-parent", f"{began}..main") == "3"
    assert "#154 Platform-Agnostic VM Abstraction Layer" in seed.prompt("155", 1)
    assert "has landed" not in seed.prompt("152", 1)


def test_the_seed_runs_report(seed: Stage) -> None:
    ran = seed.run()
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    told = seed.report()
    issues = {issue["id"]: issue for issue in told["issues"]}  # type: ignore[attr-defined]
    assert {issue["state"] for issue in issues.values()} == {"landed"}
    assert all(issue["closed"] and issue["pull_request"] and issue["attempts"] == 1 for issue in issues.values())
    assert [file["path"] for file in issues["152"]["files"]] == ["docs/architecture/cross-platform-research.md"]
    findings = [finding for issue in issues.values() for finding in issue["findings"]]
    assert (len(findings), {finding["severity"] for finding in findings}) == (8, {"low"})
    totals = told["totals"]
    assert isinstance(totals, dict)
    assert (totals["landed"], totals["agent_starts"], totals["conflicts"]) == (3, 3, 0)
    # One each before its review, and one more where another change has landed between that and its own landing.
    assert totals["check_runs"] in (3, 4, 5)
    assert totals["sequential_s"] >= totals["lower_bound_s"] > 0
    assert told["verified"] == {"commits_on_target": True, "trees_tested": True, "issues_closed": True}

    text = seed.say("report").stdout
    for issue, branch in (("152", "feature/issue-152"), ("154", "feature/issue-154"), ("155", "feature/issue-155")):
        assert lines_with(text, f"#{issue}", branch), text
    for heading in ("Timeline", "Findings", "Statistics", "verification"):
        assert heading.lower() in text.lower(), text
    assert "one table would do" in text
