"""What GitLab's official description says of requests that our driver makes; types, enums, what is required.

Its file (doc/api/openapi/openapi_v3.yaml of gitlabhq/gitlabhq at 045bf877, 3.9 MB, CC BY-SA) was found in no package of
npm or PyPI, nor a client that is generated from it. So this was read in it and written down by hand, for issues and
their links, merge requests, their merging and approvals, and the statuses of commits. The rest (notes, discussions,
members, branches, rules, merge trains) is held to the names in `gitlab_server.py` alone. Of answers only the status is
judged: it describes several lists as one object.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from lab_contract import LabJudge

Said = dict[str, Any]

TEXT: Said = {"type": "string"}
NUMBER: Said = {"type": "integer"}
YES: Said = {"type": "boolean"}
# "Comma-separated list", it says, of the type array: the server takes both.
NAMES: Said = {"oneOf": [TEXT, {"type": "array", "items": TEXT}]}


def one_of(*values: str) -> Said:
    return {"type": "string", "enum": list(values)}


PAGES = {"page": NUMBER, "per_page": NUMBER}
SORTED = {"sort": one_of("asc", "desc")}
SCOPE = {"scope": one_of("created_by_me", "assigned_to_me", "all")}
EVENT = {"state_event": one_of("close", "reopen")}
LABELS = {"labels": NAMES, "add_labels": NAMES, "remove_labels": NAMES}
ISSUE_ORDER = (
    "created_at",
    "due_date",
    "label_priority",
    "milestone_due",
    "popularity",
    "priority",
    "relative_position",
    "title",
    "updated_at",
    "weight",
)
MERGE_ORDER = (
    "created_at",
    "label_priority",
    "milestone_due",
    "popularity",
    "priority",
    "title",
    "updated_at",
    "merged_at",
)


def _operation(
    *, query: Mapping[str, Said] | None = None, body: Said | None = None, answers: tuple[int, ...] = ()
) -> Said:
    """Describe one; without answers, any status will do."""
    parameters = [{"name": name, "in": "query", "schema": kind} for name, kind in (query or {}).items()]
    responses = {str(status): {"description": ""} for status in answers} or {"default": {"description": ""}}
    said: Said = {"parameters": parameters, "responses": responses}
    if body is not None:
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return said


def _body(properties: Mapping[str, Said], *required: str) -> Said:
    closed: Said = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**closed, "required": list(required)} if required else closed


WORDS = {"title": TEXT, "description": TEXT}
ISSUES_QUERY = {
    **PAGES,
    **SORTED,
    **SCOPE,
    "state": one_of("opened", "closed", "all"),
    "order_by": one_of(*ISSUE_ORDER),
    "labels": TEXT,
    "milestone": TEXT,
    "assignee_username": TEXT,
    "iids": TEXT,
}
MERGES_QUERY = {
    **PAGES,
    **SORTED,
    "state": one_of("opened", "closed", "locked", "merged", "all"),
    "order_by": one_of(*MERGE_ORDER),
    "source_branch": TEXT,
    "target_branch": TEXT,
}
MERGE_BODY = {
    "sha": TEXT,
    "squash": YES,
    "squash_commit_message": TEXT,
    "merge_commit_message": TEXT,
    "auto_merge": YES,
    "merge_when_pipeline_succeeds": YES,
    "should_remove_source_branch": YES,
}
LINK = {
    "target_project_id": {"oneOf": [TEXT, NUMBER]},
    "target_issue_iid": {"oneOf": [TEXT, NUMBER]},
    "link_type": one_of("relates_to", "blocks", "is_blocked_by"),
}
BRANCHES = {"source_branch": TEXT, "target_branch": TEXT}

PATHS: dict[str, Said] = {
    "/issues": {
        "get": _operation(query=ISSUES_QUERY, answers=(200, 400, 404)),
        "post": _operation(body=_body({**WORDS, **LABELS}, "title"), answers=(201, 400, 404)),
    },
    "/issues/{issue_iid}": {
        "get": _operation(answers=(200, 400, 404)),
        "put": _operation(body=_body({**WORDS, **LABELS, **EVENT}), answers=(200, 400, 404)),
    },
    "/issues/{issue_iid}/links": {"post": _operation(body=_body(LINK, "target_project_id", "target_issue_iid"))},
    "/merge_requests": {
        "get": _operation(query=MERGES_QUERY, answers=(200, 400, 404, 422)),
        "post": _operation(
            body=_body({**WORDS, **LABELS, **BRANCHES, "squash": YES}, "title", "source_branch", "target_branch"),
            answers=(201, 400, 404, 409, 422),
        ),
    },
    "/merge_requests/{merge_request_iid}": {
        "get": _operation(answers=(200, 400, 404)),
        "put": _operation(
            body=_body({**WORDS, **LABELS, **EVENT, "target_branch": TEXT}), answers=(200, 400, 404, 409, 422)
        ),
    },
    "/merge_requests/{merge_request_iid}/merge": {"put": _operation(body=_body(MERGE_BODY))},
    "/merge_requests/{merge_request_iid}/approvals": {"get": _operation(answers=(200, 400, 404))},
    "/merge_requests/{merge_request_iid}/reviewers": {"get": _operation(answers=(200, 400, 404))},
    "/repository/commits/{sha}/statuses": {
        "get": _operation(
            query={**PAGES, **SORTED, "name": TEXT, "ref": TEXT, "all": YES, "order_by": one_of("id", "pipeline_id")},
            answers=(200, 400, 404),
        )
    },
}


@cache
def judge() -> LabJudge:
    """Give the judge; operations that are not here are none of its business."""
    paths = {f"/projects/{{id}}{path}": said for path, said in PATHS.items()}
    info = {"title": "GitLab", "version": "read at 045bf877"}
    return LabJudge({"openapi": "3.0.3", "info": info, "paths": paths}, is_whole=False)
