"""Values as the executor takes them: mappings whose members may be functions of the arguments; lists in pages."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import GraphQLResolveInfo

from luminaguard.forges.face.answers import RefusalError
from luminaguard.forges.face.calls import Call
from luminaguard.forges.face.site import View

Value = dict[str, Any]
"""An object of the schema. What graphql-core passes is untyped."""

Info: TypeAlias = "GraphQLResolveInfo[Any]"

MOST_NODES, MOST_MEMBERS, MOST_CHARS = 20_000, 200_000, 8 * 1024 * 1024
"""What one answer may hold. All of it is written as JSON in one go, and nothing else of this process runs meanwhile."""
PAGE = 100


@dataclass(slots=True, kw_only=True)
class Asked:
    """One execution: who asks, what is seen, and how much was given so far. A change is seen by what follows it."""

    call: Call
    view: View
    nodes: int = 0
    members: int = 0
    chars: int = 0
    seen: dict[str, Any] = field(default_factory=dict)

    def count(self, nodes: int) -> None:
        """Stop a query that asks for everything of everything."""
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            raise RefusalError(422, f"This query asks for more than {MOST_NODES} nodes")

    def count_member(self, value: object) -> None:
        """Stop a query that asks for the same a thousand times."""
        self.members += 1
        self.chars += len(value) if isinstance(value, str) else 0
        if self.members > MOST_MEMBERS:
            raise TooMuchError(f"{MOST_MEMBERS} members")
        if self.chars > MOST_CHARS:
            raise TooMuchError(f"{MOST_CHARS} characters")

    def look_again(self) -> View:
        """See what was changed."""
        self.view, self.seen = self.call.view(), {}
        return self.view


class TooMuchError(BaseException):
    """A query is stopped as a whole; an `Exception` would be one member's error, and the rest would go on."""

    def __init__(self, most: str) -> None:
        super().__init__(most)
        self.most = most


def asked(info: Info) -> Asked:
    """Give the execution that a resolver works for."""
    found: Asked = info.context
    return found


def paged(items: Callable[[], Sequence[Any]], shape: Callable[[Any], Value], **more: Any) -> Callable[..., Value]:
    """Make the resolver of a connection: nothing is read before it is asked for, and only the page is shaped."""

    def resolve(info: Info, **arguments: Any) -> Value:
        return connection(asked(info), items(), shape, arguments) | more

    return resolve


def connection(
    asking: Asked, items: Sequence[Any], shape: Callable[[Any], Value], arguments: Mapping[str, Any]
) -> Value:
    """Cut a page out of a list, as Relay says."""
    low, high = _span(len(items), arguments)
    asking.count(high - low)
    nodes = [shape(item) for item in items[low:high]]
    return {
        "nodes": nodes,
        "edges": [{"cursor": _cursor(low + index), "node": node} for index, node in enumerate(nodes)],
        "totalCount": len(items),
        "pageInfo": {
            "hasNextPage": high < len(items),
            "hasPreviousPage": low > 0,
            "startCursor": _cursor(low) if nodes else None,
            "endCursor": _cursor(high - 1) if nodes else None,
        },
    }


def _span(count: int, arguments: Mapping[str, Any]) -> tuple[int, int]:
    low = _place(arguments.get("after"), -1) + 1
    high = min(_place(arguments.get("before"), count), count)
    first, last = arguments.get("first"), arguments.get("last")
    if first is not None:
        high = min(high, low + _size(first))
    if last is not None:
        low = max(low, high - _size(last))
    if first is None and last is None:
        high = min(high, low + PAGE)
    return min(low, count), max(min(low, count), high)


def _size(wanted: int) -> int:
    if not 0 <= wanted <= PAGE:
        raise RefusalError(422, f"A page holds 0 to {PAGE} nodes, not {wanted}")
    return wanted


def _cursor(index: int) -> str:
    return base64.b64encode(f"cursor:{index}".encode()).decode()


def _place(cursor: str | None, otherwise: int) -> int:
    if not cursor:
        return otherwise
    try:
        text = base64.b64decode(cursor, validate=True).decode().removeprefix("cursor:")
    except (binascii.Error, ValueError):
        text = ""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RefusalError(422, f"`{cursor[:40]}` does not appear to be a valid cursor.")
    return int(text)


def nothing() -> Callable[..., Value]:
    """Make the resolver of a connection that holds nothing here."""
    return paged(tuple, dict)
