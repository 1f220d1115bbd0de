"""A guest's configuration as JSON: what another process, or a later one, begins the same guest from."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json
from luminaguard.vm.base import VmConfig


def config_json(config: VmConfig) -> dict[str, Json]:
    """Give a configuration as JSON, every field of it."""
    return cast("dict[str, Json]", _plain(config))


def config_of(said: Json) -> VmConfig:
    """Read what `config_json` gave; a field that is not there has its default.

    Raises:
        UserFault: it is no configuration; names the field.
    """
    return cast("VmConfig", _typed(VmConfig, said, "config"))


def _plain(value: object) -> Json:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, Path):
        return str(value)
    assert value is None or isinstance(value, bool | int | float | str)
    return value


def _typed(kind: Any, said: Json, where: str) -> object:
    """Check by the annotations: a field that `VmConfig` gets later needs no line here."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return None if said is None else _typed(inner[0], said, where)
    if is_dataclass(kind) and isinstance(said, dict):
        return _object(cast("type[object]", kind), said, where)
    if origin is tuple and isinstance(said, list):
        return tuple(_typed(inner[0], one, f"{where}[{number}]") for number, one in enumerate(said))
    if origin is Mapping and isinstance(said, dict):
        return {name: _typed(inner[1], one, f"{where}.{name}") for name, one in said.items()}
    if origin is Literal and said in inner:
        return said
    if kind is Path and isinstance(said, str):
        return Path(said)
    if kind is float and type(said) in {int, float}:
        return float(cast("float", said))
    if kind in {bool, int, str} and type(said) is kind:
        return said
    raise UserFault(f"{where} of the guest's configuration cannot be {said!r}")


def _object(kind: type[Any], said: dict[str, Json], where: str) -> object:
    hints = get_type_hints(kind)
    if unknown := sorted(said.keys() - hints.keys()):
        raise UserFault(f"{where} has a field that this version does not know: {unknown[0]}", hint="update luminaguard")
    try:
        return kind(**{name: _typed(hints[name], one, f"{where}.{name}") for name, one in said.items()})
    except TypeError as exc:
        raise UserFault(f"{where} of the guest's configuration is not whole: {exc}") from None
