"""How a program behind walls reaches models and hosts: through the gateway, with a dummy key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from luminaguard.sandboxes.base import GATEWAY_URL

Api = Literal["anthropic", "openai", "gemini"]
FORGE_HOST = "github.localhost"
NO_KEY = "none"
"""Programs refuse to start without any key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccess:
    """Whose models an agent calls: a key of [providers], how it is spoken to, and the model where one is named."""

    provider: str
    api: Api
    model: str | None = None

    @property
    def url(self) -> str:
        """Where it is, behind walls, up to the API's own path."""
        return f"{GATEWAY_URL}/{self.provider}"


def model_env(access: ModelAccess, key: str) -> Mapping[str, str]:
    """Give the variables by which most programs of an API find it."""
    key = key or NO_KEY
    match access.api:
        case "anthropic":
            return {"ANTHROPIC_BASE_URL": access.url, "ANTHROPIC_API_KEY": key}
        case "openai":
            return {"OPENAI_BASE_URL": f"{access.url}/v1", "OPENAI_API_KEY": key}
        case "gemini":
            return {"GOOGLE_GEMINI_BASE_URL": access.url, "GEMINI_API_KEY": key}


def proxy_env(key: str) -> Mapping[str, str]:
    """Give the variables by which most programs find the way to the hosts that are let through."""
    gateway = f"http://luminaguard:{key or NO_KEY}@{urlsplit(GATEWAY_URL).netloc}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    # Never the gateway itself: a model call would go through the proxy to its own address.
    return {**dict.fromkeys(names, gateway), "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def forge_env(key: str, *, token: str, repository: str) -> Mapping[str, str]:
    """Give the variables by which `gh` and other programs find their repository's forge, over those of `proxy_env`.

    `gh` speaks plain HTTP to one host alone, github.localhost, and finds it through the proxy. The token is not in
    GITHUB_TOKEN, which is for github.com.
    """
    return {
        "HTTP_PROXY": proxy_env(key)["HTTP_PROXY"],
        # Go reads the upper case first, takes "localhost" for all names below it, and lets localhost itself out anyway.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1,localhost",
        "GH_HOST": FORGE_HOST,
        "GH_TOKEN": token,
        "GH_REPO": f"{FORGE_HOST}/{repository}",
        "GH_NO_UPDATE_NOTIFIER": "1",
        "GH_PROMPT_DISABLED": "1",
        "GITHUB_API_URL": f"{GATEWAY_URL}/forge/api/v3",
        "GITHUB_GRAPHQL_URL": f"{GATEWAY_URL}/forge/api/graphql",
        "LUMINAGUARD_FORGE_TOKEN": token,
    }
