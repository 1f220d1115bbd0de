"""GitHub's official descriptions, for tests; run as a program (`make contracts`), this gets them.

The OpenAPI description (npm @octokit/openapi) is trimmed to what is called and answered here, without its words; the
GraphQL schema (npm @octokit/graphql-schema) is kept whole. Both are MIT. Beside them a server that somebody else wrote
(npm emulate, Apache-2.0). They lie in a cache outside the repository.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

OPENAPI = ("@octokit/openapi@23.0.2", "package/generated/api.github.com.json")
GRAPHQL = ("@octokit/graphql-schema@15.26.1", "package/schema.graphql")
EMULATE = "emulate@0.11.2"  # another program of the name "emulate" came later; this one is Vercel's
EDITION = "2"

_REPO = r"^/repos/\{owner\}/\{repo\}"
KEPT = (
    r"^/user$",
    r"^/rate_limit$",
    r"^/meta$",
    r"^/app$",
    r"^/app/installations/\{installation_id\}/access_tokens$",
    rf"{_REPO}$",
    rf"{_REPO}/(issues|pulls|labels|milestones|check-runs|check-suites|branches|rules|rulesets|git|comments)(/.*)?$",
    rf"{_REPO}/commits/\{{ref\}}(/(check-runs|check-suites|status|statuses))?$",
    rf"{_REPO}/statuses/\{{sha\}}$",
    rf"{_REPO}/(compare/\{{basehead\}}|installation|collaborators/\{{username\}}/permission)$",
)
WORDS = frozenset({"example", "examples", "externalDocs", "x-github", "description"})


def contracts_folder() -> Path:
    """Give $LUMINAGUARD_TEST_CONTRACTS, else a folder of the user's cache."""
    said = os.environ.get("LUMINAGUARD_TEST_CONTRACTS")
    return Path(said) if said else Path.home() / ".cache/luminaguard/test-contracts"


def is_there() -> bool:
    """Tell whether this edition of the contracts was fetched."""
    mark = contracts_folder() / "edition"
    return mark.exists() and mark.read_text() == EDITION


def needed() -> None:
    """Skip the test where the contracts are not there; where they must be, fail."""
    if is_there():
        return
    reason = "GitHub's descriptions are not here; `make contracts` fetches them"
    if os.environ.get("LUMINAGUARD_MUST_RUN") and not os.environ.get("LUMINAGUARD_NO_NPM"):
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def openapi() -> dict[str, Any]:
    """Give the trimmed OpenAPI description."""
    needed()
    description: dict[str, Any] = json.loads((contracts_folder() / "github.json").read_bytes())
    return description


def graphql_sdl() -> str:
    """Give the GraphQL schema."""
    needed()
    return (contracts_folder() / "github.graphql").read_text()


def trimmed(description: dict[str, Any]) -> dict[str, Any]:
    """Keep the paths that are needed and the components that these reach."""
    paths = {path: said for path, said in description["paths"].items() if any(re.match(one, path) for one in KEPT)}
    components = description["components"]
    reached: set[str] = set()
    left = [json.dumps(paths)]
    while left:
        for name in set(re.findall(r'"#/components/([^"]+)"', left.pop())) - reached:
            reached.add(name)
            kind, _, key = name.partition("/")
            if (part := components.get(kind, {}).get(key)) is not None:
                left.append(json.dumps(part))
    kept = {
        kind: {key: part for key, part in of.items() if f"{kind}/{key}" in reached} for kind, of in components.items()
    }
    whole = {"openapi": description["openapi"], "info": {"title": "GitHub", "version": "trimmed"}, "paths": paths}
    trimmed_all: dict[str, Any] = _mended({**whole, "components": kept})
    return trimmed_all


def _mended(part: Any, *, is_named: bool = False) -> Any:
    """Drop words; let an enum that may be null say so, as OpenAPI 3.0 wants and GitHub's description forgets.

    `is_named`: the keys of this object are names of things, and one may be called "description".
    """
    if isinstance(part, list):
        return [_mended(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {
        key: _mended(one, is_named=key in ("properties", "schemas", "parameters", "responses", "headers", "paths"))
        for key, one in part.items()
        if is_named or key not in WORDS
    }
    if not is_named and isinstance(kept.get("enum"), list) and kept.get("nullable") and None not in kept["enum"]:
        kept["enum"] = [*kept["enum"], None]
    if not is_named and "content" in kept and "description" not in kept and "required" not in kept:
        kept["description"] = ""
    return kept


def _packed(package: str, member: str, folder: Path) -> bytes:
    ran = subprocess.run(
        ("npm", "pack", "--silent", package), cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    with tarfile.open(folder / ran.stdout.split()[-1]) as archive:
        file = archive.extractfile(member)
        assert file is not None
        return file.read()


def main() -> int:
    """Fetch, unless it is done."""
    if is_there():
        return 0
    if shutil.which("npm") is None:
        sys.stderr.write("error: npm is not on PATH; GitHub's descriptions come from npm\n")
        return 3
    to = contracts_folder()
    to.mkdir(parents=True, exist_ok=True)
    (to / "edition").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        description = json.loads(_packed(*OPENAPI, Path(folder)))
        (to / "github.json").write_text(json.dumps(trimmed(description)))
        (to / "github.graphql").write_bytes(_packed(*GRAPHQL, Path(folder)))
    npm = ("npm", "install", "--silent", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", EMULATE)
    (to / "emulate").mkdir(exist_ok=True)
    subprocess.run((*npm, "--prefix", str(to / "emulate")), check=True)
    (to / "edition").write_text(EDITION)
    return 0


if __name__ == "__main__":
    sys.exit(main())
