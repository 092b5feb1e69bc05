"""How much memory a fit needs on a GPU, and how much there is.

The bound, in bytes, for V views in windows of S px and R x R texels of the chart:

    BASE + model + photographs + sum over stages (KEPT_PIXEL V S^2 + KEPT_TEXEL V R^2) + the largest piece of work
    + KEPT_PAIR (CHART_SHARE R^2)^2 for a surface stage + 24 R^2 unknowns for the largest coefficient stage

Stages keep windows and recordings for the next subject, so they add up; what they work with is given back, so only the
largest counts: that of a stage, WORK_PIXEL V S^2 + WORK_TEXEL V R^2, or of the appearance at A x A texels,
WORK_ALBEDO V A^2. Charts count as if they filled their square, but for pairs of texels; they fill 60 to 80 %. Photographs
are never allowed more than a share of the GPU (`observe/window_source.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor

from hrnfit.fit.recipe import Recipe, Stage
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.window_source import MOST_OF_DEVICE, PER_PIXEL


def gigabytes(count: int) -> str:
    """Bytes as a person reads them: 2.7 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{count / 1e6:.0f} MB"


def free_bytes(device: torch.device) -> int | None:
    """Memory that a fit could get now, torch's own reserve included; None where it cannot be asked."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device)
        beyond = min(free, (total_bytes(device) or 0) - reserved)
        return max(0, beyond) + reserved - torch.cuda.memory_allocated(device)
    return _pages("SC_AVPHYS_PAGES")


def total_bytes(device: torch.device) -> int | None:
    """Memory of the device, as far as this process may use it; None where it cannot be asked."""
    if device.type == "cuda":
        # recent versions of torch only
        share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda _: 1.0)(device)
        return int(share * torch.cuda.mem_get_info(device)[1])
    return _pages("SC_PHYS_PAGES")


def _pages(name: str) -> int | None:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


MOST_WORKERS = 3
"""Subjects at once on a GPU, however much memory it has."""
CONTEXT = 600_000_000
"""Of a process on a GPU, besides what it allocates: its CUDA context and loaded kernels."""
BASE = 400_000_000
"""Workspaces of the linear algebra libraries, and kernels."""
MODEL_COPIES = 3
"""The model itself, and its tangent and modes where stages hold them."""
PER_CHART_TEXEL = 64
"""Corners, weights, index and raster of a chart."""
KEPT_PIXEL = 74
"""Of each view's window in a stage: colour and mask twice (17 and 17), and ten encoded channels (40)."""
KEPT_TEXEL = 48
"""Of each view's texels in a stage: its light, and what two recordings pass to each other."""
KEPT_PAIR = 40
"""Of each pair of texels of a surface stage: the gap and what rounds pass to each other, five float64."""
CHART_SHARE = 0.8
"""Of the square that a chart fills at most, where pairs of its texels count."""
WORK_PIXEL = 100
"""Raster and depth; with Adam, what a differentiated image keeps."""
WORK_TEXEL = 300
"""Positions, normals, readings and their Jacobians, columns of the equations."""
WORK_ALBEDO = 210
"""The same without equations, with light."""


def fit_bytes(
    recipe: Recipe,
    model: FaceModel,
    sizes: Iterable[tuple[int, int]],
    device_bytes: int | None = None,
    frames: int = 1,
) -> int:
    """Bound of a fit's memory on a GPU, bytes.

    sizes: height and width of each photograph, px. device_bytes: memory of the GPU, for the share of it that
    photographs may take. frames: instants.
    """
    sizes = list(sizes)
    views, longest = len(sizes), max((max(size) for size in sizes), default=0)
    photographs = PER_PIXEL * sum(height * width for height, width in sizes)
    if device_bytes is not None:
        photographs = min(photographs, int(MOST_OF_DEVICE * device_bytes))
    stages = [(mirrored(stage), *stage_sides(stage, longest)) for stage in recipe.stages]
    kept = sum(n * (KEPT_PIXEL * s**2 + KEPT_TEXEL * r**2) for n, s, r in stages)
    pairs = sum((CHART_SHARE * r**2) ** 2 for r in _texels(recipe, "surface"))
    work = [n * (WORK_PIXEL * s**2 + WORK_TEXEL * r**2) for n, s, r in stages]
    albedo = WORK_ALBEDO * recipe.resolution.albedo**2
    columns = max(
        (24 * r**2 * _unknowns(model, frames) for r in _texels(recipe, "coefficients")), default=0
    )
    constants = model_bytes(recipe, model)
    together = int(KEPT_PAIR * pairs) + columns
    return BASE + constants + photographs + views * (kept + max([*work, albedo])) + together


def mirrored(stage: Stage) -> int:
    """Views that a stage makes of each: 2 where it adds the mirror image."""
    return 2 if getattr(stage.settings, "symmetry", False) else 1


def stage_sides(stage: Stage, longest: int) -> tuple[int, int]:
    """Window, px, and texels per side of a stage, for photographs whose longest side is known; 0 where it has
    none."""
    most = -(-longest // 64) * 64  # `scene.reaching`
    size = getattr(stage.settings, "size", 0)
    return min(size, most), getattr(stage.settings, "texels", 0)


def model_bytes(recipe: Recipe, model: FaceModel) -> int:
    """What belongs to the model on a GPU: itself, charts of every size, and the inverse of the map's sampling."""
    of_model = MODEL_COPIES * _tensor_bytes(model)
    charts = {*(r for _, r in (stage_sides(s, 0) for s in recipe.stages)), recipe.resolution.albedo}
    charts.add(recipe.resolution.displacement)
    nodes = recipe.resolution.deformation**2
    inverse = 3 * 8 * nodes**2 if any(s.solver == "surface" for s in recipe.stages) else 0
    return of_model + PER_CHART_TEXEL * sum(r**2 for r in charts) + min(inverse, 4_000_000_000)


def _texels(recipe: Recipe, solver: str) -> list[int]:
    """Texels per side of the stages of one solver."""
    return [s.settings.texels for s in recipe.stages if s.solver == solver]


def _unknowns(model: FaceModel, frames: int) -> int:
    return model.n_identity + frames * (model.n_expression + 7)


def _tensor_bytes(value: object) -> int:
    """Bytes of all tensors in a dataclass and its dictionaries."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(_tensor_bytes(entry) for entry in value.values())
    if is_dataclass(value):
        return sum(_tensor_bytes(getattr(value, f.name)) for f in fields(value))
    return 0


def workers_that_fit(device: torch.device, subjects: int, needed: int) -> int:
    """Subjects to fit at once, `needed` bytes each: on the CPU one, since a fit uses all of torch's threads."""
    if device.type == "cpu":
        return 1
    free = free_bytes(device) or 0
    return max(1, min(MOST_WORKERS, subjects, free // max(needed, 1)))


def processes_that_fit(
    count: int, subjects: int, needed: int, free: int, held: Sequence[int]
) -> int:
    """Of `count` processes those to use at once, `needed` bytes each besides its context. free: memory of the GPU, held:
    what each process has of it already, which is its own to use."""
    return max(1, min(count, subjects, (free + sum(held)) // (needed + CONTEXT)))
