"""The Basel Face Models of 2017 and 2019: HDF5 files of the statismo format 0.9, read by `hdf5_arrays`.

Three models on one mesh, `shape`, `expression` and `color`: `model/mean` (3N), `model/pcaBasis` (3N, K)
with columns of unit length, `model/pcaVariance` (K); a mode per standard deviation is a column times
the root of its variance (files of format 0.8 hold that product). The mesh is `representer/points`
(3, N) and `representer/cells` (3, F). mm, y up, z out of the face, vertex order x0 y0 z0 x1. Read
likewise by scalismo-faces (MoMoIO) and eos (convert-bfm2017-to-eos).

Zero coefficients are the mean shape plus the mean expression, as Basel's own fitting has it: the
prior of the expression has a mean that is not rest (a mouth a little open). `noiseVariance` is not
used. Colours are RGB in 0..1; the file says no more, they come from photographs without a linear
step and skin has the values that it has in sRGB, so they are read as sRGB. The origin moves in y and z
to the mean vertex: the face masks lie some 90 mm in front of the file's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.importers.assemble import LinearParts, assemble_linear
from hrnfit.importers.basel_landmarks import basel_points, named_points, nearest_vertices
from hrnfit.importers.isolated import read_isolated
from hrnfit.importers.landmark_file import landmark_file, read_landmarks
from hrnfit.importers.one_surface import Surface, chart_of, one_surface
from hrnfit.importers.plausible import FARTHEST, check_colours, check_numbers
from hrnfit.importers.vertex_albedo import uv_albedo
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import LinearFaceModel

logger = logging.getLogger(__name__)

MODES = {"shape": 120, "expression": 80, "color": 100}
"""Modes kept unless told otherwise. On 53,000 vertices all 199, 100 and 199 take 1 s of computing to load
from our file and 1.2 GB to import, these 0.35 s and 0.9 GB. The share of the variance that is kept is
logged."""

YEARS = {53149: 2017, 28588: 2017, 47439: 2019, 27657: 2019, 58203: 2019}
"""Year by number of vertices: bfm and face12 of 2017; bfm, face12 and fullHead of 2019."""

LANDMARKS = "metadata/landmarks/json"

NOTE = "After registration with the University of Basel; commercial use needs a licence of its own."


@dataclass(frozen=True)
class Part:
    """One of the three models of a file."""

    mean: Float[np.ndarray, "N 3"]
    modes: Float[np.ndarray, "K N 3"]
    """Per standard deviation."""


def import_bfm(
    path: Path, year: int, extras: Path | None = None, modes: int | None = None
) -> tuple[LinearFaceModel, tuple[Path, ...]]:
    """The model of a file, and the files read.

    `extras`: folder with a landmarks68.txt, the file's own folder without. `modes`: keep the first so many of
    each kind, without it `MODES`. Raises ModelFormatError naming the dataset, shape or count that is
    off; ImportError without h5py.
    """
    wanted = {name: modes or count for name, count in MODES.items()}
    arrays = read_isolated(
        "hrnfit.importers.hdf5_arrays:read",
        path,
        keys=[
            f"{name}/model/{key}" for name in MODES for key in ("mean", "pcaBasis", "pcaVariance")
        ]
        + ["shape/representer/points", "shape/representer/cells"],
        columns={f"{name}/model/pcaBasis": count for name, count in wanted.items()},
        texts=[LANDMARKS],
    )
    try:
        n, faces = _mesh(arrays)
        _check_year(n, year)
        parts = {name: _part(arrays, name, n) for name in MODES}
        given = landmark_file(path, extras)
        text = arrays.get(LANDMARKS, np.zeros(0, dtype=np.uint8)).tobytes()
        mean = parts["shape"].mean + parts["expression"].mean
        if given:
            marks = read_landmarks(given, n)
        else:
            marks = nearest_vertices(basel_points(named_points(text)), mean, "landmarks")
        surface = one_surface(mean, faces, marks)
        uv, uv_faces = chart_of(surface, mean)
    except ModelFormatError as error:
        raise ModelFormatError(f"{path}: {error}") from error
    return _model(parts, surface, (uv, uv_faces), year), (path, *([given] if given else []))


def _model(
    parts: dict[str, Part],
    surface: Surface,
    chart: tuple[Float[Tensor, "Nuv 2"], Int[Tensor, "F 3"]],
    year: int,
) -> LinearFaceModel:
    """The model on one surface with a chart."""
    shape, expression, colour = (kept_part(parts.pop(name), surface.kept) for name in MODES)
    mean = shape.mean + expression.mean
    albedo_mean, albedo_basis = uv_albedo(colour.mean, colour.modes, *chart, surface.faces)
    return assemble_linear(
        LinearParts(
            info=ModelInfo(
                name=f"bfm{year % 100}",
                licence="Basel Face Model licence: internal, non-commercial research, evaluation or testing",
                commercial=False,
                source=f"https://faces.dmi.unibas.ch/bfm/bfm{year}.html",
                note=NOTE,
            ),
            mm_per_unit=1.0,
            mean=mean - mean.mean(axis=0) * [0.0, 1.0, 1.0],
            identity=shape.modes,
            expression=expression.modes,
            expression_names=tuple(f"mode{k}" for k in range(len(expression.modes))),
            expression_is_blendshape=False,
            faces=surface.faces.numpy(),
            marks=surface.landmarks(),
            guides=surface.marks,
            uv=chart[0].numpy(),
            uv_faces=chart[1].numpy(),
            albedo_mean=albedo_mean,
            albedo_basis=albedo_basis,
        )
    )


def kept_part(part: Part, kept: Int[np.ndarray, "M"]) -> Part:
    """The part on some of the vertices; itself when these are all of them."""
    if len(kept) == len(part.mean) and (kept == np.arange(len(kept))).all():
        return part
    return Part(part.mean[kept], part.modes[:, kept])


def _mesh(arrays: dict[str, np.ndarray]) -> tuple[int, Int[np.ndarray, "F 3"]]:
    """Number of vertices, and the triangles."""
    points, cells = arrays["shape/representer/points"], arrays["shape/representer/cells"]
    for key, array in (("points", points), ("cells", cells)):
        if array.ndim != 2 or array.shape[0] != 3 or array.shape[1] == 0:
            raise ModelFormatError(
                f"shape/representer/{key}: expected (3, {'N' if key == 'points' else 'F'}), "
                f"got {array.shape}"
            )
    n = points.shape[1]
    check_numbers("shape/representer/points", points, FARTHEST)
    if not np.isfinite(cells).all() or cells.min() < 0 or cells.max() >= n:
        raise ModelFormatError(
            f"shape/representer/cells: vertices {cells.min():g} to {cells.max():g}, but "
            f"shape/representer/points has {n}"
        )
    return n, cells.T.astype(np.int64)


def _check_year(n: int, year: int) -> None:
    """A known mesh of the other year is named."""
    found = YEARS.get(n, year)
    if found != year:
        raise ModelFormatError(
            f"shape/representer/points: {n} vertices, which is the model of {found}; use the kind "
            f"bfm{found % 100}"
        )


def _part(arrays: dict[str, np.ndarray], name: str, n: int) -> Part:
    """One model, its modes per standard deviation."""
    mean, basis, variance = (
        arrays.pop(f"{name}/model/{key}")  # what is read is not held twice: they are large
        for key in ("mean", "pcaBasis", "pcaVariance")
    )
    if mean.size != 3 * n:
        raise ModelFormatError(f"{name}/model/mean: expected {3 * n} numbers, got {mean.shape}")
    if basis.ndim != 2 or basis.shape[0] != 3 * n or basis.shape[1] == 0:
        raise ModelFormatError(f"{name}/model/pcaBasis: expected ({3 * n}, K), got {basis.shape}")
    kept = basis.shape[1]
    variance = variance.ravel().astype(np.float64)
    if len(variance) < kept or not (np.isfinite(variance).all() and (variance >= 0).all()):
        raise ModelFormatError(
            f"{name}/model/pcaVariance: expected {kept} or more numbers not below 0, got "
            f"{len(variance)}" + ("" if len(variance) < kept else ", some negative or not finite")
        )
    share = 100.0 * variance[:kept].sum() / max(variance.sum(), 1e-30)
    logger.info("%s: %d of %d modes, %.2f %% of the variance", name, kept, len(variance), share)
    modes = np.ascontiguousarray(basis.T, dtype=np.float32)
    modes *= _scale(name, modes, np.sqrt(variance[:kept]))[:, None]
    if name == "color":
        check_colours("color/model/mean", mean, 1.0)
        check_numbers("color/model/pcaBasis by the root of pcaVariance", modes, 5.0, "a colour")
    else:
        check_numbers(f"{name}/model/mean", mean, FARTHEST)
        check_numbers(f"{name}/model/pcaBasis by the root of pcaVariance", modes, FARTHEST)
    return Part(mean.reshape(n, 3).astype(np.float64), modes.reshape(kept, n, 3))


def _scale(
    name: str, columns: Float[np.ndarray, "K N3"], std: Float[np.ndarray, "K"]
) -> Float[np.ndarray, "K"]:
    """What the columns must be multiplied by: told by their length, which is 1 or, in files of the old
    format, the standard deviation."""
    length = np.sqrt(np.einsum("kn,kn->k", columns, columns))
    if not np.isfinite(length).all():
        raise ModelFormatError(f"{name}/model/pcaBasis: not all numbers are finite")
    if np.abs(length - 1.0).max() < 0.05:
        return std.astype(np.float32)
    if (np.abs(length - std) < 0.05 * std + 1e-6).all():
        return np.ones(len(std), dtype=np.float32)
    raise ModelFormatError(
        f"{name}/model/pcaBasis: columns are {length.min():.3g} to {length.max():.3g} long, expected 1 "
        "(or the root of pcaVariance, in files of format 0.8)"
    )
