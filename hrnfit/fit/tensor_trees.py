"""Trees of tensors (dataclasses, named tuples, dicts, tuples) as lists, for functions of tensors alone, and back.

What of a tree lies on the host goes to a device in one copy per dtype: each small one costs 20 us and a wait.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from hrnfit.tree import flatten, map_tensors

Tree = TypeVar("Tree")


def mapped(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """`map_tensors` that knows named tuples."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, part) for part in tree))
    if type(tree) is tuple:
        return tuple(mapped(function, part) for part in tree)  # pyright: ignore[reportReturnType]
    return map_tensors(function, tree)


def tensors_of(tree: Any) -> tuple[Tensor, ...]:
    """All tensors, in a fixed order."""
    found: list[Tensor] = []
    mapped(lambda t: found.append(t) or t, tree)
    return tuple(found)


def rebuilt(tree: Tree, tensors: Sequence[Tensor]) -> Tree:
    """The tree with these tensors, in the order of `tensors_of`."""
    rest = iter(tensors)
    return mapped(lambda _: next(rest), tree)


def hollow(tree: Tree) -> Tree:
    """The tree with shapes without memory: a recording may keep it."""
    return mapped(lambda t: torch.zeros((), dtype=t.dtype).expand(t.shape), tree)


def skeleton(tree: Any) -> Hashable:
    """What of a tree is not a tensor."""
    leaves = flatten(tree).items()
    return tuple((path, None if isinstance(x, Tensor) else x) for path, x in leaves)


def sent(tree: Tree, device: torch.device) -> Tree:
    """The tree on a device."""
    if device.type == "cpu":
        return mapped(lambda t: t.to(device), tree)
    tensors = list(tensors_of(tree))
    waiting: dict[torch.dtype, list[int]] = {}
    for i, tensor in enumerate(tensors):
        if tensor.device.type == "cpu":
            waiting.setdefault(tensor.dtype, []).append(i)
    for places in waiting.values():
        flat = torch.cat([tensors[i].detach().reshape(-1) for i in places]).to(device)
        parts = flat.split([tensors[i].numel() for i in places])
        for i, part in zip(places, parts, strict=True):
            tensors[i] = part.view(tensors[i].shape)
    return mapped(lambda t: t.to(device), rebuilt(tree, tensors))
