"""Which project on which server, and with whose token: from settings, the environment, or the address of a remote."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from luminaguard.forges.server_address import why_no_server, without_password
from luminaguard.forges.token_text import checked_token
from luminaguard.host.git import QUIET, clean_env
from luminaguard.host.process import run_blocking
from luminaguard.model.faults import UserFault

_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^/@:]+):/?(?P<path>[^/].*)")
_PART = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project by its server's address and its path there: "https://gitlab.com" and "group/sub/name"."""

    web: str
    path: str

    @property
    def owner(self) -> str:
        """All but the last part of the path."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token, and the environment variable in which it was found."""

    text: str = field(repr=False)
    source: str


def project_named(path: str, *, base_url: str) -> Project:
    """Take a project's path on a server that the settings name.

    Raises:
        UserFault: one of the two cannot be.
    """
    parts = path.strip().strip("/").removesuffix(".git").split("/")
    if len(parts) < 2 or not all(_PART.fullmatch(part) for part in parts):
        raise UserFault(f"{path!r} names no project", hint='write it as "owner/name"')
    if (why := why_no_server(base_url)) is not None:
        raise UserFault(f"{without_password(base_url)!r} is no address of a server", hint=why)
    return Project(web=base_url.rstrip("/"), path="/".join(parts))


def project_of(address: str, *, base_url: str | None = None) -> Project | None:
    """Read a remote's address in any of git's forms; None where it names no project.

    `base_url` is where the server is, where the remote does not tell: another host for SSH, a path before all projects.
    """
    address = address.strip()
    try:
        split = urlsplit(address)
    except ValueError:  # "http://[::1"
        return None
    if split.scheme in ("http", "https"):
        web, path = f"{split.scheme}://{split.netloc.rpartition('@')[2]}", split.path
    elif split.scheme in ("ssh", "git", "git+ssh"):
        web, path = f"https://{split.hostname or ''}", split.path
    elif (found := _SCP.fullmatch(address)) is not None and "://" not in address:
        web, path = f"https://{found['host']}", found["path"]
    else:
        return None
    prefix = urlsplit(base_url or "").path.strip("/")
    path = path.strip("/")
    bare = path.removeprefix(f"{prefix}/") if prefix else path
    try:
        return project_named(bare, base_url=base_url or web)
    except UserFault:
        return None


def project_at(root: Path, *, remote: str = "origin", base_url: str | None = None) -> Project | None:
    """Read the project from a remote of the checkout at `root`; None where there is none."""
    argv = ("git", "-C", str(root), *QUIET, "remote", "get-url", remote)
    ran = run_blocking(argv, env=clean_env({}), timeout_s=30.0)
    return project_of(ran.out.decode(errors="replace"), base_url=base_url) if ran.exit_code == 0 else None


def token_in(env: Mapping[str, str], names: Sequence[str]) -> ApiToken | None:
    """Take the first of the variables that holds something.

    Raises:
        UserFault: what it holds is no token.
    """
    name = next((name for name in names if env.get(name, "").strip()), None)
    return None if name is None else ApiToken(text=checked_token(env[name].strip(), source=name), source=name)
