"""Which files an issue will change, as far as it says so. Predictions order and warn; they never block."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from luminaguard.model.issue import Issue
from luminaguard.model.plan import Touch, TouchSource
from luminaguard.planner.prose import Line

DECLARED = frozenset(
    {
        *("files", "file", "scope", "deliverable", "deliverables", "affected files", "modified files", "changed files"),
        *(f"files {what}" for what in ("to modify", "to change", "to create", "to edit", "touched", "changed")),
    }
)
"""Sections and labels whose paths are a promise."""

_OUTSIDE = frozenset({"out of scope", "non-goals", "non goals", "not in scope", "references", "related", "see also"})
_NOT_TOUCHED = re.compile(
    r"\b(?:(?:do|must|should|does|will)\s+not|don['\u2019]t|never|without)\s+(?:touch|chang|modif|edit)", re.IGNORECASE
)
_EXTENSION = re.compile(
    r"adoc|astro|bash|bat|c|cc|cfg|cjs|clj|cmake|conf|cpp|cs|css|csv|cts|cxx|dart|el|elm|erl|ex|exs|fish|fs|go|gradle|graphql"
    r"|groovy|h|hcl|hh|hpp|hs|html|ini|ipynb|java|jinja|jl|js|json|jsonc|jsonl|jsx|kt|kts|less|lock|lua|m|md|mdx|mjs|mk|ml|mm"
    r"|mts|nim|nix|php|pl|plist|prisma|proto|ps1|py|pyi|pyx|r|rb|rs|rst|sass|scala|scss|service|sh|sol|sql|svelte|svg|swift"
    r"|tex|tf|toml|ts|tsx|txt|vue|xml|yaml|yml|zig|zsh"
)
_PRODUCT = re.compile(
    r"(?:node|next|vue|nuxt|react|express|d3|three|nest|backbone|ember|chart|discord)\.(?:js|py)", re.IGNORECASE
)
_DOMAIN = re.compile(r"(?:www\.|[\w-]+\.(?:com|org|net|io|dev|ai|app|co|edu|gov)(?:/|$))", re.IGNORECASE)
_TOKEN = re.compile(r"(?<![\w./@:~$*{}<>%+\\#-])(?:\.|[\w@][\w@+-]*[./])[\w./@+-]*(?![*{<>\w\\]|://)")
_MOST = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    path: str
    confidence: float


class Files:
    """The paths that git tracks, found by what people write: the whole path, the end of one, a name."""

    def __init__(self, tracked: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in sorted(tracked):
            self._by_name[path.rpartition("/")[2]].append(path)
        self._any = bool(self._by_name)

    def touches(self, issue: Issue, lines: Iterable[Line]) -> tuple[Touch, ...]:
        """Predict the files of an issue, surest first, at most 30."""
        found: dict[str, Touch] = {}
        for path in issue.touches:
            _keep(found, path.strip().removeprefix("./"), "declared", 0.95)
        for line in (Line(text=issue.title), *lines):
            if line.quoted or line.section in _OUTSIDE:
                continue
            if "." in line.text or "/" in line.text:
                self._read(line, found)
        return tuple(sorted(found.values(), key=lambda touch: (-touch.confidence, touch.path))[:_MOST])

    def _read(self, line: Line, found: dict[str, Touch]) -> None:
        declared = not line.code and (line.section in DECLARED or line.label in DECLARED)
        names = list(self._names(line))
        if not names or _NOT_TOUCHED.search(line.text):
            return
        for name in names:
            if declared:
                _keep(found, name.path, "declared", 0.95)
            else:
                _keep(found, name.path, "named", name.confidence)

    def _names(self, line: Line) -> Iterator[_Found]:
        for token in _TOKEN.finditer(line.text):
            name = token[0].rstrip(".-+@/").removeprefix("./")
            known = self._tracked(name)
            if known is not None:
                yield known
            elif not line.code and _is_new_file(name):
                ticked = line.text[: token.start()].endswith("`")
                confidence = 0.6 if "/" in name else 0.4
                if "/" in name or ticked or line.section in DECLARED or line.label in DECLARED:
                    yield _Found(path=name, confidence=confidence)

    def _tracked(self, name: str) -> _Found | None:
        """Find the one tracked file that is meant; a name that several files have means none."""
        base = name.rpartition("/")[2]
        paths = self._by_name.get(base)
        if not paths:
            return None
        if name in paths:
            return _Found(path=name, confidence=0.8)
        ending = [path for path in paths if path.endswith("/" + name)]
        return _Found(path=ending[0], confidence=0.7) if len(ending) == 1 else None


def _keep(found: dict[str, Touch], path: str, source: TouchSource, confidence: float) -> None:
    known = found.get(path)
    if path and (known is None or known.confidence < confidence):
        found[path] = Touch(path=path, source=source, confidence=confidence)


def _is_new_file(name: str) -> bool:
    """Tell a path that may come to be from a version, an abbreviation, a product or a host."""
    base = name.rpartition("/")[2]
    stem, _, extension = base.rpartition(".")
    if not _EXTENSION.fullmatch(extension) or (len(stem) < 2 and len(extension) < 2):
        return False
    if name.startswith("/") or ".." in name or "//" in name or "@" in name:
        return False
    return bool(stem.strip(".-+0123456789")) and not _PRODUCT.fullmatch(base) and not _DOMAIN.match(name)
