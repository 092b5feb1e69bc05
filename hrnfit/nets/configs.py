"""Configurations from JSON and networks from configurations, by the kind of network.

A document may come with a stranger's file: every key, type and range is checked, and a network that
would take more than `MOST_PARAMETERS` is refused before any memory is taken for it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from torch import nn

from hrnfit.check import check_one_of
from hrnfit.nets.analyzer import AnalyzerConfig, FaceAnalyzer
from hrnfit.nets.arcface import ArcFace, ArcFaceConfig
from hrnfit.nets.deretouch import DeretouchConfig, DeretouchNet
from hrnfit.nets.discriminator import DiscriminatorConfig, PatchDiscriminator
from hrnfit.nets.empty import without_numbers
from hrnfit.nets.generator import GeneratorConfig, ResnetGenerator
from hrnfit.nets.hrn import Hrn, HrnConfig

Config = (
    AnalyzerConfig
    | GeneratorConfig
    | DeretouchConfig
    | DiscriminatorConfig
    | ArcFaceConfig
    | HrnConfig
)

CONFIGS: dict[str, type[Config]] = {
    "analyzer": AnalyzerConfig,
    "generator": GeneratorConfig,
    "deretouch": DeretouchConfig,
    "discriminator": DiscriminatorConfig,
    "arcface": ArcFaceConfig,
    "hrn": HrnConfig,
}
"""Kinds of network."""

_NETWORKS: dict[type, type[nn.Module]] = {
    AnalyzerConfig: FaceAnalyzer,
    GeneratorConfig: ResnetGenerator,
    DeretouchConfig: DeretouchNet,
    DiscriminatorConfig: PatchDiscriminator,
    ArcFaceConfig: ArcFace,
    HrnConfig: Hrn,
}

MOST_PARAMETERS = 2**28
"""1 GB in float32; HRN has 47 million, ArcFace r100 65 million."""


def build(config: Config) -> nn.Module:
    """The network of a configuration, fresh weights, on torch's current default device."""
    return _NETWORKS[type(config)](config)


@functools.cache
def parameter_count(config: Config) -> int:
    """Numbers that the network learns, counted without taking memory for them."""
    return sum(p.numel() for p in laid_out(config).parameters())


def laid_out(config: Config) -> nn.Module:
    """The network of a configuration without numbers: shapes and names, to be given tensors."""
    with without_numbers():
        return build(config)


def document_from(config: Config) -> dict[str, Any]:
    """The configuration as JSON knows it: lists for tuples."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_from(kind: str, document: object) -> Config:
    """The configuration of a network of `kind` (a key of `CONFIGS`) from a JSON object.

    Fields with a default may be left out. Raises TypeError for a value of another type, ValueError for
    an unknown kind or key, a missing field, a number out of range, and a network too large.
    """
    check_one_of("kind of network", kind, CONFIGS)
    config = _record(CONFIGS[kind], document, kind)
    if parameter_count(config) > MOST_PARAMETERS:
        raise ValueError(
            f"{kind}: the network would have more than {MOST_PARAMETERS:,} parameters; "
            "the file's configuration is damaged or not meant for this library"
        )
    return config


def _record(kind: type[Any], document: object, path: str) -> Any:
    """An instance of a dataclass, its fields read by their annotations."""
    if not isinstance(document, Mapping):
        raise TypeError(f"{path}: expected an object of settings, got {_named(document)}")
    hints = typing.get_type_hints(kind)
    for key in document:
        check_one_of(f"{path}: setting", str(key), hints)
    needed = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    missing = sorted(needed - set(document))
    if missing:
        raise ValueError(f"{path}: missing {', '.join(missing)}")
    values = {key: _value(hints[key], value, f"{path}.{key}") for key, value in document.items()}
    return kind(**values)


def _value(hint: Any, value: object, path: str) -> Any:
    """One field's value of the annotated type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):  # only "X | None" occurs
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None else _value(inner, value, path)
    if origin is Literal:
        if not isinstance(value, str):
            raise TypeError(f"{path}: expected a word, got {_named(value)}")
        check_one_of(path, value, arguments)
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{path}: expected a list of {len(arguments)}, got {_named(value)}")
        if len(value) != len(arguments):
            raise ValueError(f"{path}: expected {len(arguments)} numbers, got {len(value)}")
        pairs = enumerate(zip(arguments, value, strict=True))
        return tuple(_value(a, v, f"{path}[{i}]") for i, (a, v) in pairs)
    if dataclasses.is_dataclass(hint):
        return _record(typing.cast("type[Any]", hint), value, path)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{path}: expected a whole number, got {_named(value)}")
    return value


def _named(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
