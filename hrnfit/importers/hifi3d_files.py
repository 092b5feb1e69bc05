"""The MATLAB files of HIFI3D, in its own layout and in that of FFHQ-UV, as one set of arrays.

HIFI3D (github.com/tencent-ailab/hifi3dface, 3DMM/scripts/test_basis_io.py; the README of HIFI3D++ in
github.com/czh-98/REALY refers to it): `mu_shape` (1, 3N), `basis_shape` (I, 3N) and `basis_exp` (E,
3N), sampled with standard normal weights, so per standard deviation; `tri` and `tri_vt` (F, 3) from 0;
`vt_list` (T, 2) with v up; `keypoints`, 86 from 0; `mask_face` (N), true on the face. Whether x y z of
a vertex lie together or all x come first is nowhere said: the right reading is that with short edges.

FFHQ-UV (github.com/csbhr/FFHQ-UV, RGB_Fitting/model/hifi3dpp.py): `meanshape` (1, 3N), `idBase` (3N,
I), `exBase` (3N, E), `meantex` and `texBase` alike in 0..255; `tri`, `tri_vt` of the face, `head_tri`,
`head_tri_vt` of the head, `keypoints`, 68, all from 1; `vt_list` as above.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from hrnfit.importers.isolated import read_isolated
from hrnfit.importers.plausible import FARTHEST, check_colours, check_numbers
from hrnfit.model.format_error import ModelFormatError

READER = "hrnfit.importers.mat_arrays:read"

# fmt: off
IBUG_OF_86 = np.array([
    *range(22), *range(26, 31), *range(51, 55), *range(61, 66), *range(35, 41), *range(43, 49),
    66, 72, 67, 68, 69, 73, 70, 74, 85, 71, 84, 75, 76, 78, 79, 80, 77, 83, 82, 81,
])
"""Which of the 86 points each iBUG point is: the others are the brows' lower edges, the middles of the
lids and the wings of the nose. Told by their places on the public template of REALY."""
# fmt: on


@dataclass(frozen=True)
class HifiFile:
    """What a file says, in its unit; y up, z out of the face."""

    mean: Float[np.ndarray, "N 3"]
    identity: Float[np.ndarray, "I N 3"]
    expression: Float[np.ndarray, "E N 3"]
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "T 2"]
    """v down."""
    uv_faces: Int[np.ndarray, "F 3"]
    marks: Int[np.ndarray, "68"]
    colour_mean: Float[np.ndarray, "N 3"] | None = None
    """sRGB in 0..1."""
    colour_modes: Float[np.ndarray, "A N 3"] | None = None


def read_hifi3d(path: Path, part: str, modes: int) -> HifiFile:
    """A file in HIFI3D's layout; of its bases the first `modes`."""
    keys = ["mu_shape", "basis_shape", "basis_exp", "tri", "tri_vt", "vt_list", "keypoints"]
    arrays = read_isolated(READER, path, keys=[*keys, "mask_face"])
    faces, uv_faces = _triangles(arrays, "tri", "tri_vt", 0)
    mean = arrays["mu_shape"].ravel()
    n = _count("mu_shape", mean)
    _check_below("tri", faces, n)
    apart = _lies_apart(mean, faces)
    points = arrays["keypoints"].ravel()
    if len(points) != 86:
        raise ModelFormatError(f"keypoints: expected 86 vertices, got {points.shape}")
    if part == "face":
        mask = arrays["mask_face"].ravel()
        if len(mask) != n:
            raise ModelFormatError(f"mask_face: expected {n} values, got {mask.shape}")
        inside = (mask > 0)[faces].all(axis=1)
        faces, uv_faces = faces[inside], uv_faces[inside]
    return HifiFile(
        mean=_vertices(mean[None].astype(np.float64), apart)[0],
        identity=_basis("basis_shape", arrays.pop("basis_shape"), n, modes, apart),
        expression=_basis("basis_exp", arrays.pop("basis_exp"), n, modes, apart),
        faces=faces,
        uv=_texture(arrays["vt_list"], uv_faces),
        uv_faces=uv_faces,
        marks=_marks(points[IBUG_OF_86], 0, n),
    )


