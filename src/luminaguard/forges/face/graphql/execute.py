"""The GraphQL endpoint: parse, validate, execute, and say errors as GitHub does."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OverlappingFieldsCanBeMergedRule,
    build_schema,
    default_field_resolver,
    execute_sync,
    parse,
    specified_rules,
    validate,
)

from luminaguard.forges.face.answers import Answer, RefusalError, refusal_of
from luminaguard.forges.face.calls import Call
from luminaguard.forges.face.graphql.objects import Either, either, fresh, repository, search
from luminaguard.forges.face.graphql.people import user
from luminaguard.forges.face.graphql.values import Asked, Info, TooMuchError, Value, asked
from luminaguard.forges.face.graphql.writing import MUTATIONS, resolver
from luminaguard.forges.face.names import iso, node_of
from luminaguard.model.faults import Fault

MOST_TOKENS = 10_000
# GitHub's server is laxer than the specification: `gh issue view` itself asks what the left out rule forbids.
RULES = tuple(rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule)
WORDS = {403: "FORBIDDEN", 404: "NOT_FOUND", 422: "UNPROCESSABLE"}


@cache
def schema() -> GraphQLSchema:
    """Read our part of GitHub's schema."""
    text = resources.files("luminaguard.forges.face.graphql").joinpath("schema.graphql").read_text("utf-8")
    return build_schema(text)


def endpoint(call: Call) -> Answer:
    """Answer a query."""
    query, variables = call.text("query", "Query"), call.body.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise RefusalError(400, "Variables are invalid JSON.")
    try:
        document = parse(query, max_tokens=MOST_TOKENS)
        problems = validate(schema(), document, RULES, max_errors=10)
    except (GraphQLError, RecursionError) as exc:
        problems, document = [exc if isinstance(exc, GraphQLError) else GraphQLError("too deep")], DocumentNode()
    if problems:
        return Answer(body={"errors": [_said(error) for error in problems]})
    return _executed(call, document, variables or {})


def _executed(call: Call, document: DocumentNode, variables: dict[str, Any]) -> Answer:
    name = call.body.get("operationName")
    try:
        result = execute_sync(
            schema(),
            document,
            root_value=_root(call),
            context_value=Asked(call=call, view=call.view()),
            variable_values=variables,
            operation_name=name if isinstance(name, str) else None,
            field_resolver=_counted,
        )
    except TooMuchError as exc:
        raise RefusalError(422, f"This query asks for more than {exc.most}") from None
    for error in result.errors or ():
        if error.original_error is not None and not isinstance(error.original_error, RefusalError | Fault):
            raise error.original_error  # a bug of ours
    said: Value = {"data": result.data}
    if result.errors:
        said["errors"] = [_said(error) for error in result.errors]
    return Answer(body=said, headers={"X-OAuth-Scopes": "repo, read:org" if call.holder.rights == "full" else ""})


def _counted(source: Any, info: Info, **arguments: Any) -> Any:
    value = default_field_resolver(source, info, **arguments)
    asked(info).count_member(value)
    return value


def _said(error: GraphQLError) -> Value:
    formatted: Value = dict(error.formatted)
    cause = error.original_error
    if isinstance(cause, Fault):
        cause = refusal_of(cause)
    if isinstance(cause, RefusalError):
        formatted["type"] = WORDS.get(cause.status, "UNPROCESSABLE")
        details = [str(one.get("message") or f"{one.get('field')} {one.get('code')}") for one in cause.errors]
        formatted["message"] = "; ".join(details) or cause.message
    return formatted


def _root(call: Call) -> Value:
    return {
        "viewer": lambda info: user(asked(info), call.holder.login),
        "user": lambda info, login: user(asked(info), login),
        "organization": lambda _info, **_: None,
        "repository": _repository,
        "repositoryOwner": lambda info, login: user(asked(info), login),
        "search": search,
        "node": _node,
        "rateLimit": lambda _info, **_: {
            **dict.fromkeys(("cost", "nodeCount", "used"), 0),
            **dict.fromkeys(("limit", "remaining"), 5000),
            "resetAt": iso(4102444800),
        },
        **{name: resolver(name) for name in MUTATIONS},
    }


def _repository(info: Info, owner: str, name: str, **_: Any) -> Value:
    site = asked(info).view.site
    if (owner.lower(), name.lower()) != (site.owner.lower(), site.name.lower()):
        raise RefusalError(404, f"Could not resolve to a Repository with the name '{owner[:60]}/{name[:60]}'.")
    return repository(asked(info))


def _node(info: Info, id: str) -> Value:  # noqa: A002 GraphQL's name
    asking, found = asked(info), node_of(id)
    seen = fresh(asking).view.snapshot
    everything: dict[str, Mapping[int, Either]] = {"I": seen.issues, "PR": seen.pulls}
    records = everything.get(found.kind, {})
    number = int(found.key) if found.key.isdigit() and len(found.key) <= 15 else -1
    if found.kind == "R":
        return repository(asking)
    if number not in records:
        raise RefusalError(404, f"Could not resolve to a node with the global id of '{id[:80]}'")
    return either(asking, records[number])
