"""GraphQL: our schema and what `gh` sends against GitHub's official one; rights and limits of queries."""

import re
from typing import Any

import anyio
import httpx
import pytest
from face_ground import Ground, Running, work_on
from github_contracts import graphql_sdl, needed
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
    parse,
    specified_rules,
    validate,
)

from luminaguard.forges.face.graphql.execute import schema
from luminaguard.forges.face.tokens import Rights

NEWER = {
    "Mutation.addBlockedBy",
    "Mutation.removeBlockedBy",
    "Issue.issueType",
    "Issue.blockedBy",
    "Issue.blocking",
    "Issue.issueDependenciesSummary",
    "CreateIssueInput.issueTypeId",
    "UpdateIssueInput.issueTypeId",
    *("IssueType", "IssueTypeColor", "IssueDependenciesSummary"),
    *("AddBlockedByInput", "AddBlockedByPayload", "RemoveBlockedByInput", "RemoveBlockedByPayload"),
}
"""What `gh` 2.103.3 asks for and the published schema is too old to know."""


@pytest.fixture(scope="module")
def official() -> GraphQLSchema:
    needed()
    return build_schema(graphql_sdl(), assume_valid=True)


def differences(ours: GraphQLSchema, theirs: GraphQLSchema) -> set[str]:
    found: set[str] = set()
    for name, kind in ours.type_map.items():
        other: Any = theirs.type_map.get(name)
        if name.startswith("__"):
            continue
        if other is None:
            found.add(name)
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field, said in kind.fields.items():
                known = other.fields.get(field)
                if known is None or str(known.type) != str(said.type):
                    found.add(f"{name}.{field}")
                    continue
                for argument, what in getattr(said, "args", {}).items():
                    if argument not in known.args or str(known.args[argument].type) != str(what.type):
                        found.add(f"{name}.{field}({argument})")
        elif isinstance(kind, GraphQLUnionType):
            found |= {f"{name} = {one.name}" for one in kind.types} - {f"{name} = {one.name}" for one in other.types}
        elif isinstance(kind, GraphQLEnumType):
            found |= {f"{name}.{one}" for one in kind.values} - {f"{name}.{one}" for one in other.values}
    return found


def test_our_schema_is_a_part_of_githubs(official: GraphQLSchema) -> None:
    assert differences(schema(), official) == NEWER


def test_gh_asks_what_githubs_schema_and_ours_allow(running: Running, official: GraphQLSchema) -> None:
    running.env["GH_DEBUG"] = "api"
    commands = [
        ("issue", "create", "-t", "A", "-b", "a"),
        ("issue", "create", "-t", "B", "-b", "b", "--blocked-by", "1", "--parent", "1"),
        ("issue", "list", "--json", "number,blockedBy,parent,subIssues,labels,milestone,author"),
        ("issue", "list", "--search", "B", "--label", "none"),
        ("issue", "view", "2", "--comments"),
        ("issue", "status"),
        ("pr", "list"),
        ("pr", "status", "--repo", "ann/demo"),
        ("repo", "view", "ann/demo", "--json", "name"),
    ]
    queries: set[str] = set()
    for words in commands:
        queries |= set(_queries(running.gh(*words).stderr))
    assert len(queries) >= 6
    newer = re.compile(r"|".join(sorted({name.partition(".")[2] or name for name in NEWER}, key=len, reverse=True)))
    for query in queries:
        assert validate(schema(), parse(query), _rules()) == [], query
        wrong = [it.message for it in validate(official, parse(query), _rules()) if not newer.search(it.message)]
        assert wrong == [], query


def _rules() -> list[Any]:
    return [rule for rule in specified_rules if rule.__name__ != "OverlappingFieldsCanBeMergedRule"]


def _queries(log: str) -> list[str]:
    return [it.strip() for it in re.findall(r"GraphQL query:\n(.*?)\nGraphQL variables:", log, re.DOTALL)]


def asked(ground: Ground, query: str, token: str | None = None, **variables: Any) -> Any:
    async def post() -> httpx.Response:
        async with ground.client(token) as client:
            return await client.post("/graphql", json={"query": query, "variables": variables})

    response = anyio.run(post)
    assert response.status_code == 200, response.text
    return response.json()


