"""`luminaguard serve`: what it refuses, and the tokens that it makes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from luminaguard.forges.face.tokens import Holder, Rights, Tokens
from luminaguard.forges.store import TrackerStore


def luminaguard(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "luminaguard", *words]
    return subprocess.run(argv, env=os.environ, text=True, capture_output=True, check=False, timeout=60)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path, check=True)
    return tmp_path


def test_the_dashboard_is_said_to_be_missing() -> None:
    ran = luminaguard("serve")
    assert ran.returncode == 2
    assert "the dashboard is not there yet" in ran.stderr


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "example.org:80", "192.168.1.1:0"])
def test_it_listens_on_this_machine_only_unless_told(repo: Path, listen: str) -> None:
    ran = luminaguard("serve", "--forge", "--listen", listen, "--repo", str(repo))
    assert ran.returncode == 2
    assert "--anywhere" in ran.stderr


@pytest.mark.parametrize("listen", ["4710", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused(repo: Path, listen: str) -> None:
    ran = luminaguard("serve", "--forge", "--listen", listen, "--repo", str(repo))
    assert (ran.returncode, "HOST:PORT" in ran.stderr) == (2, True)


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_a_person_stops_has_ended_as_it_should(repo: Path, word: signal.Signals) -> None:
    argv = [sys.executable, "-m", "luminaguard", "serve", "--forge", "--json", "--repo", str(repo)]
    argv += ["--socket", str(repo / "s")]
    with subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        lines = [server.stdout.readline()]
        while lines[-1] not in ("}\n", ""):  # the end of the document, or of the server
            lines.append(server.stdout.readline())
        server.send_signal(word)
        assert json.loads("".join(lines))["schema"] == "luminaguard/serve@1"
        assert (server.stdout.read(), server.stderr.read(), server.wait(timeout=60)) == ("", "", 0)
    assert not (repo / "s").exists()


def test_tokens_for_readers_and_for_one_issue(repo: Path) -> None:
    TrackerStore(repo / ".git/luminaguard/tracker.db").add("a")
    tokens = Tokens(repo / ".git/luminaguard/forge")
    reader = luminaguard("serve", "--forge", "--new-token", "read", "--repo", str(repo))
    assert tokens.holder(reader.stdout.strip()) == Holder(login="reader[bot]", rights=Rights.READ)
    agent = luminaguard("serve", "--forge", "--new-token", "#1", "--json", "--repo", str(repo))
    holder = tokens.holder(json.loads(agent.stdout)["token"])
    assert (holder and holder.rights, holder and holder.issue) == (Rights.COMMENT, "1")
    assert luminaguard("serve", "--forge", "--new-token", "9", "--repo", str(repo)).returncode == 2
