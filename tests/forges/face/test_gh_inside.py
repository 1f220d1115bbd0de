"""The unmodified `gh` in the hands of an agent behind walls: what it may at its repository's forge, and what never."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from face_ground import BIN, Running, commit, git, running_at, work_on

from luminaguard.forges.base import PullDraft
from luminaguard.forges.face.tokens import Tokens
from luminaguard.forges.store import TrackerStore
from luminaguard.model.ids import IssueId, Oid
from luminaguard.sandboxes.namespace import Namespace

pytestmark = pytest.mark.timeout(900)  # whole runs of the command

# Each line of the result: what was tried, the exit code, and what was said.
AGENT = r"""
out="result_$LUMINAGUARD_ISSUE.txt"
try() {
  name=$1; shift
  said=$("$@" 2>&1); code=$?
  printf '%s\t%s\t%s\n' "$name" "$code" "$(printf %s "$said" | tr '\n\t' '  ')" >> "$out"
}
node() { gh api graphql -f query='query($n:Int!){repository(owner:"ann",name:"demo"){issue(number:$n){id}}}' \
  -F n="$1" -q .data.repository.issue.id; }
mutate() { gh api graphql -f query="mutation { $1 { clientMutationId } }"; }
try list gh issue list --state all --json number,title
try view gh issue view 2 --comments
try own gh issue comment "$LUMINAGUARD_ISSUE" -b "I am at it. fixes #2, @octocat /close"
try own-again gh issue comment "$LUMINAGUARD_ISSUE" -b "I am at it. fixes #2, @octocat /close"
try other gh issue comment 2 -b "not mine"
try close gh issue close "$LUMINAGUARD_ISSUE"
try edit gh issue edit "$LUMINAGUARD_ISSUE" --title "Something else"
try create gh issue create -t new -b new
try merge gh pr merge 3 --squash
try delete gh api -X DELETE repos/ann/demo/git/refs/heads/main
try label gh api -X POST repos/ann/demo/issues/2/labels -f 'labels[]=x'
own=$(node "$LUMINAGUARD_ISSUE"); other=$(node 2)
try node test -n "$own" -a -n "$other"
try mutate-close mutate "closeIssue(input: {issueId: \"$own\"})"
try mutate-other mutate "addComment(input: {subjectId: \"$other\", body: \"x\"})"
try mutate-issue mutate "updateIssue(input: {id: \"$own\", body: \"x\"})"
try rest python3 -c '
import json, os, urllib.request
asked = urllib.request.Request(os.environ["GITHUB_API_URL"] + "/repos/ann/demo/issues/2")
asked.add_header("Authorization", "Bearer " + os.environ["LUMINAGUARD_FORGE_TOKEN"])
said = json.load(urllib.request.urlopen(asked, timeout=240))
print(said["title"], said["url"])'
try without curl -s -o /dev/null -w '%{http_code}' "$GITHUB_API_URL/user"
try git git ls-remote "$(echo "$GITHUB_API_URL" | sed 's,/api/v3,,')/ann/demo.git"
try network gh api --hostname github.com user
"""
SETTINGS = """
[run]
agent = "mine"
isolation = "namespace"
[agents.mine]
protocol = "command"
argv = ["sh", "tools/agent.sh"]
[checks]
run = ["test -f README.md"]
[gateway]
forge = true
"""
ALLOWED = ("list", "view", "own", "own-again", "node", "rest")
REFUSED = (
    "other",
    "close",
    "edit",
    "create",
    "merge",
    "delete",
    "label",
    "mutate-close",
    "mutate-other",
    "mutate-issue",
)


@pytest.fixture
def walls(tmp_path: Path) -> None:
    if (why := Namespace(tmp_path / "walls").missing()) is not None:
        pytest.skip(f"isolation 'namespace' does not work here: {why}")


COMMAND = (sys.executable, "-W", "error", "-m", "luminaguard")


def environment(**env: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GH_", "GITHUB_"))}
    path = f"{BIN}{os.pathsep}/usr/bin{os.pathsep}/bin"  # gh lies in the first; what is on PATH is seen inside
    return {**kept, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, **env}


def luminaguard(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(**env),
        text=True,
        capture_output=True,
        check=False,
        timeout=800,
    )


def results(folder: Path, issue: str) -> dict[str, tuple[int, str]]:
    said = git(folder, "show", f"main:result_{issue}.txt").stdout
    lines = (line.split("\t", 2) for line in said.splitlines())
    return {name: (int(code), words) for name, code, words in lines}


@pytest.mark.usefixtures("walls")
def test_gh_reads_everything_inside_comments_on_its_own_issue_and_changes_nothing_else(project: Path) -> None:
    store = TrackerStore(project / ".git/luminaguard/tracker.db", who="Ann")
    for title in ("Mine", "Another"):
        store.add(title, body="Do it.", author="Ann")
    store.comment("2", "a word of a person's", author="Ann")
    (project / "tools").mkdir()
    head = work_on(project, "topic", "f", "1")
    draft = PullDraft(branch="topic", head=Oid(head), target="main", issue=IssueId("2"), title="Topic", body="")
    assert store.open_pull(draft).id == "3"
    commit(project, "tools/agent.sh", AGENT)
    commit(project, "luminaguard.toml", SETTINGS)
    ran = luminaguard(project, "run", "1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    got = results(project, "1")
    assert [name for name in ALLOWED if got[name][0] != 0] == [], got
    assert [it["number"] for it in json.loads(got["list"][1])] == [2, 1]
    assert "a word of a person's" in got["view"][1]
    assert got["rest"][1].startswith("Another http://127.0.0.1:8470/forge/api/v3/repos/ann/demo/issues/2")
    assert got["without"] == (0, "401")
    assert [name for name in (*REFUSED, "git", "network") if got[name][0] == 0] == [], got
    assert [name for name in REFUSED if "not accessible by this token" not in got[name][1]] == [], got
    said = [(it.author, it.text) for it in store.comments("1") if it.author.startswith("agent-")]
    assert said == [("agent-1[bot]", "I am at it. fixes #2, @octocat /close")] * 2
    assert len(store.comments("2")) == 1
    assert [(it.id, it.title, it.state.value) for it in store.issues()] == [
        ("1", "Mine", "closed"),  # by the landing
        ("2", "Another", "open"),
    ]


@pytest.mark.usefixtures("walls")
def test_the_token_of_an_attempt_is_worth_nothing_after_it(project: Path) -> None:
    store = TrackerStore(project / ".git/luminaguard/tracker.db", who="Ann")
    store.add("Mine", body="Do it.", author="Ann")
    (project / "tools").mkdir()
    commit(project, "tools/agent.sh", 'gh issue view 1 > seen.txt; echo "$GH_TOKEN" > token.txt')
    commit(project, "luminaguard.toml", SETTINGS)
    ran = luminaguard(project, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    token = git(project, "show", "main:token.txt").stdout.strip()
    assert token.startswith("lgf_")
    state = project / ".git/luminaguard"
    assert Tokens(state / "forge").holder(token) is None
    files = [path for path in state.rglob("*") if path.is_file() and path.suffix != ".lives"]
    in_state = {path.name for path in files if token.encode() in path.read_bytes()}
    assert in_state <= {"spec.json"}, "in what the shim was told, as the whole environment; in no journal and no log"


# A file that was not written since the token was made does not hold it: the toolchain is left out by that.
HUNT = r"""
{ env; cat /proc/*/environ 2>/dev/null | tr '\0' '\n'
  find / \( -path /proc -o -path /sys -o -path /usr \) -prune -o -type f -mmin -10 -readable -exec cat {} + 2>/dev/null
} | grep -aoE 'lgf_[A-Za-z0-9_-]{20,}' | sort -u > found.txt
echo "$GH_TOKEN" > own.txt
"""
ELSEWHERE = """
[backlog]
source = "github"
repository = "ann/demo"
base_url = "{url}/api/v3"
"""


@pytest.mark.usefixtures("walls")
def test_before_a_real_forge_no_agent_sees_its_token_and_a_comment_arrives_once(
    running: Running, tmp_path: Path
) -> None:
    """A face in another process plays GitHub; what the agent meets is the face of its own run."""
    there = TrackerStore(running.folder / ".git/luminaguard/tracker.db")
    for title in ("Mine", "Another"):
        there.add(title, body="Do it.", author="ann")
    there.comment("2", "a word of a person's", author="ann")
    (running.folder / "tools").mkdir()
    commit(running.folder, "tools/agent.sh", AGENT + HUNT)
    clone = tmp_path / "clone"
    header = f"http.extraHeader=Authorization: Bearer {running.token}"
    git(tmp_path, "-c", header, "clone", "-q", f"{running.url}/ann/demo.git", str(clone))
    for name, value in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        git(clone, "config", name, value)
    (clone / "luminaguard.toml").write_text(ELSEWHERE.format(url=running.url) + SETTINGS)
    (clone / ".git/info/exclude").write_text("luminaguard.toml\n")
    ran = luminaguard(clone, "run", "1", GITHUB_TOKEN=running.token)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    git(clone, "fetch", "-q", "--all", check=False)
    found = set(git(clone, "show", "main:found.txt").stdout.split())
    assert found == {git(clone, "show", "main:own.txt").stdout.strip()}
    assert running.token not in found
    got = results(clone, "1")
    assert [name for name in ALLOWED if got[name][0] != 0] == [], got
    assert "a word of a person's" in got["view"][1]
    assert [name for name in (*REFUSED, "git", "network") if got[name][0] == 0] == [], got
    said = [it.text for it in there.comments("1") if "The agent that works" in it.text]
    assert len(said) == 1
    assert said[0].startswith(
        "The agent that works on this issue says:\n\n> I am at it. fixes #\u200b2, @\u200boctocat /close\n"
    )
    assert len(there.comments("2")) == 1
    assert [it.state.value for it in there.issues()] == ["closed", "open"]


OUTLIVING = r"""
until gh api user -q .login; do sleep 0.05; done
echo first
until gh api user 2>&1 | grep "does not run now"; do sleep 0.05; done
echo away
until gh api user -q .login; do sleep 0.05; done
echo back > back.txt
"""


def wait_for(log_of: Path, word: str) -> None:
    until = time.monotonic() + 240
    while not any(word in log.read_text().split() for log in log_of.glob("attempts/*/1/1.*/log")):
        assert time.monotonic() < until, [word, *(log.read_text() for log in log_of.glob("attempts/*/1/1.*/log"))]
        time.sleep(0.02)


@pytest.mark.usefixtures("walls")
def test_an_agent_that_outlives_its_run_is_told_so_and_goes_on_with_its_token_in_the_next(
    project: Path, tmp_path: Path
) -> None:
    TrackerStore(project / ".git/luminaguard/tracker.db", who="Ann").add("Mine", body="Do it.", author="Ann")
    (project / "tools").mkdir()
    commit(project, "tools/agent.sh", OUTLIVING)
    commit(project, "luminaguard.toml", SETTINGS)
    state = project / ".git/luminaguard"
    with (tmp_path / "log").open("w") as log:
        session = subprocess.Popen([*COMMAND, "run"], cwd=project, env=environment(), stdout=log, stderr=log)
        wait_for(state, "first")
        session.send_signal(signal.SIGINT)
        assert session.wait(240) == 130, (tmp_path / "log").read_text()
    (token,) = state.glob("attempts/*/1/1.forge-token")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    wait_for(state, "away")
    ran = luminaguard(project, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert git(project, "show", "main:back.txt").stdout == "back\n"
    assert len(list(state.glob("attempts/*/1/1.*/log"))) == 1, "it was attached to, not started again"
    assert not token.exists()


def test_without_the_packages_of_a_server_it_is_said_what_to_install(project: Path) -> None:
    TrackerStore(project / ".git/luminaguard/tracker.db", who="Ann").add("Mine", author="Ann")
    commit(project, "luminaguard.toml", SETTINGS.replace('"namespace"', '"none"'))
    hidden = "import sys; sys.modules['graphql'] = None; from luminaguard.ui.cli.main import main; sys.exit(main())"
    argv = [sys.executable, "-c", hidden, "run"]
    ran = subprocess.run(argv, cwd=project, env=environment(), text=True, capture_output=True, check=False, timeout=240)
    assert (ran.returncode, "luminaguard[serve]" in ran.stderr) == (3, True), ran.stderr


def test_the_command_shows_a_forge_elsewhere_and_takes_no_change_of_it(running: Running, tmp_path: Path) -> None:
    there = TrackerStore(running.folder / ".git/luminaguard/tracker.db")
    there.add("Theirs", body="Do it.", author="ann")
    clone = tmp_path / "clone"
    header = f"http.extraHeader=Authorization: Bearer {running.token}"
    git(tmp_path, "-c", header, "clone", "-q", f"{running.url}/ann/demo.git", str(clone))
    (clone / "luminaguard.toml").write_text(ELSEWHERE.format(url=running.url))
    words = ("serve", "--forge", "--socket", str(tmp_path / "second"), "--listen", "127.0.0.1:0")
    env = environment(GITHUB_TOKEN=running.token)
    with subprocess.Popen([*COMMAND, *words], cwd=clone, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            second = running_at(clone, first.split(" and ")[1].strip(), tmp_path)
            listed = second.gh("issue", "list", "--json", "number,title", cwd=clone)
            assert json.loads(listed.stdout) == [{"number": 1, "title": "Theirs"}], listed.stderr
            closed = second.gh("issue", "close", "1", cwd=clone)
            assert (closed.returncode, "not accessible" in closed.stderr) == (1, True)
        finally:
            process.terminate()
            process.wait(timeout=240)
    assert there.show("1").state.value == "open"
