"""Import of the ICT face model: from its folder of OBJ files, or from a compact npz of it.

This reads and checks files; which vertices make a part stands in `ict_parts.py`, what becomes of them in
`ict_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hrnfit.check import check_range, check_shape
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.ict_head import IctArrays, assemble
from hrnfit.model.ict_islands import Islands
from hrnfit.model.ict_obj import ObjMesh, read_folder
from hrnfit.model.ict_parts import SLICES, Slices, parse_part, slices_of
from hrnfit.model.ict_skin import face_density as face_density
from hrnfit.model.ict_skin import vertex_landmarks as vertex_landmarks
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.npz_arrays import read_npz

COMPACT_KEYS = ("mean", "id_basis", "exp_basis", "tris", "lm68", "exp_names", "meta")
"""What tells a compact ICT file from others."""

LANDMARKS_68 = (
    *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088),
    *(3443, 268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140),
    *(2075, 1147, 4269, 3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725),
    *(3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533),
    *(6216, 6207, 6470, 5517, 5966),
)
"""Vertices of the Multi-PIE points (README of ICT-FaceKit)."""


class Layout(NamedTuple):
    """What a folder's files do not say themselves."""

    slices: Slices = SLICES
    """Where the pieces of the mesh lie."""
    marks: tuple[int, ...] = LANDMARKS_68
    """Vertices of the iBUG points."""


PUBLISHED = Layout()

LARGEST = 50.0
"""No coordinate of a head and no mode of one is longer, cm."""


def import_compact(path: str | Path, part: str = "face") -> LinearFaceModel:
    """The model of a compact npz (keys `COMPACT_KEYS`; cm, bases per standard deviation)."""
    return from_compact(read_npz(Path(path)), str(path), part)


def from_compact(
    arrays: Mapping[str, np.ndarray], label: str, part: str = "face"
) -> LinearFaceModel:
    """The model of a compact file's arrays; `label` names the file in errors."""
    wanted = parse_part(part)
    missing = [key for key in COMPACT_KEYS if key not in arrays]
    if missing:
        raise ModelFormatError(f"{label}: a compact ICT file needs the keys {', '.join(missing)}")
    try:
        _check_compact(arrays)
        slices = slices_of(str(arrays["meta"]))
        islands = _compact_islands(arrays) if wanted.pieces else None
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"{label}: {error}") from error
    return assemble(
        IctArrays(
            mean=arrays["mean"].astype(np.float32),
            identity=arrays["id_basis"].astype(np.float32),
            expression=arrays["exp_basis"].astype(np.float32),
            expression_names=tuple(str(name) for name in arrays["exp_names"]),
            faces=arrays["tris"].astype(np.int64),
            marks=arrays["lm68"].astype(np.int64),
            slices=slices,
            islands=islands,
        ),
        wanted,
    )


def _check_compact(arrays: Mapping[str, np.ndarray]) -> None:
    """Shapes, finite numbers and indices of a compact file."""
    check_shape("mean", arrays["mean"], ("N", 3))
    n = len(arrays["mean"])
    check_shape("id_basis", arrays["id_basis"], ("I", n, 3))
    check_shape("exp_basis", arrays["exp_basis"], (len(arrays["exp_names"]), n, 3))
    check_shape("tris", arrays["tris"], ("F", 3))
    check_shape("lm68", arrays["lm68"], (68,))
    for key in ("mean", "id_basis", "exp_basis"):
        if arrays[key].dtype.kind != "f" or arrays[key].size == 0:
            raise ValueError(
                f"{key}: expected real numbers, got {arrays[key].shape} {arrays[key].dtype}"
            )
        check_range(key, arrays[key], -LARGEST, LARGEST, "lengths are cm")
    for key in ("tris", "lm68"):
        if arrays[key].dtype.kind not in "iu" or arrays[key].size == 0:
            raise ValueError(f"{key}: expected vertex indices, got {arrays[key].dtype}")
        check_range(
            key,
            arrays[key].astype(np.int64),
            0,
            n - 1,
            f"there are {n} vertices; is this another topology?",
        )


def _compact_islands(arrays: Mapping[str, np.ndarray]) -> Islands | None:
    """Texture coordinates of a compact file (keys `uv`, `tris_uv`), checked; v up becomes v down."""
    if "uv" not in arrays or "tris_uv" not in arrays:
        return None
    uv, corners = arrays["uv"], arrays["tris_uv"]
    check_shape("uv", uv, ("Nuv", 2))
    check_shape("tris_uv", corners, (len(arrays["tris"]), 3), "one texture triangle per triangle")
    if uv.dtype.kind != "f" or corners.dtype.kind not in "iu" or uv.size == 0:
        raise ValueError(
            f"uv, tris_uv: expected numbers and indices, got {uv.dtype}, {corners.dtype}"
        )
    check_range("uv", uv, -LARGEST, LARGEST, "texture coordinates lie in tiles of side 1")
    check_range("tris_uv", corners.astype(np.int64), 0, len(uv) - 1, f"there are {len(uv)} places")
    return _islands(uv.astype(np.float64), corners.astype(np.int64))


def _islands(uv: np.ndarray, uv_faces: np.ndarray | None) -> Islands | None:
    """The file's chart with v down, where every triangle has a place in it."""
    return None if uv_faces is None else Islands(uv * [1.0, -1.0], uv_faces)


def import_folder(
    folder: str | Path, part: str = "face", layout: Layout = PUBLISHED
) -> LinearFaceModel:
    """The model of a `FaceXModel` folder, as `ict_obj.read_folder` reads it.

    `layout`: other than the published one for files of another mesh.
    """
    wanted = parse_part(part)
    found = read_folder(Path(folder))
    mesh: ObjMesh = found.mesh
    return assemble(
        IctArrays(
            mean=mesh.points,
            identity=found.identity,
            expression=found.expression,
            expression_names=found.expression_names,
            faces=mesh.faces,
            marks=np.array(layout.marks),
            slices=layout.slices,
            islands=_islands(mesh.uv, mesh.uv_faces),
        ),
        wanted,
    )


def is_compact(keys: set[str]) -> bool:
    """Whether an npz with these keys is a compact ICT file."""
    return keys.issuperset(COMPACT_KEYS) and "format" not in keys


def check_part(part: str) -> None:
    """`part` is one that can be fitted."""
    parse_part(part)
