"""Settings out of plain YAML values, checked key by key.

An unknown key is an error that names the nearest known one; a number that YAML reads as text
(`1e-3`) is taken as the number it looks like.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

LEAST = {"size": 16, "texels": 8, "steps": 1, "rounds": 1, "max_steps": 1}
LEAST |= {"deformation": 4, "displacement": 8, "albedo": 8}
"""Smallest value of a setting; of the others 0, without 0 itself where they divide (`_deviation`,
`_scale`)."""
MOST: dict[str, int] = dict.fromkeys(
    ("size", "texels", "deformation", "displacement", "albedo"), 8192
)
"""Largest side of a window or a map: ten maps of 8192 texels take 8 GB."""


def build(kind: type, values: Any, where: str, allowed: set[str] | None = None) -> Any:
    """A dataclass from a mapping: unknown keys and wrong types are errors, numbers as text are not."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a mapping, got {values!r}")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]
    for key in values:
        if key not in known and key not in (allowed or set()):
            nearest = difflib.get_close_matches(str(key), [*known, *(allowed or ())], 1, 0.0)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise ValueError(f"{where}: unknown key {key!r}; {hint}known: {', '.join(known)}")
    arguments = {k: convert(hints[k], v, f"{where}: {k}") for k, v in values.items() if k in known}
    for key, value in arguments.items():
        if hints[key] in (int, float):
            _check_range(key, value, f"{where}: {key}")
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in arguments
    ]
    if missing:
        raise ValueError(f"{where}: missing {', '.join(missing)}")
    return kind(**arguments)


def convert(hint: Any, value: Any, where: str) -> Any:
    """A YAML value as the type a field declares."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin in (typing.Union, types.UnionType):
        options = [o for o in typing.get_args(hint) if o is not type(None)]
        return None if value is None else convert(options[0], value, where)
    if origin is tuple:
        values = value if isinstance(value, (list, tuple)) else [value]
        return tuple(convert(typing.get_args(hint)[0], v, where) for v in values)
    if origin in (dict, Mapping) or (origin is not None and origin.__name__ == "Mapping"):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected a mapping, got {value!r}")
        inner = typing.get_args(hint)[1]
        return {str(k): convert(inner, v, f"{where}.{k}") for k, v in value.items()}
    if hint in (int, float):
        return _number(hint, value, where)
    if hint is bool and not isinstance(value, bool):
        raise ValueError(f"{where}: expected true or false, got {value!r}")
    if hint is str and not isinstance(value, (str, int, float)):
        raise ValueError(f"{where}: expected text, got {value!r}")
    return str(value) if hint is str else value


def _check_range(key: str, value: float, where: str) -> None:
    least, most = LEAST.get(key, 0), MOST.get(key, math.inf)
    if value < least or value > most:
        limits = f"at least {least}" if most == math.inf else f"{least} to {most}"
        raise ValueError(f"{where}: expected {limits}, got {value:g}")
    if value == 0 and key.endswith(("_deviation", "_scale")):
        raise ValueError(f"{where}: expected a number above 0, got 0; 1e-6 holds it fixed")


def _number(kind: type, value: Any, where: str) -> Any:
    try:
        if not math.isfinite(float(value)):
            raise ValueError
        if isinstance(value, bool) or (kind is int and float(value) != int(float(value))):
            raise ValueError
        return kind(float(value))
    except (TypeError, ValueError, OverflowError):
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{where}: expected {noun}, got {value!r}") from None
