"""The arrays of `BFM_model_front.mat`, as Deep3D and HRN use them: keys, shapes, units, two traps.

Lengths are decimetres (100 mm), x to the subject's left, y up, z out of the face: our head frame.
Colours are 0..255 per standard deviation of a coefficient; all indices count from 1. The traps:
`tri_mask2` counts in `frontmask2_idx`, not in the mesh, and `point_buf` names the triangle after the
last one where a vertex has fewer than eight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hrnfit.check import check_range
from hrnfit.model.format_error import ModelFormatError

KEYS = (
    *("meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "point_buf", "tri_mask2"),
    *("keypoints", "frontmask2_idx", "skinmask"),
)

MM_PER_UNIT = 100.0
LONGEST = 5.0
"""No coordinate and no mode of a face is longer, decimetres."""
RING = 8
"""Triangles around a vertex that `point_buf` has room for."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class FrontModel:
    """What the file says, indices from 0."""

    mean: Float[np.ndarray, "N 3"]
    """Decimetres, less the mean of all vertices, as HRN centres it."""
    identity: Float[np.ndarray, "I N 3"]
    """Decimetres per standard deviation."""
    expression: Float[np.ndarray, "E N 3"]
    """Decimetres per standard deviation."""
    colour: Float[np.ndarray, "N 3"]
    """Mean colour, RGB 0..255."""
    colour_modes: Float[np.ndarray, "A N 3"]
    """RGB 0..255 per standard deviation."""
    faces: Int[np.ndarray, "F 3"]
    """Counter-clockwise from outside."""
    marks: Int[np.ndarray, "68"]
    """Vertices of the iBUG points."""
    front: Bool[np.ndarray, "N"]
    """The front of the face, where Deep3D compares photographs."""
    front_faces: Int[np.ndarray, "G 3"]
    """Triangles of the front, in vertices of the whole mesh."""
    even_skin: Bool[np.ndarray, "N"]
    """Skin that Deep3D's reflectance loss takes for evenly coloured."""


def front_model(arrays: Arrays) -> FrontModel:
    """The model of the arrays; ModelFormatError names the key, shape or count that is off."""
    try:
        return _front_model(arrays)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelFormatError(str(error)) from error


def _front_model(arrays: Arrays) -> FrontModel:
    _check_numbers(arrays)
    n = _vertices(arrays["meanshape"])
    mean = _points("meanshape", arrays["meanshape"], n, LONGEST)
    faces = indices("tri", arrays["tri"], n, "vertices", width=3)
    check_rings(arrays["point_buf"], faces, n)
    front, front_faces = front_part(arrays, faces, n)
    return FrontModel(
        mean=(mean - mean.mean(axis=0)).astype(np.float32),
        identity=_modes("idBase", arrays["idBase"], n, LONGEST),
        expression=_modes("exBase", arrays["exBase"], n, LONGEST),
        colour=_points("meantex", arrays["meantex"], n, 260.0, low=-5.0).astype(np.float32),
        colour_modes=_modes("texBase", arrays["texBase"], n, 255.0),
        faces=faces,
        marks=_marks(arrays["keypoints"], n),
        front=front,
        front_faces=front_faces,
        even_skin=_skin(arrays["skinmask"], n),
    )


def indices(
    key: str, values: np.ndarray, count: int, what: str, width: int | None = None
) -> Int[np.ndarray, "..."]:
    """Indices from 0 of a file that counts from 1, flat or in rows of `width`.

    MATLAB keeps them as floating-point numbers. Raises ValueError for fractions and for values
    beyond `count`.
    """
    if width is not None and (values.ndim != 2 or values.shape[1] != width or len(values) == 0):
        raise ValueError(f"{key}: expected (rows, {width}), got {values.shape}")
    if values.size == 0:
        raise ValueError(f"{key}: is empty, shape {values.shape}")
    low, high = values.min(), values.max()
    if not (low >= 1 and high <= count):
        raise ValueError(f"{key}: values {low:g} to {high:g}, but there are {count} {what}")
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise ValueError(f"{key}: holds fractions, expected indices from 1")
    return whole - 1 if width is not None else whole.ravel() - 1


