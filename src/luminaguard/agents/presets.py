"""Agent programs that we know: how each is started, what it speaks, and which version was tried with us."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from luminaguard.agents import setups
from luminaguard.agents.access import Api
from luminaguard.agents.setups import Maker
from luminaguard.model.ids import Json

Protocol = Literal["acp", "claude", "codex", "builtin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One known agent.

    `apis` are those of the providers that it can be given, the first the usual one. `tested` is the version that our
    own tests run, None where they run none. `mode` is the session mode that lets it work (ACP). `needs_model`: it
    cannot do without the name of a model.
    """

    name: str
    protocol: Protocol
    argv: tuple[str, ...]
    apis: tuple[Api, ...]
    setup: Maker
    tested: str | None = None
    mode: str | None = None
    needs_model: bool = False

    def table(self, *, provider: str, model: str | None) -> Mapping[str, Json]:
        """Give the keys of a working [agents.NAME], in the order to write them."""
        keys: dict[str, Json] = {"protocol": self.protocol}
        if self.protocol == "acp":
            keys["argv"] = list(self.argv)
        keys["provider"] = provider
        if model is not None:
            keys["model"] = model
        if self.protocol == "acp":
            keys["ask"] = "allow"  # the walls hold: an agent that cannot run the tests works blindly
        return keys


PRESETS: Sequence[Preset] = (
    Preset(
        name="claude",
        protocol="claude",
        argv=("claude",),
        apis=("anthropic",),
        setup=setups.claude,
        tested="2.1.330",
    ),
    Preset(
        name="claude-agent-acp",
        protocol="acp",
        argv=("claude-agent-acp",),
        apis=("anthropic",),
        setup=setups.claude,
        tested="0.100.0",
    ),
    Preset(
        name="codex",
        protocol="codex",
        argv=("codex",),
        apis=("openai",),
        setup=setups.codex,
        tested="0.169.0",
    ),
    Preset(
        name="codex-acp",
        protocol="acp",
        argv=("codex-acp",),
        apis=("openai",),
        setup=setups.codex,
        tested="2.6.0",
        mode="agent-full-access",
    ),
    Preset(
        name="opencode",
        protocol="acp",
        argv=("opencode", "acp"),
        apis=("openai", "anthropic", "gemini"),
        setup=setups.opencode,
        tested="1.18.33",
        needs_model=True,
    ),
    Preset(
        name="gemini",
        protocol="acp",
        argv=("gemini", "--acp"),
        apis=("gemini",),
        setup=setups.gemini,
    ),
    Preset(
        name="copilot",
        protocol="acp",
        argv=("copilot", "--acp"),
        apis=("openai",),
        setup=setups.copilot,
        needs_model=True,
    ),
    Preset(
        name="qwen",
        protocol="acp",
        argv=("qwen", "--acp"),
        apis=("openai",),
        setup=setups.qwen,
        needs_model=True,
    ),
    Preset(
        name="pi",
        protocol="acp",
        argv=("pi-acp",),
        apis=("openai", "anthropic"),
        setup=setups.pi,
        needs_model=True,
    ),
    Preset(
        name="builtin",
        protocol="builtin",
        argv=(),
        apis=("openai", "anthropic"),
        setup=setups.plain,
        needs_model=True,
    ),
)


def preset_of(argv: Sequence[str]) -> Preset | None:
    """Find the preset of a command line by its program's name, wherever it lies."""
    program = PurePosixPath(argv[0]).name
    return next((preset for preset in PRESETS if preset.argv and preset.argv[0] == program), None)


def installed(path: str | None = None) -> tuple[Preset, ...]:
    """Find the known programs on a PATH, by default that of this process, and the built-in one; starts none."""
    return tuple(preset for preset in PRESETS if not preset.argv or shutil.which(preset.argv[0], path=path))
