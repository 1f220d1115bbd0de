"""Imports go one way: this holds the table of the architecture, by reading every import of the package."""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import luminaguard

HOME = Path(luminaguard.__file__).parent
ROOT = "luminaguard"
DRIVERS = ("journal", "forges", "workspaces", "vm", "gateway", "sandboxes", "agents", "gates")
BASES = tuple(f"{package}.base" for package in DRIVERS)
ALL_BUT_UI = ("model", "host", "planner", "queue", "reports", *DRIVERS, "engine", "app")

MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    "model": (),
    "host": ("model",),
    "planner": ("model",),
    "queue": ("model",),
    "reports": ("model",),
    "journal": ("model", "host"),
    "forges": ("model", "host"),
    "workspaces": ("model", "host", "sandboxes.base"),
    "vm": ("model", "host"),
    "gateway": ("model", "host"),
    "sandboxes": ("model", "host", "vm.base"),
    "agents": ("model", "host", "sandboxes.base"),
    "gates": ("model", "host", "sandboxes.base", "agents.base", "workspaces.base"),
    "engine": ("model", "planner", "queue", *BASES),
    "app": tuple(package for package in ALL_BUT_UI if package != "app"),
    "ui": ("model", "reports", "engine", "app"),
    "__main__": ("ui",),
}
"""Package -> the packages and modules of ours that it may import besides its own."""

PURE = ("planner", "queue", "reports")
IMPURE_MODULES = frozenset({
    "anyio", "asyncio", "fcntl", "glob", "http", "importlib", "io", "logging", "multiprocessing", "os", "pathlib",
    "platform", "random", "secrets", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uuid",
})  # fmt: skip
"""What a pure package has no business with: clocks, chance, processes, files, the network, the machine."""

IN_FUNCTIONS = frozenset({("luminaguard.host.shim", "ctypes")})
"""Imports inside a function that are right: the shim starts with every program, and few need these 8 ms."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's target, as a dotted module name where one of ours is meant."""

    by: str
    target: str
    line: int

    @property
    def package(self) -> str:
        return package_of(self.by)

    @property
    def inside(self) -> str:
        """The target within our package: "host.git" of "luminaguard.host.git"."""
        return self.target.removeprefix(f"{ROOT}.")

    @property
    def is_ours(self) -> bool:
        return self.target == ROOT or self.target.startswith(f"{ROOT}.")


@dataclass(frozen=True, slots=True)
class Tree:
    """A package's modules by dotted name, as parsed, and all that they import."""

    modules: Mapping[str, ast.Module]
    imports: tuple[Import, ...]


def tree_of(modules: Mapping[str, ast.Module]) -> Tree:
    found = (target for name, module in modules.items() for node in ast.walk(module) for target in targets(name, node))
    # `from luminaguard.host import git` means the module git, where there is one.
    return Tree(modules, tuple(replace(one, target=outer_of(one.target, modules)) for one in found))


def outer_of(target: str, modules: Mapping[str, ast.Module]) -> str:
    module, _, name = target.rpartition(":")
    return f"{module}.{name}" if module and f"{module}.{name}" in modules else module or name


def targets(by: str, node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(by, alias.name, node.lineno)
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        for alias in node.names:
            yield Import(by, f"{node.module}:{alias.name}", node.lineno)


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def read_tree(home: Path) -> Tree:
    modules = {}
    for path in sorted(home.rglob("*.py")):
        parts = (ROOT, *path.relative_to(home).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = ast.parse(path.read_bytes(), filename=str(path))
    return tree_of(modules)


def wrong_ways(tree: Tree) -> Iterator[str]:
    for found in tree.imports:
        if not found.is_ours or package_of(found.target) == found.package or found.target == ROOT:
            continue
        allowed = MAY_IMPORT.get(found.package, ())
        if not any(found.inside == name or found.inside.startswith(f"{name}.") for name in allowed):
            yield f"{found.by}:{found.line} may not import {found.target}"


def packages_without_a_row(tree: Tree) -> Iterator[str]:
    for package in sorted({package_of(name) for name in tree.modules} - {""}):
        if package not in MAY_IMPORT:
            yield f"{ROOT}.{package} has no row in the table"


def circles(tree: Tree) -> Iterator[str]:
    graph: dict[str, set[str]] = {name: set() for name in tree.modules}
    for found in tree.imports:
        if found.target in graph and found.target != found.by:
            graph[found.by].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        yield " → ".join(reversed(exc.args[1]))


def imports_in_functions(tree: Tree) -> Iterator[str]:
    for name, module in tree.modules.items():
        for function in ast.walk(module):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom) and not _is_allowed_inside(name, node):
                    yield f"{name}:{node.lineno} imports inside a function"


def _is_allowed_inside(name: str, node: ast.Import | ast.ImportFrom) -> bool:
    return isinstance(node, ast.Import) and all((name, alias.name) in IN_FUNCTIONS for alias in node.names)


def relative_imports(tree: Tree) -> Iterator[str]:
    for name, module in tree.modules.items():
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom) and node.level > 0:
                yield f"{name}:{node.lineno} imports relatively"


def hidden_imports(tree: Tree) -> Iterator[str]:
    for name, module in tree.modules.items():
        for node in ast.walk(module):
            names = (
                (node.id,) if isinstance(node, ast.Name) else (node.attr,) if isinstance(node, ast.Attribute) else ()
            )
            if "TYPE_CHECKING" in names:
                yield f"{name}:{getattr(node, 'lineno', 0)} has a TYPE_CHECKING block"


