"""Which issue a name means, as people and trackers spell it."""

import difflib
import re
from collections.abc import Iterable

from luminaguard.model.ids import IssueId

_PREFIXED = re.compile(r"(?:(?P<prefix>[^\d\W][\w-]*?)-)?(?P<rest>\w*\d\w*(?:\.\w+)*)")
_ZEROS = re.compile(r"(?<![0-9a-z])0+(?=\d)")


class Directory:
    """All ids of a backlog, found exactly, then in any case, then by what follows the prefix where one issue has it.

    Trackers change their prefix (Backlog.md: task-3 became BACK-3) and leave the old one in texts and fields.
    """

    def __init__(self, ids: Iterable[IssueId]) -> None:
        self._exact = {str(issue): issue for issue in ids}
        self._folded: dict[str, IssueId | None] = {}
        self._bare: dict[str, IssueId | None] = {}
        prefixes: set[str] = set()
        for name, issue in self._exact.items():
            folded = name.casefold()
            self._folded[folded] = None if folded in self._folded else issue
            parts = _PREFIXED.fullmatch(folded)
            if parts is None:
                continue
            rest = _ZEROS.sub("", parts["rest"])
            self._bare[rest] = None if rest in self._bare else issue
            if parts["prefix"]:
                prefixes.add(parts["prefix"])
        self.prefixes = frozenset(prefixes)
        """Prefixes in use, in lower case: {"back"} of BACK-12."""

    def exact(self, name: str) -> IssueId | None:
        """Find the issue of this very id, in any case, or None."""
        return self._exact.get(name) or self._folded.get(name.casefold())

    def resolve(self, name: str) -> IssueId | None:
        """Find the issue that is meant, or None where there is none or more than one."""
        found = self.exact(name)
        if found is not None:
            return found
        parts = _PREFIXED.fullmatch(name.casefold())
        return self._bare.get(_ZEROS.sub("", parts["rest"])) if parts else None

    def nearest(self, name: str) -> list[str]:
        """List at most three ids that look like the name, best first."""
        return difflib.get_close_matches(name, list(self._exact), n=3, cutoff=0.5)
