"""Landmarks of FLAME: from the embeddings that lie beside a model, or at published places on its mesh.

Embeddings name triangles of the model and weights in them. The 51 inner points of iBUG are static; the
jaw's are given for each degree of yaw, because it is an outline (RingNet): row 0 is the front view,
rows 1 to 39 turn one way, 40 to 78 the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.check import check_finite, check_shape
from hrnfit.importers.isolated import read_isolated
from hrnfit.model.face_model import LandmarkSet
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.npz_arrays import read_npz

FULL = ("landmark_embedding.npy", "landmark_embedding_with_eyes.npy")
"""All 68 points and the moving jaw in one file, as DECA and its successors have it."""

STATIC_68, STATIC_51 = "flame_static_embedding_68.pkl", "flame_static_embedding.pkl"
DYNAMIC = "flame_dynamic_embedding.npy"
DENSE = "mediapipe_landmark_embedding.npz"

VERTICES, TRIANGLES = 5023, 9976
"""Size of FLAME's mesh, the same in all releases."""

PLACES = (
    *((2214, 16, 61), (2496, 11, 80), (8474, 34, 41), (8391, 9, 2), (3328, 9, 52)),  # jaw
    *((8388, 4, 23), (8386, 1, 41), (3322, 26, 59), (8404, 3, 94), (8174, 31, 12)),
    *((8144, 61, 36), (8138, 75, 17), (3081, 47, 9), (3078, 84, 13), (3628, 25, 31)),
    *((6094, 22, 29), (5837, 21, 16)),
    *((2871, 74, 16), (7930, 34, 30), (2857, 45, 3), (7918, 1, 63), (8776, 90, 2)),  # brows
    *((6592, 2, 0), (3845, 7, 57), (2262, 9, 37), (6428, 27, 32), (1349, 83, 14)),
    *((8615, 48, 48), (8619, 42, 53), (471, 0, 42), (8611, 2, 31), (2238, 68, 23)),  # nose
    *((7341, 61, 17), (8803, 0, 70), (5920, 22, 17), (6229, 68, 8)),
    *((6768, 12, 17), (7532, 51, 9), (3729, 33, 4), (8731, 29, 23), (1582, 58, 4)),  # eyes
    *((8542, 2, 55), (6409, 48, 23), (8231, 33, 63), (6080, 40, 9), (268, 12, 71)),
    *((3695, 2, 44), (5739, 58, 38)),
    *((7423, 47, 51), (7390, 14, 70), (2354, 13, 9), (8768, 0, 82), (5997, 13, 78)),  # lips
    *((885, 14, 16), (917, 47, 2), (6026, 9, 90), (6069, 5, 94), (8799, 0, 3)),
    *((2452, 5, 1), (7446, 0, 90), (7418, 7, 34), (3575, 4, 1), (8635, 98, 2)),
    *((509, 1, 4), (917, 81, 0), (6052, 39, 58), (8668, 2, 98), (7493, 3, 58)),
)
"""Triangle and shares of its first two corners in percent, of each iBUG point on that mesh: rounded from
the embeddings that the repositories flame-fitting and TF_FLAME publish. Off by 0.2 mm at most."""


class FlameLandmarks(NamedTuple):
    """What was found."""

    sets: dict[str, LandmarkSet]
    contour: Int[Tensor, "17 K"] | None
    """Vertices along which each jaw point moves; None when no file says it."""
    files: tuple[Path, ...]


class _Table(NamedTuple):
    """Places of points: triangles and weights with the same leading axes."""

    triangles: np.ndarray
    weights: np.ndarray


def flame_landmarks(folder: Path, faces: Int[np.ndarray, "F 3"], n_vertices: int) -> FlameLandmarks:
    """Landmarks from the embeddings in a folder; else at the published places.

    Raises ModelFormatError naming what is off with an embedding, or the file that is missing when the
    mesh is not FLAME's own.
    """
    count, files = len(faces), []

    def table(name: str, triangles: str, weights: str) -> _Table | None:
        path = folder / name
        if not path.is_file():
            return None
        arrays = read_isolated("hrnfit.importers.flame_pickle:embedding", path)
        if triangles not in arrays or weights not in arrays:
            return None
        files.append(path)
        return _checked(path, arrays[triangles], arrays[weights], count)

    full = _first(table(name, "full_lmk_faces_idx", "full_lmk_bary_coords") for name in FULL)
    moving = _first(
        [
            table(DYNAMIC, "lmk_face_idx", "lmk_b_coords"),
            *(table(name, "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords") for name in FULL),
        ]
    )
    full = full or table(STATIC_68, "lmk_face_idx", "lmk_b_coords")
    inner = None if full else table(STATIC_51, "lmk_face_idx", "lmk_b_coords")
    ibug = _ibug(full, inner, moving, folder, count, n_vertices)
    sets = {"ibug68": _landmark_set(ibug)}
    if (folder / DENSE).is_file():
        sets["mediapipe478"] = _dense(folder / DENSE, count)
        files.append(folder / DENSE)
    contour = None if moving is None else _contour(moving, faces)
    return FlameLandmarks(sets, contour, tuple(dict.fromkeys(files)))


def _first(tables: Iterable[_Table | None]) -> _Table | None:
    """The first table that there is."""
    return next((table for table in tables if table is not None), None)