def check_rings(point_buf: np.ndarray, faces: Int[np.ndarray, "F 3"], n: int) -> None:
    """`point_buf` (N, 8) lists the triangles around each vertex; F + 1 stands for none."""
    if point_buf.shape != (n, RING):
        raise ValueError(f"point_buf: expected ({n}, {RING}), got {point_buf.shape}")
    count = len(faces)
    ring = indices("point_buf", point_buf, count + 1, f"triangles and {count + 1} for none", RING)
    listed = ring < count
    vertex = np.broadcast_to(np.arange(n)[:, None], ring.shape)[listed]
    touches = (faces[ring[listed]] == vertex[:, None]).any(axis=1)
    if not touches.all():
        first = int(np.argmin(touches))
        raise ValueError(
            f"point_buf: {int((~touches).sum())} of {len(touches)} entries name a triangle that does not "
            f"touch their vertex (the first: vertex {vertex[first] + 1}, triangle "
            f"{ring[listed][first] + 1}); tri and point_buf are of different meshes"
        )


def front_part(
    arrays: Arrays, faces: Int[np.ndarray, "F 3"], n: int
) -> tuple[Bool[np.ndarray, "N"], Int[np.ndarray, "G 3"]]:
    """Vertices of the front, and its triangles: `tri_mask2` counts in `frontmask2_idx`.

    Raises ValueError unless every row is a triangle of the mesh: taken for vertices of the mesh
    itself, 42 % of the published rows are none.
    """
    chosen = indices("frontmask2_idx", arrays["frontmask2_idx"], n, "vertices")
    what = "vertices in frontmask2_idx"
    front_faces = chosen[indices("tri_mask2", arrays["tri_mask2"], len(chosen), what, width=3)]
    known = np.isin(_key(front_faces, n), _key(faces, n))
    if not known.all():
        raise ValueError(
            f"tri_mask2: {int((~known).sum())} of {len(known)} rows, counted in frontmask2_idx, are no "
            "triangles of tri; the keys are of different meshes"
        )
    front = np.zeros(n, dtype=bool)
    front[chosen] = True
    return front, front_faces


def _key(faces: Int[np.ndarray, "F 3"], n: int) -> Int[np.ndarray, "F"]:
    """One number per triangle, whatever its first corner."""
    a, b, c = np.sort(faces, axis=1).T
    return (a * n + b) * n + c


def _check_numbers(arrays: Arrays) -> None:
    """All keys are there and hold finite numbers."""
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}")
    for key in KEYS:
        if arrays[key].dtype.kind not in "fiub":
            raise ValueError(f"{key}: expected numbers, got {arrays[key].dtype}")


def _vertices(meanshape: np.ndarray) -> int:
    """Number of vertices that a row of x y z x y z ... holds."""
    if meanshape.size == 0 or meanshape.size % 3 or max(meanshape.shape) != meanshape.size:
        raise ValueError(
            f"meanshape: expected (1, 3 N) with x y z of each vertex, got {meanshape.shape}"
        )
    return meanshape.size // 3


def _points(
    key: str, values: np.ndarray, n: int, high: float, low: float | None = None
) -> Float[np.ndarray, "N 3"]:
    """A row of n triples."""
    if values.size != 3 * n or max(values.shape) != values.size:
        raise ValueError(f"{key}: expected (1, {3 * n}) for {n} vertices, got {values.shape}")
    check_range(key, values, -high if low is None else low, high)
    return values.reshape(n, 3).astype(np.float64)


def _modes(key: str, values: np.ndarray, n: int, longest: float) -> Float[np.ndarray, "K N 3"]:
    """Columns of 3 n numbers as modes."""
    if values.ndim != 2 or len(values) != 3 * n or values.shape[1] == 0:
        raise ValueError(f"{key}: expected ({3 * n}, modes) for {n} vertices, got {values.shape}")
    check_range(key, values, -longest, longest, "modes are per standard deviation")
    return np.ascontiguousarray(values.T, dtype=np.float32).reshape(-1, n, 3)


def _marks(keypoints: np.ndarray, n: int) -> Int[np.ndarray, "68"]:
    if keypoints.size != 68:
        raise ValueError(f"keypoints: expected 68 vertices, got {keypoints.shape}")
    return indices("keypoints", keypoints, n, "vertices")


def _skin(skinmask: np.ndarray, n: int) -> Bool[np.ndarray, "N"]:
    if skinmask.size != n:
        raise ValueError(f"skinmask: expected (1, {n}), got {skinmask.shape}")
    check_range("skinmask", skinmask, 0.0, 1.0)
    return skinmask.ravel() > 0.5
