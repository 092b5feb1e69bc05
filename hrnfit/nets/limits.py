"""What a network may be asked for: sizes in a configuration, and pictures whose sides suit it.

A configuration may come with a stranger's file, so no number in it is believed unchecked.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hrnfit.check import check_shape

MOST_CHANNELS = 4096
MOST_BLOCKS = 64
"""In one layer; the deepest published network of these kinds has 36."""
MOST_LAYERS = 6
"""Of a discriminator: its receptive field is then 574 px."""


def check_whole(name: str, value: int, low: int, high: int) -> None:
    """`value` is a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a whole number, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a whole number from {low} to {high}, got {value}")


def check_depths(name: str, depths: Sequence[int]) -> None:
    """Blocks in each of four layers, each from 1 to `MOST_BLOCKS`."""
    if len(depths) != 4:
        raise ValueError(f"{name}: expected 4 numbers of blocks, got {len(depths)}")
    for i, depth in enumerate(depths):
        check_whole(f"{name}[{i}]", depth, 1, MOST_BLOCKS)


def check_picture(
    name: str, picture: Tensor, channels: int, multiple: int = 1, least: int = 1
) -> None:
    """`picture` (B, channels, H, W) has sides that are multiples of `multiple` and at least `least`."""
    check_shape(name, picture, ("B", channels, "H", "W"), "one picture is picture[None]")
    height, width = picture.shape[-2:]
    if height % multiple or width % multiple or min(height, width) < least:
        rule = f"multiples of {multiple}, " if multiple > 1 else ""
        raise ValueError(
            f"{name}: expected sides that are {rule}at least {least} px, got {height} x {width}; "
            "resize or pad the picture"
        )
