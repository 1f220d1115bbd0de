"""What each agent is started with: the gateway, the dummy key, and nothing of ours in its arguments."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from playing import KEY, brief

from luminaguard.agents import inside, presets
from luminaguard.agents.access import Api, ModelAccess, forge_env, proxy_env
from luminaguard.agents.acp import PACKAGES, AcpAgent
from luminaguard.agents.base import Agent, Launch
from luminaguard.agents.builtin import BuiltinAgent
from luminaguard.agents.claude import ClaudeAgent
from luminaguard.agents.codex import CodexAgent
from luminaguard.agents.command import CommandAgent
from luminaguard.agents.presets import PRESETS, Preset, preset_of
from luminaguard.sandboxes.base import GATEWAY_URL


def models(api: Api, *, model: str | None = "m-1") -> ModelAccess:
    return ModelAccess(provider="prov", api=api, model=model)


def task(launch: Launch) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(launch.env["LUMINAGUARD_AGENT"])
    return told


def known(preset: Preset, **keys: Any) -> Agent:
    """Make the agent of a preset."""
    access = models(preset.apis[0])
    match preset.protocol:
        case "claude":
            return ClaudeAgent(name="mine", models=access, **keys)
        case "codex":
            return CodexAgent(name="mine", models=access, **keys)
        case "builtin":
            return BuiltinAgent(name="mine", models=access, **keys)
        case "acp":
            return AcpAgent(name="mine", argv=preset.argv, models=access, **keys)


every = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)


@every
def test_known_agent_reaches_models_by_the_gateway_with_the_dummy_key(preset: Preset) -> None:
    launch = known(preset).launch(brief(prompt="SECRET WORDS"))
    told = task(launch)
    said = json.dumps([told["env"], told["files"], told["argv"]])
    assert launch.needs_gateway
    assert (told["gateway"], told["provider"], told["key"]) == (GATEWAY_URL, "prov", KEY)
    if preset.protocol != "builtin":
        assert f"{GATEWAY_URL}/prov" in said
        assert KEY in said
    assert KEY not in " ".join(launch.argv)
    assert "SECRET WORDS" not in str(launch)


@every
def test_known_agent_sees_what_it_needs_and_may_write_none_of_it(preset: Preset) -> None:
    launch = known(preset).launch(brief())
    assert all(mount.source.exists() and not mount.writable for mount in launch.mounts)
    assert {"-I", "-S"} < set(launch.argv)


@every
def test_home_is_kept_for_work_that_goes_on_alone(preset: Preset) -> None:
    if preset.protocol == "builtin":
        return
    assert known(preset, resume=True).launch(brief()).keeps_home
    assert not known(preset, resume=True).launch(brief(is_review=True)).keeps_home
    assert not known(preset).launch(brief()).keeps_home


def test_codex_is_configured_for_the_gateway() -> None:
    files = task(CodexAgent(name="mine", models=models("openai")).launch(brief()))["files"]
    config = tomllib.loads(files[".codex/config.toml"])
    provider = config["model_providers"][config["model_provider"]]
    assert provider["base_url"] == f"{GATEWAY_URL}/prov/v1"
    assert (provider["wire_api"], config["analytics"]["enabled"], config["model"]) == ("responses", False, "m-1")


@pytest.mark.parametrize("model", ['a"b', "a\\b", "ü\n", "a/b:c"])
def test_model_of_any_name_makes_a_readable_configuration(model: str) -> None:
    files = task(CodexAgent(name="mine", models=models("openai", model=model)).launch(brief()))["files"]
    assert tomllib.loads(files[".codex/config.toml"])["model"] == model


@pytest.mark.parametrize(("ask", "rule"), [("allow", "allow"), ("ask", "ask"), ("deny", "ask")])
def test_opencode_asks_where_the_policy_wants_to_be_asked(ask: Any, rule: str) -> None:
    agent = AcpAgent(name="mine", argv=("opencode", "acp"), models=models("openai"), ask=ask)
    config = json.loads(task(agent.launch(brief()))["env"]["OPENCODE_CONFIG_CONTENT"])
    assert (config["permission"]["bash"], config["model"]) == (rule, "luminaguard/m-1")


def test_provider_of_another_api_is_told() -> None:
    agent = CodexAgent(name="mine", argv=(sys.executable,), models=models("anthropic"))
    assert agent.missing() == (
        "[agents.mine] codex speaks openai, and the provider 'prov' anthropic; give it another provider"
    )


def test_model_that_must_be_named_is_told() -> None:
    agent = BuiltinAgent(name="mine", models=models("openai", model=None))
    assert agent.missing() == '[agents.mine] builtin must be told a model; write model = "..."'


@pytest.mark.parametrize("make", [ClaudeAgent, CodexAgent, AcpAgent])
def test_program_that_is_not_there_is_told(make: Any) -> None:
    why = make(name="mine", argv=("no-such-agent",)).missing()
    assert why is not None
    assert "'no-such-agent' of [agents.mine]" in why


def test_builtin_agent_misses_nothing() -> None:
    assert BuiltinAgent(name="mine", models=models("anthropic")).missing() is None


def test_preset_is_found_wherever_the_program_lies() -> None:
    assert preset_of(("/opt/x/bin/codex-acp", "--flag")) is preset_of(("codex-acp",))
    assert preset_of(("my-agent",)) is None


def test_installed_agents_are_found_and_the_builtin_one_always(tmp_path: Path) -> None:
    (tmp_path / "codex").write_text("#!/bin/sh\n")
    (tmp_path / "codex").chmod(0o755)
    assert [preset.name for preset in presets.installed(str(tmp_path))] == ["codex", "builtin"]


def test_table_of_a_preset_is_what_to_write() -> None:
    preset = preset_of(("opencode",))
    assert preset is not None
    assert preset.table(provider="openai", model="m") == {
        "protocol": "acp",
        "argv": ["opencode", "acp"],
        "provider": "openai",
        "model": "m",
        "ask": "allow",
    }


@pytest.mark.parametrize(
    ("api", "env"),
    [
        ("anthropic", {"ANTHROPIC_BASE_URL": f"{GATEWAY_URL}/prov", "ANTHROPIC_API_KEY": KEY}),
        ("openai", {"OPENAI_BASE_URL": f"{GATEWAY_URL}/prov/v1", "OPENAI_API_KEY": KEY}),
        ("gemini", {"GOOGLE_GEMINI_BASE_URL": f"{GATEWAY_URL}/prov", "GEMINI_API_KEY": KEY}),
    ],
)
def test_command_with_a_provider_finds_it_in_the_usual_variables(api: Api, env: dict[str, str]) -> None:
    launch = CommandAgent(name="mine", argv=("sh",), models=models(api)).launch(brief())
    ours = {"LUMINAGUARD_GATEWAY": GATEWAY_URL, "LUMINAGUARD_KEY": KEY, "LUMINAGUARD_MODEL": "m-1"}
    assert launch.env == {**env, **ours}
    assert launch.needs_gateway


def test_command_without_a_provider_has_no_gateway() -> None:
    launch = CommandAgent(name="mine", argv=("sh",)).launch(brief())
    assert (launch.env, launch.needs_gateway) == ({}, False)


def test_hosts_are_reached_by_the_proxy_and_the_gateway_without_it() -> None:
    env = CommandAgent(name="mine", argv=("sh",), is_proxied=True).launch(brief()).env
    assert env["HTTPS_PROXY"] == f"http://luminaguard:{KEY}@127.0.0.1:8470"
    assert env["NO_PROXY"] == "127.0.0.1,localhost"
    assert proxy_env(KEY).items() <= env.items()


@every
def test_known_agent_finds_hosts_in_its_own_environment(preset: Preset) -> None:
    """Where the placement can add to it, and the driver hands it on."""
    launch = known(preset, is_proxied=True).launch(brief())
    assert proxy_env(KEY).items() <= launch.env.items()
    assert not proxy_env(KEY).keys() & known(preset).launch(brief()).env.keys()


def test_gh_finds_the_forge_by_its_environment_alone() -> None:
    env = forge_env(KEY, token="lgf_x", repository="ann/demo")
    assert env["HTTP_PROXY"] == f"http://luminaguard:{KEY}@127.0.0.1:8470"
    assert (env["GH_HOST"], env["GH_TOKEN"], env["GH_REPO"]) == (
        "github.localhost",
        "lgf_x",
        "github.localhost/ann/demo",
    )
    assert "localhost" not in env["NO_PROXY"]  # Go would take it for github.localhost as well
    assert env["GITHUB_API_URL"] == f"{GATEWAY_URL}/forge/api/v3"
    assert "GITHUB_TOKEN" not in env


def test_every_driver_begins_with_what_is_mounted_alone(tmp_path: Path) -> None:
    """Nothing of our package but the folder is there inside."""
    folder = tmp_path / "inside"
    shutil.copytree(Path(inside.__file__).parent, folder)
    launch = AcpAgent(name="mine", argv=("x",)).launch(brief())
    assert sum(str(mount.at).startswith("/run/luminaguard/lib/") for mount in launch.mounts) == len(PACKAGES)
    seen = {str(mount.at): str(mount.source) for mount in launch.mounts}
    packages = [seen[word] for word in launch.argv if word.startswith("/run/luminaguard/lib/")]
    for driver in ("acp_client", "claude_cli", "codex_cli", "builtin"):
        ran = subprocess.run(
            (launch.argv[0], "-I", "-S", str(folder), driver, *packages),
            env={
                "LUMINAGUARD_AGENT": json.dumps(
                    {"agent": "x", "argv": ["/no/such/agent"], "gateway": "http://127.0.0.1:9"}
                )
            },
            input="",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        assert ran.returncode in {0, 1}
