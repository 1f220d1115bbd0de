"""A real project that we did not write, with its own test suite as the gate: six issues, of which four may land."""

import subprocess
import sys
from pathlib import Path

import pytest
from stage import Stage, skip_or_fail

REQUIREMENTS = Path(__file__).parents[2] / "requirements/sdists.txt"
SUITE = "PYTHONPATH=src python -m pytest -q -x -p no:cacheprovider testing"
# 1 and 2 want the same line, so the one that lands second gets the conflict back and resolves it; 3 breaks the suite
# whatever it tries; 4 does nothing; 5 needs 1; 6 needs 5 and 2.
AGENT = r"""
prompt=$(cat)
set -e
init=src/pluggy/__init__.py
case $LUMINAGUARD_ISSUE in
1 | 2)
  if [ "$LUMINAGUARD_ATTEMPT" = 1 ]; then
    sed -i "s/^__version__.*\|^from ._version.*/&  # seen by issue $LUMINAGUARD_ISSUE/" $init
  else
    printf '%s' "$prompt" | grep -q 'conflicts with it'
    python - "$init" <<'END'
import re, sys
path = sys.argv[1]
text = open(path).read()
# Both intents, whatever came first.
text = re.sub(r"<{7}[^\n]*\n(.*?)(?:\|{7}[^\n]*\n.*?)?={7}\n.*?>{7}[^\n]*\n", r"\1", text, flags=re.S)
text = re.sub(r"  # seen by issue \d", "  # seen by issues 1 and 2", text)
open(path, "w").write(text)
END
  fi ;;
3) echo 'raise RuntimeError("broken")' >> src/pluggy/_callers.py ;;
4) echo 'There is nothing to do here.' ;;
5)
  printf 'import pluggy\n\n\ndef test_a_manager_knows_its_project() -> None:\n' > testing/test_of_ours.py
  printf '    assert pluggy.PluginManager("ours").project_name == "ours"\n' >> testing/test_of_ours.py
  git add -A; git commit -qm 'Test the name' ;;
6)
  test -e testing/test_of_ours.py
  printf '\nPlugins, and how they are tested here.\n' >> README.rst ;;
esac
"""


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's source distribution, by its hash."""
    folder = tmp_path_factory.mktemp("sdist")
    download = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "pluggy", "--quiet")
    ran = subprocess.run(
        (*download, "--require-hashes", "-r", str(REQUIREMENTS), "-d", str(folder)),
        text=True,
        capture_output=True,
        check=False,
        timeout=240,
    )
    found = list(folder.glob("*.tar.gz"))
    if ran.returncode != 0 or not found:
        skip_or_fail(f"the source of pluggy cannot be downloaded: {ran.stderr.strip()[-400:]}")
    return found[0]


@pytest.fixture
def project(walled: Stage, sdist: Path) -> Stage:
    # The program, not tarfile: Python before 3.11.4 has no filters.
    (walled.root.parent / "sdist").mkdir()
    subprocess.run(["tar", "-xzf", str(sdist), "-C", str(walled.root.parent / "sdist")], check=True)
    (unpacked,) = (walled.root.parent / "sdist").iterdir()
    for entry in unpacked.iterdir():
        target = walled.root / entry.name
        if target.exists():
            target.unlink()
        entry.rename(target)
    walled.commit("pluggy as it is", {".gitignore": "__pycache__/\n*.egg-info/\n"})
    walled.set_up(agent=AGENT, checks=(SUITE,))
    walled.issue("1", "Say in __init__ that issue 1 saw it", "Change `src/pluggy/__init__.py`")
    walled.issue("2", "Say in __init__ that issue 2 saw it", "Change `src/pluggy/__init__.py`")
    walled.issue("3", "Make calls faster", "Change `src/pluggy/_callers.py`")
    walled.issue("4", "Think about it")
    walled.issue("5", "Test the project's name", "Depends on #1")
    walled.issue("6", "Describe the tests", "Depends on #5 and #2", kind="docs")
    return walled


@pytest.mark.timeout(1800)
def test_a_real_project(project: Stage) -> None:
    began = project.git("rev-parse", "main")
    ran = project.run("--attempts", "2")
    told = project.issues_told()
    assert ran.returncode == 1, ran
    assert {issue: it["state"] for issue, it in told.items()} == {
        "1": "landed",
        "2": "landed",
        "3": "held",
        "4": "failed",
        "5": "landed",
        "6": "landed",
    }, ran.stdout
    project.must_be_whole(landed=["1", "2", "5", "6"])

    assert len(project.facts(None, "conflict")) == 1
    assert sorted(len(project.facts(issue, "attempt")) for issue in ("1", "2")) == [1, 2]
    assert "# seen by issues 1 and 2" in project.show("src/pluggy/__init__.py")
    assert "broken" not in project.show("src/pluggy/_callers.py")
    assert "broken" in project.show("src/pluggy/_callers.py", "feature/issue-3")
    assert "tried 2 times" in str(told["3"]["why"])
    assert "RuntimeError: broken" in project.prompt("3", 2)
    assert "nothing changed" in str(told["4"]["why"])
    every_landed_commit_passes(project, began)


def every_landed_commit_passes(project: Stage, began: str) -> None:
    """Check every commit of the first-parent history out afresh, outside, and run the suite on it."""
    commits = project.git("rev-list", "--first-parent", "--reverse", f"{began}..main").splitlines()
    assert len(commits) == 4
    for commit in commits:
        folder = project.root.parent / "fresh" / commit
        folder.mkdir(parents=True)
        archive = folder.parent / f"{commit}.tar"
        project.git("archive", "--output", str(archive), commit)
        subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
        ran = subprocess.run(
            ("sh", "-c", SUITE), cwd=folder, env=project.env, text=True, capture_output=True, check=False, timeout=240
        )
        assert ran.returncode == 0, ran.stdout
