"""What HRN lays beside the Basel model: a chart, albedo maps in it, a template and 3D landmarks.

`bfm_uvs2.npy` has one place per vertex, v up. Row 0 of the maps is v = 1, so they are maps of ours as
they lie. Their modes were rasterised from colours at the vertices: averaged to 256 texels they keep
those, in a quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.align import align_similarity
from hrnfit.importers.bfm09_files import find
from hrnfit.importers.bfm09_layout import MM_PER_UNIT, FrontModel
from hrnfit.importers.isolated import read_isolated
from hrnfit.importers.npy_file import map_npy
from hrnfit.importers.vertex_albedo import BASIS_SIZE, chart_raster, filled, srgb_slope
from hrnfit.io.image import linear_from_srgb
from hrnfit.io.obj import read_obj
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import LinearFaceModel

CHART, MEAN, BASIS = "bfm_uvs2.npy", "bfm_tex_mean2.npy", "bfm_texmap_base2.npy"
TEMPLATE, LANDMARKS = "template_bfm.obj", "similarity_Lm3D_all.mat"
NAMES = (CHART, MEAN, BASIS, TEMPLATE, LANDMARKS)

ROWS = 16
"""Rows of the reduced basis that are read at once: 16 x 2 x 512 x 3 x 80 numbers are 16 MB."""

LANDMARK_ERROR = 15.0
"""mm, root mean square, that Deep3D's landmarks may lie off the model's after alignment."""

LARGEST_TEMPLATE = 50_000_000
"""Bytes; vertices, texture coordinates and triangles of the published mesh take about 5e6."""


@dataclass(frozen=True)
class Extras:
    """Companion files that were found, by name."""

    files: dict[str, Path]

    @property
    def has_maps(self) -> bool:
        return MEAN in self.files


def found_extras(folders: Sequence[Path]) -> Extras:
    """The companions in some folders, the first wins.

    Raises ModelFormatError when the maps are there without each other or without their chart.
    """
    files = {name: path for name in NAMES if (path := find(name, folders)) is not None}
    missing = [name for name in (CHART, MEAN, BASIS) if name not in files]
    if missing and (MEAN in files or BASIS in files):
        raise ModelFormatError(
            f"{files[MEAN if MEAN in files else BASIS]}: needs {' and '.join(missing)} beside it; take it "
            "out of the folder to import without maps"
        )
    return Extras(files)


def chart(path: Path, n: int) -> Float[np.ndarray, "N 2"]:
    """Texture coordinates with v down."""
    uv = np.array(map_npy(path), dtype=np.float64)
    if uv.shape != (n, 2):
        raise ModelFormatError(f"{path}: expected ({n}, 2), one place per vertex, got {uv.shape}")
    if not (uv.min() >= 0.0 and uv.max() <= 1.0):
        raise ModelFormatError(
            f"{path}: values {uv.min():.3g} to {uv.max():.3g}, expected places in 0..1"
        )
    return np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1)


def check_template(path: Path, faces: Int[np.ndarray, "F 3"], n: int) -> None:
    """The template has the vertices and triangles of the model, in any order."""
    if path.stat().st_size > LARGEST_TEMPLATE:
        raise ModelFormatError(f"{path}: {path.stat().st_size} bytes, more than the mesh needs")
    mesh = read_obj(path)
    advice = f"it is of another mesh: take it out of {path.parent}"
    if len(mesh.vertices) != n:
        raise ModelFormatError(f"{path}: {len(mesh.vertices)} vertices, expected {n}; {advice}")
    own, other = (np.unique(np.sort(f, axis=1), axis=0) for f in (faces, mesh.faces.numpy()))
    if not np.array_equal(own, other):
        raise ModelFormatError(
            f"{path}: its {len(other)} triangles are not the {len(own)} of tri; {advice}"
        )


def check_landmarks(path: Path, marks: Float[np.ndarray, "68 3"]) -> None:
    """Deep3D's 68 landmarks, decimetres, have the shape of the model's (mm)."""
    lm = read_isolated("hrnfit.importers.mat_arrays:read", path, keys=["lm"])["lm"]
    if lm.shape != (68, 3) or not np.isfinite(lm).all():
        raise ModelFormatError(f"{path}: lm: expected (68, 3) finite numbers, got {lm.shape}")
    given, own = (torch.from_numpy(np.asarray(x, dtype=np.float64)) for x in (lm, marks))
    fit = align_similarity(given, own)
    error = float((fit.apply(given) - own).square().sum(dim=1).mean().sqrt())
    scale = float(fit.scale)
    if error > LANDMARK_ERROR or not 0.6 * MM_PER_UNIT < scale < 1.6 * MM_PER_UNIT:
        raise ModelFormatError(
            f"{path}: lm lies {error:.3g} mm off the model's landmarks at {scale:.3g} mm per unit, expected "
            f"at most {LANDMARK_ERROR:g} mm at about {MM_PER_UNIT:g}; is it of another model?"
        )


def with_maps(model: LinearFaceModel, parts: FrontModel, extras: Extras) -> LinearFaceModel:
    """The model with HRN's albedo maps, in linear light to first order."""
    mean = _mean_map(extras.files[MEAN])
    inside = chart_raster(model, len(mean)).mask & (mean.amax(dim=2) > 0)
    if not bool(inside.any()):
        raise ModelFormatError(f"{extras.files[MEAN]}: is black inside the chart")
    _check_rows(extras.files[MEAN], model, parts, mean)
    modes, small_inside = reduced_modes(extras.files[BASIS], inside)
    small, _ = _averaged(mean[None], inside, len(mean) // len(small_inside))
    slope = srgb_slope(filled(small, small_inside)[0])
    return replace(
        model,
        albedo_mean=linear_from_srgb(filled(mean[None], inside)[0]),
        albedo_basis=filled(modes, small_inside).mul_(slope),
    )


def reduced_modes(
    path: Path, inside: Bool[Tensor, "H W"]
) -> tuple[Float[Tensor, "A h w 3"], Bool[Tensor, "h w"]]:
    """Modes per standard deviation, sRGB 0..1, averaged over texels inside the chart, and where there
    are any. A file of (H W 3, A) numbers, read a few rows at a time."""
    size = len(inside)
    count = _count_modes(path, size)
    factor = size // BASIS_SIZE if size % BASIS_SIZE == 0 else 1
    small = size // factor
    out = torch.empty(count, small, small, 3)
    out_inside = torch.empty(small, small, dtype=torch.bool)
    for first in range(0, small, ROWS):
        last = min(first + ROWS, small)
        block = _rows(path, size, count, first * factor, last * factor)
        mean, some = _averaged(block[None], inside[first * factor : last * factor], factor)
        out[:, first:last] = mean[0].unflatten(-1, (3, count)).permute(3, 0, 1, 2)
        out_inside[first:last] = some
    return out, out_inside


def _count_modes(path: Path, size: int) -> int:
    """Modes in the file, by its shape."""
    stored, n = map_npy(path), size * size * 3
    if stored.ndim < 2 or stored.shape[-1] * n != stored.size:
        raise ModelFormatError(
            f"{path}: expected ({n}, modes) for maps of {size} texels, got {stored.shape}"
        )
    return stored.shape[-1]


def _rows(path: Path, size: int, count: int, first: int, last: int) -> Float[Tensor, "R W C"]:
    """Some rows of the maps, 0..1. Mapped anew for each: pages that were read count as memory used as
    long as their map lives (0.25 GB for all)."""
    table = map_npy(path).reshape(-1, count)[first * size * 3 : last * size * 3]
    block = torch.from_numpy(np.array(table, dtype=np.float32)) / 255.0
    if not bool((block.abs() <= 1.0).all()):
        raise ModelFormatError(f"{path}: holds values beyond 255 or NaN, expected RGB 0..255")
    return block.reshape(last - first, size, 3 * count)


def _averaged(
    maps: Float[Tensor, "K H W C"], inside: Bool[Tensor, "H W"], factor: int
) -> tuple[Float[Tensor, "K h w C"], Bool[Tensor, "h w"]]:
    """Means of factor x factor texels, of those inside only; zero where none is."""
    if factor == 1:
        return maps, inside
    weight = inside.to(maps.dtype)[None, :, :, None]
    cells = (maps * weight).unflatten(2, (-1, factor)).unflatten(1, (-1, factor))
    count = inside.unflatten(1, (-1, factor)).unflatten(0, (-1, factor)).sum(dim=(1, 3))
    total = cells.sum(dim=(2, 4))
    return total / count.clamp_min(1)[None, :, :, None], count > 0


def _mean_map(path: Path) -> Float[Tensor, "H W 3"]:
    """The mean, sRGB 0..1."""
    stored = map_npy(path)
    if stored.ndim != 3 or stored.shape[2] != 3 or stored.shape[0] != stored.shape[1]:
        raise ModelFormatError(f"{path}: expected a square map (H, H, 3), got {stored.shape}")
    mean = torch.from_numpy(np.array(stored, dtype=np.float32))
    if not bool(((mean >= -5.0) & (mean <= 260.0)).all()):
        raise ModelFormatError(f"{path}: holds values beyond 0..255 or NaN, expected RGB 0..255")
    return mean.clamp(0.0, 255.0) / 255.0


def _check_rows(
    path: Path, model: LinearFaceModel, parts: FrontModel, mean: Float[Tensor, "H W 3"]
) -> None:
    """The map agrees better with the colours of the vertices as it lies than upside down."""
    size = len(mean)
    at = (model.uv.double() * size).long().clamp(0, size - 1)
    colour = torch.from_numpy(parts.colour).double()
    upright, flipped = (
        _correlation(image.double()[at[:, 1], at[:, 0]], colour) for image in (mean, mean.flip(0))
    )
    if flipped > upright + 0.05:
        raise ModelFormatError(
            f"{path}: agrees with meantex upside down (correlation {flipped:.2f}) and not as it lies "
            f"({upright:.2f}); row 0 must be the forehead: flip the rows of both maps"
        )


def _correlation(a: Float[Tensor, "N 3"], b: Float[Tensor, "N 3"]) -> float:
    """Of all channels together, each about its mean."""
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))