OF_REPO = 'query {{ repository(owner: "ann", name: "demo") {{ {} }} }}'


def test_connections_come_in_pages(ground: Ground) -> None:
    for number in range(5):
        ground.store.add(f"i{number}")
    query = OF_REPO.format("issues(first: 2 %s) { totalCount nodes { number } pageInfo { hasNextPage endCursor } }")
    first = asked(ground, query % "")["data"]["repository"]["issues"]
    assert (first["totalCount"], [it["number"] for it in first["nodes"]]) == (5, [1, 2])
    after = f', after: "{first["pageInfo"]["endCursor"]}"'
    assert [it["number"] for it in asked(ground, query % after)["data"]["repository"]["issues"]["nodes"]] == [3, 4]


def test_verdicts_of_both_kinds_are_rolled_up(ground: Ground) -> None:
    head = work_on(ground.folder, "topic", "f", "1")
    create = "mutation($i: CreatePullRequestInput!) { createPullRequest(input: $i) { pullRequest { id number } } }"
    repo = asked(ground, OF_REPO.format("id"))["data"]["repository"]["id"]
    form = {"repositoryId": repo, "headRefName": "topic", "baseRefName": "main", "title": "T"}
    assert asked(ground, create, i=form)["data"]["createPullRequest"]["pullRequest"]["number"] == 1
    ground.site.verdicts.report(head, context="ci", state="success", author="x")  # type: ignore[arg-type]
    ground.site.verdicts.begin(head, name="lint", said={"status": "in_progress"}, author="x")  # type: ignore[arg-type]
    rollup = "statusCheckRollup { state contexts(first: 9) { nodes { __typename } checkRunCount } }"
    got = asked(ground, OF_REPO.format(f"pullRequest(number: 1) {{ {rollup} }}"))["data"]["repository"]["pullRequest"]
    assert got["statusCheckRollup"]["state"] == "PENDING"
    assert [it["__typename"] for it in got["statusCheckRollup"]["contexts"]["nodes"]] == ["CheckRun", "StatusContext"]


@pytest.mark.parametrize("rights", [Rights.READ, Rights.COMMENT])
def test_a_lesser_token_reads_and_changes_nothing(ground: Ground, rights: Rights) -> None:
    ground.store.add("a")
    token = ground.token(rights, "9" if rights is Rights.COMMENT else None)
    node = asked(ground, OF_REPO.format("issue(number: 1) { id title }"), token)["data"]["repository"]["issue"]
    assert node["title"] == "a"
    for mutation in (
        "closeIssue(input: {issueId: $id}) { issue { number } }",
        'addComment(input: {subjectId: $id, body: "x"}) { subject { id } }',
        'updateIssue(input: {id: $id, title: "x"}) { issue { number } }',
    ):
        said = asked(ground, f"mutation($id: ID!) {{ {mutation} }}", token, id=node["id"])
        assert [it["type"] for it in said["errors"]] == ["FORBIDDEN"]
    assert (ground.store.show("1").title, ground.store.show("1").state.value) == ("a", "open")
    assert ground.store.comments("1") == ()


def test_a_query_for_everything_of_everything_is_stopped(ground: Ground) -> None:
    ids = [ground.store.add(f"i{number}").id for number in range(40)]
    for one in ids:
        ground.store.edit(one, needs=tuple(it for it in ids if it != one))
    inner = "number"
    for _ in range(8):
        inner = f"blockedBy(first: 100) {{ nodes {{ {inner} }} }}"
    said = asked(ground, OF_REPO.format(f"issues(first: 100) {{ nodes {{ {inner} }} }}"))
    assert any("more than 20000 nodes" in it["message"] for it in said["errors"])


@pytest.mark.parametrize(
    "query",
    ["{", "query { nope }", "{a" * 4000, "query { viewer { login } } " * 3000, 'query { node(id: "x") { id } }'],
)
def test_a_query_that_makes_no_sense_is_answered_with_errors(ground: Ground, query: str) -> None:
    assert asked(ground, query)["errors"]