def read_ffhq_uv(path: Path, part: str, modes: int) -> HifiFile:
    """A file in FFHQ-UV's layout; of its bases the first `modes`."""
    bases = ["idBase", "exBase", "texBase"]
    tri, tri_vt = ("tri", "tri_vt") if part == "face" else ("head_tri", "head_tri_vt")
    arrays = read_isolated(
        READER,
        path,
        keys=["meanshape", "meantex", *bases, tri, tri_vt, "vt_list", "keypoints"],
        columns=dict.fromkeys(bases, modes),
    )
    faces, uv_faces = _triangles(arrays, tri, tri_vt, 1)
    mean, colour = arrays["meanshape"].ravel(), arrays["meantex"].ravel()
    n = _count("meanshape", mean)
    _check_below(tri, faces, n)
    if colour.size != 3 * n:
        raise ModelFormatError(f"meantex: expected {3 * n} numbers, got {colour.size}")
    check_colours("meantex", colour, 255.0)
    points = arrays["keypoints"].ravel()
    if len(points) != 68:
        raise ModelFormatError(f"keypoints: expected 68 vertices, got {points.shape}")
    return HifiFile(
        mean=mean.reshape(n, 3).astype(np.float64),
        identity=_basis("idBase", arrays.pop("idBase").T, n, modes),
        expression=_basis("exBase", arrays.pop("exBase").T, n, modes),
        faces=faces,
        uv=_texture(arrays["vt_list"], uv_faces),
        uv_faces=uv_faces,
        marks=_marks(points, 1, n),
        colour_mean=colour.reshape(n, 3) / 255.0,
        colour_modes=_basis("texBase", arrays.pop("texBase").T, n, modes) / np.float32(255.0),
    )


def _count(key: str, mean: np.ndarray) -> int:
    """Number of vertices."""
    if mean.size == 0 or mean.size % 3:
        raise ModelFormatError(f"{key}: expected 3 numbers per vertex, got {mean.size}")
    check_numbers(key, mean, FARTHEST)
    return mean.size // 3


def _triangles(
    arrays: dict[str, np.ndarray], tri: str, tri_vt: str, first: int
) -> tuple[Int[np.ndarray, "F 3"], Int[np.ndarray, "F 3"]]:
    """Triangles of vertices and of texture vertices, counted from 0."""
    found: list[np.ndarray] = []
    for key in (tri, tri_vt):
        array = arrays[key]
        if array.ndim != 2 or array.shape[1] != 3 or len(array) == 0:
            raise ModelFormatError(f"{key}: expected (F, 3), got {array.shape}")
        if not np.isfinite(array).all() or array.min() < first:
            raise ModelFormatError(f"{key}: holds {array.min()}, but counting starts at {first}")
        found.append(array.astype(np.int64) - first)
    if found[0].shape != found[1].shape:
        raise ModelFormatError(
            f"{tri_vt}: {len(found[1])} triangles, but {tri} has {len(found[0])}"
        )
    return found[0], found[1]


def _check_below(key: str, index: Int[np.ndarray, "*K"], count: int) -> None:
    if index.max() >= count:
        raise ModelFormatError(f"{key}: up to {index.max()}, but there are {count}, counted from 0")


def _marks(points: np.ndarray, first: int, n: int) -> Int[np.ndarray, "68"]:
    """Vertices of the landmarks, counted from 0."""
    if not np.isfinite(points).all() or points.min() < first:
        raise ModelFormatError(f"keypoints: holds {points.min()}, but counting starts at {first}")
    found = points.astype(np.int64) - first
    _check_below("keypoints", found, n)
    return found


def _texture(listed: np.ndarray, uv_faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "T 2"]:
    """Texture coordinates with v down."""
    if listed.ndim != 2 or listed.shape[1] != 2:
        raise ModelFormatError(f"vt_list: expected (T, 2), got {listed.shape}")
    _check_below("tri_vt", uv_faces, len(listed))
    check_numbers("vt_list", listed, 10.0, "a chart")
    return np.stack([listed[:, 0], 1.0 - listed[:, 1]], axis=1).astype(np.float64)


def _lies_apart(mean: np.ndarray, faces: Int[np.ndarray, "F 3"]) -> bool:
    """Whether all x come first, then all y: the reading with the shorter edges is right."""
    lengths: list[float] = []
    for apart in (False, True):
        corners = _vertices(mean[None], apart)[0][faces]
        lengths.append(float(np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1).mean()))
    return lengths[1] < lengths[0]


def _vertices(rows: Float[np.ndarray, "K N3"], apart: bool) -> Float[np.ndarray, "K N 3"]:
    """Rows of numbers as vertices."""
    if apart:
        return np.ascontiguousarray(rows.reshape(len(rows), 3, -1).transpose(0, 2, 1))
    return rows.reshape(len(rows), -1, 3)


def _basis(
    key: str, rows: np.ndarray, n: int, modes: int, apart: bool = False
) -> Float[np.ndarray, "K N 3"]:
    """The first modes of a basis whose rows are modes."""
    if rows.ndim != 2 or rows.shape[1] != 3 * n or len(rows) == 0:
        raise ModelFormatError(f"{key}: expected {3 * n} numbers per mode, got {rows.shape}")
    check_numbers(key, rows[:modes], FARTHEST)
    return _vertices(np.ascontiguousarray(rows[:modes], dtype=np.float32), apart)
