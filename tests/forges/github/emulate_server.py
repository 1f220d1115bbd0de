"""npm emulate at work: a GitHub that somebody else wrote, over HTTP, with what it is to hold at the start."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from github_contracts import contracts_folder, needed

from luminaguard.model.ids import Json, Oid


@contextmanager
def emulate(folder: Path, seed: Mapping[str, Json]) -> Iterator[str]:
    """Serve until the block ends; gives the API's address."""
    needed()
    if shutil.which("node") is None:
        pytest.skip("node is not on PATH")
    (folder / "seed.yaml").write_text(json.dumps(seed))  # which is YAML too
    with socket.create_server(("127.0.0.1", 0)) as listener, _started(folder, listener) as server:
        port = listener.getsockname()[1]
        try:
            assert server.stdout is not None
            said = iter(server.stdout.readline, "")
            assert any("Config:" in line for line in said)
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def _started(folder: Path, listener: socket.socket) -> subprocess.Popen[str]:
    """Start it on a socket that is open already: a port that it were to open itself could be another's by then."""
    program = contracts_folder() / "emulate/node_modules/emulate/dist/index.js"
    words = ("--service", "github", "--port", str(listener.getsockname()[1]), "--seed", str(folder / "seed.yaml"))
    return subprocess.Popen(
        ("node", "--require", str(Path(__file__).parent / "loopback.cjs"), str(program), *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "LISTEN_FD": str(listener.fileno())},
        pass_fds=(listener.fileno(),),
    )


def client_of(url: str, full: str, token: str) -> httpx.Client:
    """Give what asks about one repository as a person."""
    return httpx.Client(base_url=f"{url}repos/{full}/", headers={"Authorization": f"Bearer {token}"}, timeout=240)


def commit_on(client: httpx.Client, branch: str) -> Oid:
    """Make a branch with a commit, as a push would."""
    base = client.get("git/ref/heads/main").json()["object"]["sha"]
    blob = client.post("git/blobs", json={"content": branch, "encoding": "utf-8"}).json()["sha"]
    entry = {"path": "new.txt", "mode": "100644", "type": "blob", "sha": blob}
    old = client.get(f"git/commits/{base}").json()["tree"]["sha"]
    tree = client.post("git/trees", json={"base_tree": old, "tree": [entry]}).json()["sha"]
    made = client.post("git/commits", json={"message": "m", "tree": tree, "parents": [base]}).json()["sha"]
    client.post("git/refs", json={"ref": f"refs/heads/{branch}", "sha": made}).raise_for_status()
    return Oid(made)
