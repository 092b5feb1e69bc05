"""Values full of tensors in one line."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from hrnfit.brief import brief


@dataclass
class Inner:
    x: int = 1


@dataclass
class Outer:
    pixels: torch.Tensor = field(default_factory=lambda: torch.zeros(2, 3))
    number: torch.Tensor = field(default_factory=lambda: torch.tensor(1.0))
    text: str = "a" * 50
    names: tuple[str, ...] = ("left", "right")
    parts: tuple[Inner, ...] = (Inner(), Inner())
    table: dict[str, Inner] = field(default_factory=lambda: {"one": Inner()})
    inner: Inner = field(default_factory=Inner)
    photograph: bytes = b"12345"
    count: int = 3
    none: None = None
    hidden: int = field(default=7, repr=False)

    __repr__ = brief


def test_every_kind_of_field():
    assert repr(Outer()) == (
        "Outer(pixels=2x3 float32, number=scalar float32, text='" + "a" * 37 + "...', "
        "names=(left, right), parts=2 Inner, table={one}, inner=Inner, photograph=5 bytes, count=3, "
        "none=None)"
    )
