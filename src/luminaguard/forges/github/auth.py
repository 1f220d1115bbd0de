"""Who we are to GitHub: a token of the environment or of `gh`, or a GitHub App's key."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from luminaguard.forges.github.repository import DOTCOM
from luminaguard.forges.token_text import checked_token
from luminaguard.host.process import run_blocking
from luminaguard.model.faults import Fault, UserFault

GH_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token, and where it was found."""

    text: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppKey:
    """A GitHub App: its id or client id, and its private key's file. The repository leads to its installation."""

    app_id: str
    key_path: Path


Credentials = Token | AppKey


def find_token(
    host: str, *, env: Mapping[str, str], gh: Sequence[str] = ("gh",), is_named: bool = False
) -> Token | None:
    """Look for a token for `host`: in the environment, then with `gh auth token`; None where there is none.

    For Enterprise the names are others, as with `gh`, so that a token for github.com goes to no other server:
    GITHUB_TOKEN and GH_TOKEN count there only beside a GH_HOST or GITHUB_SERVER_URL that names it, or where it
    `is_named` by the settings.

    Raises:
        UserFault: what was found is no token.
    """
    for name in _names(host, env, is_named=is_named):
        if env.get(name, "").strip():
            return Token(text=checked_token(env[name].strip(), source=name), source=name)
    return _token_of_gh(host, env, gh)


def _names(host: str, env: Mapping[str, str], *, is_named: bool) -> tuple[str, ...]:
    everywhere = ("GITHUB_TOKEN", "GH_TOKEN")
    if host == DOTCOM or host.endswith(".ghe.com"):
        return everywhere
    server = env.get("GITHUB_SERVER_URL", "").rstrip("/").partition("://")[2]
    is_meant = is_named or host in (env.get("GH_HOST", ""), server)
    return ("GITHUB_ENTERPRISE_TOKEN", "GH_ENTERPRISE_TOKEN", *(everywhere if is_meant else ()))


def _token_of_gh(host: str, env: Mapping[str, str], gh: Sequence[str]) -> Token | None:
    quiet = {**env, "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1"}
    try:
        ran = run_blocking((*gh, "auth", "token", "--hostname", host), env=quiet, timeout_s=GH_WITHIN_S)
    except Fault:  # not installed, or it hangs: then there is none from there
        return None
    text, source = ran.out.decode(errors="replace").strip(), "gh auth token"
    return Token(text=checked_token(text, source=source), source=source) if ran.exit_code == 0 and text else None


def find_credentials(
    host: str,
    *,
    app: AppKey | None = None,
    env: Mapping[str, str] | None = None,
    gh: Sequence[str] = ("gh",),
    is_named: bool = False,
) -> Credentials | None:
    """Take the App where one is set, else look for a token, as `find_token`."""
    return app or find_token(host, env=os.environ if env is None else env, gh=gh, is_named=is_named)


def missing_credentials(credentials: Credentials | None, *, host: str) -> str | None:
    """Say what is absent and what to do, or None."""
    if isinstance(credentials, AppKey):
        try:
            private_key(credentials)
        except UserFault as fault:
            return f"{fault.message} ({fault.hint})"
        return None
    if credentials is not None:
        return None
    name = "GITHUB_TOKEN" if host == DOTCOM else "GITHUB_ENTERPRISE_TOKEN"
    flag = "" if host == DOTCOM else f" --hostname {host}"
    return f"there is no token for {host} (set {name}, or run `gh auth login{flag}`, or set a GitHub App's id and key)"


def private_key(app: AppKey) -> str:
    """Read an App's key.

    Raises:
        UserFault: it cannot be read, or is no private key.
    """
    try:
        text = app.key_path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise UserFault(
            f"the key of GitHub App {app.app_id} at {app.key_path} cannot be read: {why}",
            hint="download a private key from the App's settings, and name its file",
        ) from exc
    if "PRIVATE KEY-----" not in text:
        raise UserFault(f"{app.key_path} holds no private key", hint="name the .pem file from the App's settings")
    return text
