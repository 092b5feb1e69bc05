"""How values full of tensors are shown in one line: by shape, type and count, never by their numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

LONGEST = 40
"""Characters of a text that are shown."""


def brief(self: Any) -> str:
    """`Name(field=..., ...)` of a dataclass; set it as `__repr__`. Parts are named by type only."""
    shown = ", ".join(
        f"{f.name}={_part(getattr(self, f.name))}" for f in dataclasses.fields(self) if f.repr
    )
    return f"{type(self).__name__}({shown})"


def _part(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        size = "x".join(str(n) for n in value.shape) or "scalar"
        return f"{size} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else value[: LONGEST - 3] + "...")
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return f"{{{', '.join(str(key) for key in value)}}}"
    if isinstance(value, (tuple, list)):
        if all(isinstance(item, str) for item in value) and len(value) <= 9:
            return f"({', '.join(value)})"
        kinds = {type(item).__name__ for item in value}
        return f"{len(value)} {kinds.pop()}" if len(kinds) == 1 else f"{len(value)} items"
    if dataclasses.is_dataclass(value):
        return type(value).__name__
    return repr(value)
