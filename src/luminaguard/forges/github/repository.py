"""Which repository on which server: from a name that the user set, or from the address of a remote."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from luminaguard.forges.server_address import why_no_server
from luminaguard.host.git import QUIET, clean_env
from luminaguard.host.process import run_blocking
from luminaguard.model.faults import UserFault

DOTCOM = "github.com"

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_PATH = rf"(?P<owner>{_NAME})/(?P<name>{_NAME}?)(?:\.git)?/?"
_FORMS = (
    re.compile(rf"(?P<scheme>https?)://(?:[^@/]*@)?(?P<host>[^/@:]+(?::\d+)?)/{_PATH}"),
    re.compile(rf"(?:ssh|git)(?:\+ssh)?://(?:[^@/]*@)?(?P<host>[^/@:]+)(?::\d+)?/{_PATH}"),
    re.compile(rf"(?:[^@/:]+@)?(?P<host>[^/@:]+):/?{_PATH}"),
)
_ALSO_DOTCOM = frozenset({"ssh.github.com", "www.github.com", "api.github.com"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository by host, owner and name. `base_url` is its server's API, where that is elsewhere."""

    owner: str
    name: str
    host: str = DOTCOM
    base_url: str | None = None

    @property
    def full(self) -> str:
        """Owner and name, as a person writes it."""
        return f"{self.owner}/{self.name}"

    @property
    def server(self) -> str:
        """The host that we speak to, as `gh` calls it: that of `base_url` where one is set."""
        host = self.host if self.base_url is None else urlsplit(self.base_url).netloc.lower()
        return _host_of(host.removeprefix("api.") if host.endswith(".ghe.com") else host)

    @property
    def api(self) -> str:
        """Where REST calls go, with a slash at the end."""
        if self.base_url is not None:
            return f"{self.base_url.rstrip('/')}/"
        if self.host == DOTCOM or self.host.endswith(".ghe.com"):
            return f"https://api.{self.host}/"
        return f"https://{self.host}/api/v3/"

    @property
    def graphql(self) -> str:
        """Where GraphQL calls go."""
        return f"{self.api.removesuffix('v3/') if self.api.endswith('/api/v3/') else self.api}graphql"


def repository_of(address: str, *, base_url: str | None = None) -> Repository | None:
    """Read a remote's address in any of git's forms; None where it names no owner and repository."""
    found = next((match for form in _FORMS if (match := form.fullmatch(address.strip()))), None)
    if found is None or not found["name"] or why_no_server(f"https://{found['host']}") is not None:
        return None
    return Repository(owner=found["owner"], name=found["name"], host=_host_of(found["host"].lower()), base_url=base_url)


def _host_of(host: str) -> str:
    return DOTCOM if host in _ALSO_DOTCOM else host


def repository_named(name: str, *, host: str = DOTCOM, base_url: str | None = None) -> Repository:
    """Read "owner/name", or "host/owner/name" as `gh` takes it.

    Raises:
        UserFault: it is neither.
    """
    found = re.fullmatch(rf"(?:(?P<host>[^/\s]+)/)?(?P<owner>{_NAME})/(?P<name>{_NAME})", name.strip())
    if found is None or why_no_server(f"https://{found['host'] or host}") is not None:
        raise UserFault(f"{name!r} names no repository of GitHub", hint='write it as "owner/name"')
    return Repository(owner=found["owner"], name=found["name"], host=found["host"] or host, base_url=base_url)


def repository_at(root: Path, *, remote: str = "origin", base_url: str | None = None) -> Repository | None:
    """Read the repository from a remote of the checkout at `root`; None where there is no such remote, or elsewhere."""
    argv = ("git", "-C", str(root), *QUIET, "remote", "get-url", remote)
    ran = run_blocking(argv, env=clean_env({}), timeout_s=30.0)
    return repository_of(ran.out.decode(errors="replace"), base_url=base_url) if ran.exit_code == 0 else None