def _ibug(
    full: _Table | None,
    inner: _Table | None,
    moving: _Table | None,
    folder: Path,
    count: int,
    n_vertices: int,
) -> _Table:
    """The 68 points from what there is; a triangle of -1 where nothing says it."""
    known = (n_vertices, count) == (VERTICES, TRIANGLES)
    if full is not None:
        triangles, weights = full.triangles.reshape(-1), full.weights.reshape(-1, 3)
        if len(triangles) < 68:
            raise ModelFormatError(f"{folder}: a full embedding of {len(triangles)} points, not 68")
        return _Table(triangles[:68], weights[:68])
    if inner is None and not known:
        raise ModelFormatError(
            f"{folder}: no landmarks for a mesh of {n_vertices} vertices and {count} triangles (FLAME "
            f"has {VERTICES} and {TRIANGLES}); put {FULL[0]} or {STATIC_51} beside the model"
        )
    table = _published() if known else _Table(np.full(68, -1), np.zeros((68, 3)))
    triangles, weights = table.triangles.copy(), table.weights.copy()
    if inner is not None:
        if len(inner.triangles) != 51:
            raise ModelFormatError(
                f"{folder / STATIC_51}: {len(inner.triangles)} points, expected 51"
            )
        triangles[17:], weights[17:] = inner
    if moving is not None:
        triangles[:17], weights[:17] = moving.triangles[0], moving.weights[0]
    return _Table(triangles, weights)


def _published() -> _Table:
    triangles, first, second = np.array(PLACES).T
    weights = np.stack([first, second, 100 - first - second], axis=1) / 100.0
    return _Table(triangles, weights)


def _checked(path: Path, triangles: np.ndarray, weights: np.ndarray, count: int) -> _Table:
    """Triangles that the mesh has, and weights that sum to 1."""
    try:
        if triangles.dtype.kind == "f" and (triangles == np.floor(triangles)).all():
            triangles = triangles.astype(np.int64)
        if triangles.dtype.kind not in "iu" or triangles.size == 0:
            raise ValueError(f"triangles: expected integers, got {triangles.dtype}")
        triangles = triangles.astype(np.int64)
        if triangles.min() < 0 or triangles.max() >= count:
            raise ValueError(
                f"triangles {triangles.min()} to {triangles.max()}, but the model has {count}; it "
                "belongs to another mesh"
            )
        check_shape("weights", weights, (*triangles.shape, 3))
        check_finite("weights", weights)
        if np.abs(weights.sum(axis=-1) - 1.0).max() > 1e-2:
            raise ValueError("weights: rows must sum to 1")
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"{path}: {error}") from error
    return _Table(triangles, weights / weights.sum(axis=-1, keepdims=True))


def _landmark_set(table: _Table) -> LandmarkSet:
    return LandmarkSet(
        triangles=torch.from_numpy(table.triangles.astype(np.int32)),
        barycentric=torch.from_numpy(table.weights.astype(np.float32)),
        spread=torch.zeros(len(table.triangles)),
    )


def _dense(path: Path, count: int) -> LandmarkSet:
    """The 105 points of FaceMesh that have a place on FLAME, among all 478."""
    arrays = read_npz(path)
    missing = {"lmk_face_idx", "lmk_b_coords", "landmark_indices"} - arrays.keys()
    if missing:
        raise ModelFormatError(f"{path}: missing {', '.join(sorted(missing))}")
    found = _checked(path, arrays["lmk_face_idx"], arrays["lmk_b_coords"], count)
    index = arrays["landmark_indices"]
    sound = index.dtype.kind in "iu" and index.shape == found.triangles.shape
    if not sound or index.min() < 0 or index.max() >= 478 or len(np.unique(index)) != len(index):
        raise ModelFormatError(f"{path}: landmark_indices: expected distinct numbers below 478")
    triangles, weights = np.full(478, -1), np.zeros((478, 3))
    triangles[index], weights[index] = found.triangles, found.weights
    return _landmark_set(_Table(triangles, weights))


def _contour(moving: _Table, faces: Int[np.ndarray, "F 3"]) -> Int[Tensor, "17 K"]:
    """Vertices nearest to each jaw point over all yaws, from the front view outwards, -1 padded."""
    if moving.triangles.ndim != 2 or moving.triangles.shape[1] != 17:
        raise ModelFormatError(
            f"{DYNAMIC}: expected rows of 17 points, got {moving.triangles.shape}"
        )
    corner = moving.weights.argmax(axis=-1)
    vertices = np.take_along_axis(faces[moving.triangles], corner[..., None], axis=-1)[..., 0]
    rows = [list(dict.fromkeys(column.tolist())) for column in vertices.T]
    width = max(map(len, rows))
    padded = [row + [-1] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.int32)


def plausible(points: Float[Tensor, "68 3"]) -> bool:
    """Whether iBUG points, mm, can be those of a face: order from the subject's right to left, and what
    lies above what. Missing points are at the origin and asked nothing."""
    if not bool((points != 0).any(dim=1).all()):
        return True
    right, left, nose, mouth = (
        points[a:b].mean(0) for a, b in ((36, 42), (42, 48), (27, 31), (48, 60))
    )
    apart = float(left[0] - right[0])
    return (
        40.0 < apart < 90.0
        and float(points[16, 0] - points[0, 0]) > 1.5 * apart
        and float(right[1]) > float(nose[1]) > float(mouth[1]) > float(points[8, 1])
    )
