"""What a project tells by itself: how it is tested."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Read = Callable[[str], bytes | None]
"""Reads a file of the tree by its path, "tests/conftest.py"; None where the tree has no such file."""

PYTEST = "python3 -m pytest -q"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedChecks:
    """How a project is tested: the commands, and the file that says so. No commands where nothing says it."""

    run: tuple[str, ...]
    why: str


def detect_checks(paths: Iterable[str], read: Read) -> DetectedChecks:
    """Find out how a project is tested, from the files of one tree.

    Args:
        paths: all files of the tree, relative to its top, with "/".
        read: gives the content of one of them.

    Returns:
        The first that is there, in this order: make, pytest, npm (or pnpm, yarn), cargo, go.
    """
    tree = _Tree(frozenset(paths), read)
    for finder in (_make, _pytest, _node, _cargo, _go):
        found = finder(tree)
        if found is not None:
            return found
    return DetectedChecks(run=(), why="no Makefile, pytest, package.json, Cargo.toml or go.mod tells how to test")


def detect_checks_in(folder: Path) -> DetectedChecks:
    """Do the same for a folder as it lies on the disk, looking only at its top and at its `tests`."""
    top = (entry for entry in folder.iterdir() if entry.is_file())
    tests = folder.glob("tests/**/*test*.py")
    paths = tuple(entry.relative_to(folder).as_posix() for entry in (*top, *tests))
    return detect_checks(paths, lambda path: (folder / path).read_bytes() if path in paths else None)


@dataclass(frozen=True, slots=True)
class _Tree:
    paths: frozenset[str]
    read: Read

    def text(self, path: str) -> str:
        """Give a file's text, "" where there is none; bytes that are no UTF-8 are replaced: we look for a few words."""
        content = self.read(path) if path in self.paths else None
        return (content or b"").decode(errors="replace")


def _make(tree: _Tree) -> DetectedChecks | None:
    for name in ("GNUmakefile", "makefile", "Makefile"):  # make itself looks in this order
        if re.search(r"^(?:[\w./-]+[ \t]+)*test(?:[ \t]+[\w./-]+)*[ \t]*::?(?!=)", tree.text(name), re.MULTILINE):
            return DetectedChecks(run=("make test",), why=f"{name} has a target test")
    return None


def _pytest(tree: _Tree) -> DetectedChecks | None:
    why = _pytest_settings(tree)
    if why is None:
        tests = sorted(path for path in tree.paths if _is_pytest_file(path))
        why = f"{tests[0]} is a test file as pytest names them" if tests else None
    return None if why is None else DetectedChecks(run=(PYTEST,), why=why)


def _is_pytest_file(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.parts[0] == "tests" and (pure.match("test_*.py") or pure.match("*_test.py"))


def _pytest_settings(tree: _Tree) -> str | None:
    if "pytest" in _toml(tree.text("pyproject.toml"), "tool"):
        return "pyproject.toml has [tool.pytest]"
    if "pytest.ini" in tree.paths:
        return "there is a pytest.ini"
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        if section in _sections(tree.text(name)):
            return f"{name} has [{section}]"
    return None


def _toml(text: str, table: str) -> dict[str, object]:
    try:
        found = tomllib.loads(text).get(table)
    except (ValueError, RecursionError):
        return {}  # broken, and for others to complain about
    return found if isinstance(found, dict) else {}


def _sections(text: str) -> list[str]:
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except ConfigError:
        return []
    return parser.sections()


NPM_PLACEHOLDER = "no test specified"
"""What `npm init` writes as a test script that always fails."""


def _node(tree: _Tree) -> DetectedChecks | None:
    try:
        package = json.loads(tree.text("package.json") or "{}")
    except (ValueError, RecursionError):
        return None
    scripts = package.get("scripts") if isinstance(package, dict) else None
    script = scripts.get("test") if isinstance(scripts, dict) else None
    if not isinstance(script, str) or not script.strip() or NPM_PLACEHOLDER in script:
        return None
    return DetectedChecks(run=(_node_command(tree),), why="package.json has a script test")


def _node_command(tree: _Tree) -> str:
    if "pnpm-lock.yaml" in tree.paths:
        return "pnpm --silent test"
    return "yarn --silent test" if "yarn.lock" in tree.paths else "npm test --silent"


def _cargo(tree: _Tree) -> DetectedChecks | None:
    return DetectedChecks(run=("cargo test",), why="there is a Cargo.toml") if "Cargo.toml" in tree.paths else None


def _go(tree: _Tree) -> DetectedChecks | None:
    return DetectedChecks(run=("go test ./...",), why="there is a go.mod") if "go.mod" in tree.paths else None
