"""Markdown with YAML front matter: read into keys and body, and one value changed without touching the rest.

YAML's own typing loses what people wrote (`id: 12.10` becomes 12.1, `1:30` becomes 90), and its aliases can grow
without bound. So the tree is composed, never constructed: a scalar becomes a number only where its text can be got
back from that, aliases and tags are refused, and depth is bounded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from luminaguard.forges.reading import broken
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json

_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 16
_MAX_CHARS = 256 * 1024
_OPENING = re.compile(r"\ufeff?---[ \t]*(\r\n|\n|\r)")
_CLOSING = re.compile(r"^(---|\.\.\.)[ \t]*(?=\r|\n|\Z)", re.MULTILINE)
_NAME_AT = re.compile(r"(?m)^([ \t]*(?:-|[\w-]+:)[ \t]+)@")
_STAND_IN = "\ue000"
"""Stands for the '@' of `reporter: @name`, which Backlog.md writes and YAML refuses; no mark moves."""

_PLAIN_TAGS = frozenset({None, "!"})
_CONTAINER_STARTS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CONTAINER_ENDS = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of the file's text: characters `start` to `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A Markdown file. `keys` is None where it has no front matter; `spans` tells where each key's value stands.

    `inner` is what stands between the two lines of dashes, `body` what comes after them.
    """

    path: str
    text: str
    body: str
    keys: Mapping[str, Json] | None = None
    inner: Span = Span(start=0, end=0)
    spans: Mapping[str, Span] = field(default_factory=dict)

    @property
    def newline(self) -> str:
        """The line end that the file uses."""
        found = re.search(r"\r\n|\n|\r", self.text)
        return found[0] if found else "\n"


def parse(text: str, *, path: str) -> Page:
    """Take a Markdown file apart.

    Raises:
        UserFault: the front matter is not closed, is not YAML, or is not a mapping; names the file's line.
    """
    opening = _OPENING.match(text)
    if not opening:
        return Page(path=path, text=text, body=text.removeprefix("\ufeff"))
    closing = _CLOSING.search(text, opening.end())
    if not closing:
        raise broken(path, 1, "the front matter that '---' begins never ends", hint="close it with a line '---'")
    inner = Span(start=opening.end(), end=closing.start())
    root = _compose(text[inner.start : inner.end], path=path)
    keys, spans = _mapping(root, path=path, offset=inner.start)
    return Page(path=path, text=text, body=text[closing.end() :], keys=keys, inner=inner, spans=spans)


def with_value(page: Page, key: str, value: str) -> str:
    """Give the file's text with one plain word or quoted text as the key's value, all else as it was.

    Raises:
        UserFault: the file is written in a way that does not let this be done by a small change.
    """
    text = _edited(page, key, value)
    again = parse(text, path=page.path)
    before = {**(page.keys or {}), key: value}
    if again.keys != before or again.body.strip() != page.body.strip():
        raise broken(page.path, 1, f"{key} cannot be changed in place", hint=f"set {key} to {value} by hand")
    return text


def _edited(page: Page, key: str, value: str) -> str:
    scalar = value if re.fullmatch(r"[A-Za-z][A-Za-z ]*[A-Za-z]", value) else "'" + value.replace("'", "''") + "'"
    line = f"{key}: {scalar}{page.newline}"
    if page.keys is None:
        mark = "\ufeff" if page.text.startswith("\ufeff") else ""
        return f"{mark}---{page.newline}{line}---{page.newline}{page.text.removeprefix(mark)}"
    span = page.spans.get(key)
    if span is None:
        return f"{page.text[: page.inner.end]}{line}{page.text[page.inner.end :]}"
    old = page.text[span.start : span.end]
    tail = old[len(old.rstrip()) :]
    gap = "" if page.text[span.start - 1].isspace() else " "
    return f"{page.text[: span.start]}{gap}{scalar}{tail}{page.text[span.end :]}"


def parse_yaml(text: str, *, path: str) -> Mapping[str, Json]:
    """Read a whole YAML file that is a mapping, under the same limits."""
    return _mapping(_compose(text, path=path, first_line=1), path=path, offset=0, first_line=1)[0]


