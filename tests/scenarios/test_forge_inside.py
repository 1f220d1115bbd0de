"""An agent reaches the forge of its repository from behind walls of every kind, with programs of any sort."""

from stage import Stage

AGENT = """
python3 - <<'END' > said.txt
import json, os, urllib.error, urllib.request

def ask(method, path, said=None):
    asked = urllib.request.Request(os.environ["GITHUB_API_URL"] + path, method=method)
    asked.add_header("Authorization", "Bearer " + os.environ["LUMINAGUARD_FORGE_TOKEN"])
    try:
        with urllib.request.urlopen(asked, json.dumps(said).encode() if said else None, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)

repo = "/repos/" + os.environ["GH_REPO"].partition("/")[2]
print([it["title"] for it in ask("GET", repo + "/issues")[1]])
print([ask("POST", f"{repo}/issues/{number}/comments", {"body": "at work"})[0] for number in (1, 2)])
END
"""


def test_an_agent_reads_the_backlog_and_comments_on_its_own_issue(enclosed: Stage) -> None:
    enclosed.set_up(agent=AGENT, settings="[gateway]\nforge = true")
    enclosed.issue("1", "Mine")
    enclosed.issue("2", "Another")
    ran = enclosed.run("1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "`gh` works here" in enclosed.prompt("1", 1)
    assert enclosed.show("said.txt") == "['Another', 'Mine']\n[201, 403]"
    assert [it.text for it in enclosed.tracker.comments("1") if it.author == "agent-1[bot]"] == ["at work"]
