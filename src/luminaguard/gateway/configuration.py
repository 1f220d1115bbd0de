"""The configuration on its way to the process: JSON, on standard input and nowhere else, for the keys are in it."""

import json
from dataclasses import asdict
from pathlib import Path

from luminaguard.gateway.base import GatewayConfig, Price, Provider


def to_json(config: GatewayConfig) -> bytes:
    """Write it as one line."""
    said = {
        "socket": str(config.socket),
        "ledger": str(config.ledger),
        "providers": [asdict(provider) for provider in config.providers],
        "hosts": list(config.hosts),
        "prices": {model: asdict(price) for model, price in config.prices.items()},
        "transcripts": None if config.transcripts is None else str(config.transcripts),
        "forge": None if config.forge is None else str(config.forge),
    }
    return json.dumps(said).encode() + b"\n"


def from_json(line: bytes) -> GatewayConfig:
    """Read what `to_json` wrote."""
    said = json.loads(line)
    return GatewayConfig(
        socket=Path(said["socket"]),
        ledger=Path(said["ledger"]),
        providers=tuple(Provider(**provider) for provider in said["providers"]),
        hosts=tuple(said["hosts"]),
        prices={model: Price(**price) for model, price in said["prices"].items()},
        transcripts=None if said["transcripts"] is None else Path(said["transcripts"]),
        forge=None if said["forge"] is None else Path(said["forge"]),
    )
