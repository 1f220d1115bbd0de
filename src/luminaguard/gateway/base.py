"""The seam of the gateway: who may call, what it may cost, what was spent, and the words that pass through its ledger.

The gateway is a process of its own, one for a run. It and the orchestrator share nothing but the ledger, a file that
each of them may be killed beside: what was spent is written before an answer's last byte goes out.

Raises `HostFault` where the ledger or the socket cannot be had, `UserFault` where the settings are not usable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from luminaguard.model.ids import IssueId, RunId

Api = Literal["anthropic", "openai", "gemini"]
"""How a provider is spoken to; "openai" is both Responses and Chat Completions."""
Role = Literal["work", "review"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where model calls go. A program inside reaches it at `GATEWAY_URL/NAME`; `key` never leaves the gateway.

    `base_url` is what follows before the API's own path: "https://api.anthropic.com" before "/v1/messages",
    "http://127.0.0.1:11434" before "/v1/chat/completions".
    """

    name: str
    api: Api
    base_url: str
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens. `cached` counts input that the provider found in its cache."""

    input: float
    output: float
    cached: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent; None is without bound."""

    usd_per_issue: float | None = None
    usd_per_run: float | None = None
    tokens_per_issue: int | None = None
    tokens_per_run: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """All that a gateway needs to know.

    `hosts` are those that it lets through besides: "pypi.org", "example.org:8443", "*.example.org", or presets;
    `transcripts` is a folder to record calls in, keys removed; `forge` is the socket of the repository's own forge.
    """

    socket: Path
    ledger: Path
    providers: tuple[Provider, ...]
    hosts: tuple[str, ...] = ()
    prices: Mapping[str, Price] = field(default_factory=dict)
    transcripts: Path | None = None
    forge: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Who holds a dummy key: every call with it is counted for this attempt."""

    run: RunId
    issue: IssueId
    attempt: int
    role: Role = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What calls have cost. `input_tokens` includes those that the provider had cached."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        """Both ways together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=self.usd + other.usd,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """A provider said "not before": `until` is seconds since the epoch, `since` when it said so."""

    provider: str
    since: float
    until: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An agent wants to do something that the policy leaves to a person. `answer` None: nobody has said."""

    id: int
    issue: IssueId
    attempt: int
    what: str
    answer: bool | None


class Ledger(Protocol):
    """What orchestrator and gateway tell each other."""

    def key_for(self, holder: Pass) -> str:
        """Give the dummy key of an attempt: always the same one for the same holder."""

    def allow(self, run: RunId, budget: Budget) -> None:
        """Say what the run may spend from now on."""

    def spent(self, run: RunId) -> Mapping[Pass, Spent]:
        """Tell what was spent, by who spent it."""

    def refusal(self, run: RunId, issue: IssueId) -> str | None:
        """Say which budget of the issue or the run is spent, how much and on what; None where none is."""

    def limits(self, run: RunId) -> Sequence[Limited]:
        """List what providers said of limits during the run, oldest first."""

    def notes(self, run: RunId) -> Sequence[str]:
        """Say in sentences what a person must know of the numbers: prices unknown, counts guessed, keys refused."""

    def say(self, run: RunId, issue: IssueId, *, number: int, text: str) -> None:
        """Leave a person's words for the agent at work on an issue; the same number again does nothing."""

    def heard(self, run: RunId, issue: IssueId) -> int:
        """Give the number of the last words that an agent has taken in; 0 where none."""

    def questions(self, run: RunId) -> Sequence[Question]:
        """List what agents asked and nobody has answered yet."""

    def answer(self, question: int, *, ok: bool) -> None:
        """Answer a question; the first answer stands."""
