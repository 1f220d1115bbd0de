"""npm emulate at work: a GitHub that somebody else wrote, over HTTP, with what it is to hold at the start."""

import json
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
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "seed.yaml").write_text(json.dumps(seed))  # which is YAML too
    program = contracts_folder() / "emulate/node_modules/emulate/dist/index.js"
    words = ("--service", "github", "--port", str(port), "--seed", str(folder / "seed.yaml"))
    argv = ("node", "--require", str(Path(__file__).parent / "loopback.cjs"), str(program), *words)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder) as server:
        try:
            assert server.stdout is not None
            said = iter(server.stdout.readline, "")
            assert any("Config:" in line for line in said)
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def client_of(url: str, full: str, token: str) -> httpx.Client:
    """Give what asks about one repository as a person."""
    return httpx.Client(base_url=f"{url}repos/{full}/", headers={"Authorization": f"Bearer {token}"})


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