def _compose(text: str, *, path: str, first_line: int = 2) -> yaml.Node | None:
    if len(text) > _MAX_CHARS:
        what = f"{len(text)} characters of YAML, more than {_MAX_CHARS}"
        raise broken(path, first_line, what, hint="put long text below the front matter")
    try:
        return _composed(text, path=path, first_line=first_line)
    except yaml.YAMLError as first:
        swapped = text if _STAND_IN in text else _NAME_AT.sub(rf"\1{_STAND_IN}", text)
        if swapped == text:
            raise _not_yaml(first, text, path=path, first_line=first_line) from first
    try:
        return _composed(swapped, path=path, first_line=first_line)
    except yaml.YAMLError as exc:
        raise _not_yaml(exc, text, path=path, first_line=first_line) from exc


def _composed(text: str, *, path: str, first_line: int) -> yaml.Node | None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = first_line + (event.start_mark.line if event.start_mark else 0)
        if isinstance(event, yaml.AliasEvent):
            raise broken(path, line, f"the YAML alias *{event.anchor} is not read", hint="write the value out")
        if getattr(event, "tag", None) not in _PLAIN_TAGS:
            what = f"the YAML tag {getattr(event, 'tag', '')} is not read"
            raise broken(path, line, what, hint="write the plain value")
        depth += isinstance(event, _CONTAINER_STARTS) - isinstance(event, _CONTAINER_ENDS)
        if depth > _MAX_DEPTH:
            raise broken(path, line, f"YAML nested deeper than {_MAX_DEPTH}", hint="write it flatter")
    return yaml.compose(text, Loader=_LOADER)


def _not_yaml(exc: yaml.YAMLError, text: str, *, path: str, first_line: int) -> UserFault:
    mark = getattr(exc, "problem_mark", None)
    index = mark.index if mark is not None else getattr(exc, "position", 0)
    line = first_line + text.count("\n", 0, index)
    what = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "cannot be read"
    hint = "quote texts that begin with one of @ ` # & * ! | > % or hold ': '"
    return broken(path, line, f"is not YAML: {what}", hint=hint)


def _mapping(
    root: yaml.Node | None, *, path: str, offset: int, first_line: int = 2
) -> tuple[Mapping[str, Json], Mapping[str, Span]]:
    if root is None:
        return {}, {}
    if not isinstance(root, yaml.MappingNode):
        hint = "write lines of 'key: value'"
        raise broken(path, first_line, f"wanted a YAML mapping, got {_named(root)}", hint=hint)
    spans = {
        _key(key): Span(start=offset + value.start_mark.index, end=offset + value.end_mark.index)
        for key, value in root.value
    }
    return _keys(root, path=path, first_line=first_line), spans


def _keys(node: yaml.MappingNode, *, path: str, first_line: int) -> dict[str, Json]:
    keys: dict[str, Json] = {}
    for key, value in node.value:
        line = first_line + key.start_mark.line
        if not isinstance(key, yaml.ScalarNode):
            raise broken(path, line, f"a key is {_named(key)}, not a word", hint="write 'key: value'")
        if _key(key) in keys:
            raise broken(path, line, f"the key {_key(key)!r} stands there twice", hint="keep one of the two")
        keys[_key(key)] = _json(value, path=path, first_line=first_line)
    return keys


def _named(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a single value"


def _key(node: yaml.Node) -> str:
    return str(node.value)


def _json(node: yaml.Node, *, path: str, first_line: int) -> Json:
    if isinstance(node, yaml.MappingNode):
        return _keys(node, path=path, first_line=first_line)
    if isinstance(node, yaml.SequenceNode):
        return [_json(item, path=path, first_line=first_line) for item in node.value]
    text = str(node.value)
    if text.startswith(_STAND_IN):
        return f"@{text[1:]}"
    return _scalar(text, tag=str(node.tag))


def _scalar(text: str, *, tag: str) -> Json:
    kind = tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind in ("int", "float") and re.fullmatch(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,6})?", text):
        number = float(text) if "." in text else int(text)
        return number if str(number) == text else text
    return text
