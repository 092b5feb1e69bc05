"""Checkpoints as others write them: names, shapes and types of the released files, random numbers in them.

Small networks keep every name of their layout; the released sizes come from `layouts.py`.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.arcface import ArcFaceConfig
from hrnfit.nets.configs import Config, laid_out
from hrnfit.nets.deretouch import DeretouchConfig
from hrnfit.nets.generator import GeneratorConfig
from hrnfit.nets.hrn import HrnConfig
from tests.nets.layouts import Layout, layout_of

ANALYZER = AnalyzerConfig(identity=4, expression=3, albedo=2, width=1, depths=(1, 1, 1, 1))

SMALL: dict[str, Config] = {
    "hrn": HrnConfig(ANALYZER, GeneratorConfig(6, 3, 1, 1), GeneratorConfig(9, 1, 1, 1)),
    "deep3d": HrnConfig(ANALYZER, None, None),
    "deretouch": DeretouchConfig(width=2),
    "arcface": ArcFaceConfig(width=2, depths=(1, 1, 1, 1), embedding=3),
}
"""A small network of each kind."""

State = OrderedDict[str, Tensor]


def filled(layout: Layout, seed: int = 0) -> State:
    """Numbers for a layout: int64 for counts of batches, positive float32 elsewhere, versions beside."""
    generator = torch.Generator().manual_seed(seed)
    state: State = OrderedDict()
    for name, shape in layout.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        else:
            state[name] = torch.rand(shape, generator=generator) * 0.1 + 0.01
    state._metadata = OrderedDict({"": {"version": 1}})  # as torch hangs it on a state dict
    return state


def sections(flat: State) -> dict[str, Any]:
    """A flat state of HRN or Deep3D under the top-level names of its file."""
    parts: dict[str, Any] = {}
    for name, value in flat.items():
        part, dot, rest = name.partition(".")
        if dot:
            parts.setdefault(part, OrderedDict())[rest] = value
        else:
            parts[part] = value
    return parts


def training(flat: State) -> dict[str, Any]:
    """`opt_00` and `sched_00` after one step on the generators, as torch's own optimizer writes them."""
    learned = [nn.Parameter(v.clone()) for k, v in flat.items() if k.startswith(("mid_", "high_"))]
    learned = learned or [nn.Parameter(torch.zeros(2))]
    for parameter in learned:
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.Adam(learned, lr=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.2)
    optimizer.step()
    scheduler.step()
    return {"opt_00": optimizer.state_dict(), "sched_00": scheduler.state_dict()}


def document(kind: str, flat: State) -> dict[str, Any]:
    """What the file of a kind holds, its training with it."""
    if kind == "deretouch":
        return {"generator": flat}
    if kind == "arcface":
        return flat
    if kind == "hrn":  # written as parameters: they are trained
        flat = OrderedDict(flat, alpha=nn.Parameter(flat["alpha"]), beta=flat["beta"])
    return sections(flat) | training(flat)


def small_state(kind: str) -> State:
    """Numbers of the small network of a kind; the tensors are the same ones each time."""
    return copy.copy(_small_state(kind))


@cache
def _small_state(kind: str) -> State:
    return filled(layout_of(laid_out(SMALL[kind])))


def write(path: Path, content: Any, *, legacy: bool = False) -> Path:
    """`torch.save`, in the zip format or in the one before it."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
