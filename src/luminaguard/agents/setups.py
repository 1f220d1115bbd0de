"""What each agent program must be told to call models through the gateway and nothing else: variables and files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from luminaguard.agents.access import NO_KEY, Api, ModelAccess, model_env
from luminaguard.model.ids import Json

CONTEXT_TOKENS, ANSWER_TOKENS = 200_000, 32_000
RETRIES = 3
"""What a program tries by itself: the gateway waits short limits out, and nothing mends a long one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What to set for one attempt. `files` are paths below the home; `args` follow the program's own."""

    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a setup is made for. `asks`: leave to write and to run must be asked of us."""

    models: ModelAccess
    key: str
    asks: bool = False
    is_review: bool = False

    @property
    def env(self) -> dict[str, str]:
        """The usual variables."""
        return dict(model_env(self.models, self.key))


def claude(wish: Wish) -> Setup:
    """Claude Code, itself or behind claude-agent-acp."""
    off = ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING")
    more = {
        **dict.fromkeys((*off, "DISABLE_AUTOUPDATER"), "1"),
        "CLAUDE_CODE_MAX_RETRIES": str(RETRIES),
        "IS_SANDBOX": "1",  # it will not work unasked as root otherwise
    }
    if wish.models.model:
        more["ANTHROPIC_MODEL"] = wish.models.model
    return Setup(env={**wish.env, **more})


def codex(wish: Wish) -> Setup:
    """Codex, itself or behind codex-acp."""
    top: dict[str, Json] = {"model_provider": "luminaguard", "check_for_update_on_startup": False}
    if wish.models.model:
        top["model"] = wish.models.model
    # Our walls are the sandbox; its own cannot be made within them, and keeps .git read-only.
    top |= {"approval_policy": "never", "sandbox_mode": "danger-full-access", "web_search": "disabled"}
    provider: dict[str, Json] = {
        "name": "luminaguard",
        "base_url": f"{wish.models.url}/v1",
        "wire_api": "responses",
        "env_key": "LUMINAGUARD_KEY",
        "request_max_retries": RETRIES,
        "stream_max_retries": RETRIES,
    }
    text = "".join(
        (
            _toml(top),
            "\n[analytics]\n" + _toml({"enabled": False}),
            "\n[features]\n" + _toml({"plugins": False, "apps": False}),
            "\n[model_providers.luminaguard]\n" + _toml(provider),
        )
    )
    env = {**wish.env, "LUMINAGUARD_KEY": wish.key or NO_KEY, "NO_BROWSER": "1"}
    return Setup(env=env, files={".codex/config.toml": text})


def _toml(table: Mapping[str, Json]) -> str:
    # JSON's strings, numbers and truths are TOML's as well.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())


_OPENCODE_PACKAGES: Mapping[Api, tuple[str, str]] = {
    "openai": ("@ai-sdk/openai-compatible", "/v1"),
    "anthropic": ("@ai-sdk/anthropic", "/v1"),
    "gemini": ("@ai-sdk/google", "/v1beta"),
}


def opencode(wish: Wish) -> Setup:
    """Run opencode: by itself it asks before nothing, not even outside its folder."""
    package, path = _OPENCODE_PACKAGES[wish.models.api]
    model = wish.models.model or "default"
    known: dict[str, Json] = {
        "name": model,
        "tool_call": True,
        "limit": {"context": CONTEXT_TOKENS, "output": ANSWER_TOKENS},
    }
    provider: dict[str, Json] = {
        "npm": package,
        "name": "luminaguard",
        "options": {"baseURL": wish.models.url + path, "apiKey": wish.key or NO_KEY},
        "models": {model: known},
    }
    rule = "deny" if wish.is_review else "ask" if wish.asks else "allow"
    config: dict[str, Json] = {
        "autoupdate": False,
        "share": "disabled",
        "model": f"luminaguard/{model}",
        "small_model": f"luminaguard/{model}",
        "enabled_providers": ["luminaguard"],
        "permission": {"edit": rule, "bash": rule, "webfetch": "deny"},
        "provider": {"luminaguard": provider},
    }
    off = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    env = {f"OPENCODE_DISABLE_{name}": "1" for name in off}
    # As a variable it comes before what the repository may say.
    return Setup(env={**env, "OPENCODE_CONFIG_CONTENT": json.dumps(config)})


def gemini(wish: Wish) -> Setup:
    """Gemini CLI."""
    settings: dict[str, Json] = {
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableUpdateNag": True, "disableAutoUpdate": True},
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "context": {"fileName": ["AGENTS.md", "GEMINI.md"]},
    }
    args = ("-m", wish.models.model) if wish.models.model else ()
    return Setup(env=wish.env, files={".gemini/settings.json": json.dumps(settings)}, args=args)


def copilot(wish: Wish) -> Setup:
    """Copilot CLI, with a provider of one's own and no GitHub."""
    env = {
        "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false",
        "COPILOT_PROVIDER_BASE_URL": f"{wish.models.url}/v1",
        "COPILOT_PROVIDER_API_KEY": wish.key or NO_KEY,
        "COPILOT_MODEL": wish.models.model or "",
    }
    return Setup(env=env)


def qwen(wish: Wish) -> Setup:
    """Qwen Code."""
    settings: dict[str, Json] = {
        "privacy": {"usageStatisticsEnabled": False},
        "security": {"auth": {"selectedType": "openai"}, "folderTrust": {"enabled": False}},
    }
    env = {**wish.env, "OPENAI_MODEL": wish.models.model or ""}
    return Setup(env=env, files={".qwen/settings.json": json.dumps(settings)})


def pi(wish: Wish) -> Setup:
    """Pi, behind pi-acp."""
    model: dict[str, Json] = {"id": wish.models.model, "contextWindow": CONTEXT_TOKENS, "maxTokens": ANSWER_TOKENS}
    apis = {"openai": "openai-completions", "anthropic": "anthropic-messages"}
    path = "/v1" if wish.models.api == "openai" else ""
    provider: dict[str, Json] = {
        "baseUrl": wish.models.url + path,
        "api": apis[wish.models.api],
        "apiKey": wish.key or NO_KEY,
        "models": [model],
    }
    settings: dict[str, Json] = {"defaultProvider": "luminaguard", "defaultModel": wish.models.model}
    files = {
        ".pi/agent/models.json": json.dumps({"providers": {"luminaguard": provider}}),
        ".pi/agent/settings.json": json.dumps(settings),
    }
    return Setup(files=files, env={"PI_OFFLINE": "1"})


def plain(wish: Wish) -> Setup:
    """Any other program: the usual variables."""
    return Setup(env=wish.env)


Maker = Callable[[Wish], Setup]