def sibling_drivers(tree: Tree) -> Iterator[str]:
    """Two modules that a package's `all` lists side by side know nothing of each other."""
    for package in DRIVERS:
        listed = {
            found.target
            for found in tree.imports
            if found.by == f"{ROOT}.{package}.all" and found.package == package_of(found.target)
        } - {f"{ROOT}.{package}.base"}
        for found in tree.imports:
            if found.by in listed and found.target in listed and found.by != found.target:
                yield f"{found.by}:{found.line} imports its sibling {found.target}"


def drivers_named_outside_app(tree: Tree) -> Iterator[str]:
    """A package's `all` names its concrete drivers; only `app` reads it."""
    for found in tree.imports:
        if found.is_ours and found.target.endswith(".all") and found.package != "app":
            yield f"{found.by}:{found.line} reads {found.target}, which only app may"


def impure_imports(tree: Tree) -> Iterator[str]:
    for found in tree.imports:
        if found.package in PURE and found.target.partition(".")[0] in IMPURE_MODULES:
            yield f"{found.by}:{found.line} is pure and imports {found.target}"


Rule = Callable[[Tree], Iterator[str]]

RULES: tuple[Rule, ...] = (
    wrong_ways,
    packages_without_a_row,
    circles,
    imports_in_functions,
    relative_imports,
    hidden_imports,
    sibling_drivers,
    drivers_named_outside_app,
    impure_imports,
)


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read_tree(HOME)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_the_package_keeps_the_rule(tree: Tree, rule: Rule) -> None:
    assert list(rule(tree)) == []


def test_the_whole_package_is_read(tree: Tree) -> None:
    assert {"luminaguard", "luminaguard.model.issue", "luminaguard.ui.cli.main"} <= tree.modules.keys()


def wrong(**sources: str) -> Tree:
    """A tree of made-up modules: `host_git` stands for luminaguard.host.git."""
    return tree_of({f"{ROOT}.{name.replace('_', '.', 1)}": ast.parse(source) for name, source in sources.items()})


@pytest.mark.parametrize(
    ("rule", "made_up"),
    [
        (wrong_ways, wrong(model_issue="from luminaguard.host.git import git", host_git="")),
        (wrong_ways, wrong(model_issue="import luminaguard.host")),
        (wrong_ways, wrong(model_issue="from luminaguard import host", host="")),
        (wrong_ways, wrong(engine_run="from luminaguard.forges.github import GitHub")),
        (wrong_ways, wrong(engine_run="from luminaguard.forges import github", forges_github="")),
        (wrong_ways, wrong(engine_run="import luminaguard.host.git")),
        (wrong_ways, wrong(agents_command="from luminaguard.sandboxes.bubblewrap import Bubblewrap")),
        (wrong_ways, wrong(reports_page="from luminaguard.planner.waves import waves")),
        (wrong_ways, wrong(app_wire="from luminaguard.ui.cli.main import main")),
        (wrong_ways, wrong(ui_live="from luminaguard.journal.base import Journal")),
        (wrong_ways, wrong(host_git="def f():\n    import luminaguard.journal.base")),
        (packages_without_a_row, wrong(common_words="")),
        (circles, wrong(host_a="import luminaguard.host.b", host_b="from luminaguard.host import a")),
        (imports_in_functions, wrong(host_a="def f():\n    import json")),
        (imports_in_functions, wrong(host_a="class A:\n    async def f(self):\n        from json import loads")),
        (relative_imports, wrong(host_a="from . import git")),
        (relative_imports, wrong(host_a="from ..model import issue")),
        (hidden_imports, wrong(host_a="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import json")),
        (hidden_imports, wrong(host_a="import typing\nif typing.TYPE_CHECKING:\n    import json")),
        (
            sibling_drivers,
            wrong(
                agents_all="from luminaguard.agents.command import A\nfrom luminaguard.agents.replay import B",
                agents_command="from luminaguard.agents.replay import B",
                agents_replay="",
            ),
        ),
        (drivers_named_outside_app, wrong(gates_checks="from luminaguard.gates.all import GATES")),
        (impure_imports, wrong(planner_waves="import time")),
        (impure_imports, wrong(queue_policy="from pathlib import Path")),
        (impure_imports, wrong(reports_page="import os.path")),
    ],
)
def test_a_tree_that_breaks_the_rule_is_caught(rule: Rule, made_up: Tree) -> None:
    assert len(list(rule(made_up))) == 1


@pytest.mark.parametrize(
    "made_up",
    [
        wrong(engine_run="from luminaguard.forges.base import Forge\nfrom luminaguard.queue.policy import step"),
        wrong(gates_checks="from luminaguard.workspaces import base", workspaces_base=""),
        wrong(agents_all="from luminaguard.agents.base import Agent\nfrom luminaguard.agents.command import A"),
        wrong(agents_command="from luminaguard.agents.base import Agent\nfrom luminaguard import __version__"),
        wrong(app_wire="from luminaguard.forges.all import FORGES"),
        wrong(ui_live="import time\nfrom luminaguard.engine.run import run"),
        wrong(planner_waves="import heapq\nfrom luminaguard.model import ids", model_ids=""),
    ],
)
def test_a_tree_that_keeps_the_rules_passes(made_up: Tree) -> None:
    assert [broken for rule in RULES for broken in rule(made_up)] == []
