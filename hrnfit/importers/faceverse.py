"""FaceVerse, versions 0 to 4: a dictionary of arrays in an .npy file.

Read as in github.com/LizhenWangT/FaceVerse and FaceVerse_v4.

`meanshape` and `meantex` (N, 3 or 3N), `idBase`, `texBase` and `exBase` (3N, K; version 3:
`exBase_52`), `tri` (F, 3) from 0, colours 0..255. What the versions differ in is told by the landmarks:
the axes (y and z point the other way in 1 and 2), and the unit, which nobody states (the mean is set to
90 mm between the outer corners of the eyes, see `scale.py`). Landmarks: `keypoints_68` (version 4), or
`keypoints`: 68, or 66 in the order of the tracker OpenSeeFace, which has no outer corners of the mouth;
version 3 brings only points of another scheme and wants a landmarks68.txt.

Expressions are activations where the file names them (version 2 and 3: 52 of ARKit's names) and in
version 4; else modes. Modes are taken as they are: the readers regularise plain sums of squares, so
they are per standard deviation. Eyeballs, teeth and tongue are left out, as parts without landmarks; a
head is cut up the back for its chart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from hrnfit.importers.assemble import LinearParts, assemble_linear
from hrnfit.importers.isolated import read_isolated
from hrnfit.importers.landmark_file import NAME, landmark_file, read_landmarks
from hrnfit.importers.one_surface import chart_of, one_surface
from hrnfit.importers.plausible import FARTHEST, check_colours, check_numbers
from hrnfit.importers.scale import unit_by_eyes
from hrnfit.importers.vertex_albedo import uv_albedo
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import LinearFaceModel

MODES = 150
"""Modes of identity and colour kept unless told otherwise; version 4 has 156 and 251. Expressions are
activations and all are kept."""

IBUG_OF_66 = np.array([*range(48), 48, *range(48, 53), 52, *range(53, 66)])
"""Which of the tracker's 66 points each iBUG point is; 48 and 54, which it lacks, stand for a neighbour
until `_marks` has found them."""

BEYOND = 0.3
"""How far the outer corner of the mouth lies beyond the inner one, as a share of the half inner lip: so on
the mean of the Basel model of 2017."""

INFO = ModelInfo(
    name="faceverse",
    licence="2-clause BSD for the repository; its data set: non-commercial research",
    commercial=False,
    source="https://github.com/LizhenWangT/FaceVerse",
    note="the model files say nothing of their own; the agreement of the data set prohibits commercial use",
)


@dataclass(frozen=True)
class FaceVerseFile:
    """What a file says, in its unit and axes."""

    mean: Float[np.ndarray, "N 3"]
    identity: Float[np.ndarray, "I N 3"]
    expression: Float[np.ndarray, "E N 3"]
    names: tuple[str, ...]
    """Of the expressions; empty when the file has none."""
    activations: bool
    faces: Int[np.ndarray, "F 3"]
    colour_mean: Float[np.ndarray, "N 3"]
    """sRGB in 0..1."""
    colour_modes: Float[np.ndarray, "A N 3"]
    marks: Int[np.ndarray, "68"] | None


def import_faceverse(
    path: Path, extras: Path | None = None, modes: int | None = None
) -> tuple[LinearFaceModel, tuple[Path, ...]]:
    """The model of a file, and the files read.

    `extras`: folder with a landmarks68.txt, the file's own folder without. Raises ModelFormatError naming
    the key, shape or count that is off.
    """
    arrays = read_isolated(
        "hrnfit.importers.npy_dict:read",
        path,
        keys=["meanshape", "meantex", "idBase", "texBase", "tri"],
        maybe=[
            "exBase",
            "exBase_52",
            "exp_name_list",
            "exp_name_list_52",
            "keypoints",
            "keypoints_68",
        ],
    )
    try:
        file = _checked(arrays, modes or MODES)
        given = landmark_file(path, extras)
        marks = read_landmarks(given, len(file.mean)) if given else file.marks
        if marks is None:
            raise ModelFormatError(
                f"holds no 68 or 66 keypoints of the iBUG scheme; give a folder with {NAME} (68 vertex "
                "numbers from 0) by --extras"
            )
        model = _model(file, marks)
    except ModelFormatError as error:
        raise ModelFormatError(f"{path}: {error}") from error
    return model, (path, *([given] if given else []))


def _model(file: FaceVerseFile, marks: Int[np.ndarray, "68"]) -> LinearFaceModel:
    axes = _axes(file.mean[marks])
    scale = unit_by_eyes(file.mean[marks])
    placed = file.mean * axes * scale
    surface = one_surface(placed, file.faces, marks)
    uv, uv_faces = chart_of(surface, placed)
    kept = surface.kept
    albedo_mean, albedo_basis = uv_albedo(
        file.colour_mean[kept], file.colour_modes[:, kept], uv, uv_faces, surface.faces
    )
    mean = file.mean[kept] * axes
    signs = axes.astype(np.float32)
    return assemble_linear(
        LinearParts(
            info=INFO,
            mm_per_unit=scale,
            mean=mean - mean.mean(axis=0) * [0.0, 1.0, 1.0],
            identity=file.identity[:, kept] * signs,
            expression=file.expression[:, kept] * signs,
            expression_names=file.names or tuple(f"mode{k}" for k in range(len(file.expression))),
            expression_is_blendshape=file.activations,
            faces=surface.faces.numpy(),
            marks=surface.landmarks(),
            guides=surface.marks,
            uv=uv.numpy(),
            uv_faces=uv_faces.numpy(),
            albedo_mean=albedo_mean,
            albedo_basis=albedo_basis,
        )
    )


def _axes(marks: Float[np.ndarray, "68 3"]) -> Float[np.ndarray, "3"]:
    """Signs that turn the file's axes into ours: +x to the subject's left, y up, z out of the face."""
    across = marks[42:48].mean(axis=0)[0] - marks[36:42].mean(axis=0)[0]
    up = marks[36:48].mean(axis=0)[1] - marks[8][1]
    sides = [1.0 if across > 0 else -1.0, 1.0 if up > 0 else -1.0]
    signs = np.array([*sides, sides[0] * sides[1]])  # a turn, not a mirror image
    if (marks[30] - marks[[36, 45]].mean(axis=0))[2] * signs[2] <= 0:
        raise ModelFormatError("landmarks: the nose lies behind the eyes; the face is mirrored")
    return signs


def _checked(arrays: dict[str, np.ndarray], modes: int) -> FaceVerseFile:
    """The arrays in our shapes, their counts compared."""
    mean = arrays["meanshape"]
    if mean.size == 0 or mean.size % 3:
        raise ModelFormatError(f"meanshape: expected 3 numbers per vertex, got {mean.shape}")
    check_numbers("meanshape", mean, FARTHEST)
    n = mean.size // 3
    if arrays["meantex"].size != 3 * n:
        raise ModelFormatError(f"meantex: expected {3 * n} numbers, got {arrays['meantex'].shape}")
    check_colours("meantex", arrays["meantex"], 255.0)
    key = "exBase" if "exBase" in arrays else "exBase_52"
    if key not in arrays:
        raise ModelFormatError("missing exBase (or exBase_52)")
    expression = _basis(key, arrays[key], n, None)
    names = _names(arrays, len(expression))
    return FaceVerseFile(
        mean=mean.reshape(n, 3).astype(np.float64),
        identity=_basis("idBase", arrays.pop("idBase"), n, modes),
        expression=expression,
        names=names,
        activations=bool(names) or "keypoints_68" in arrays,
        faces=_triangles(arrays["tri"], n),
        colour_mean=arrays["meantex"].reshape(n, 3) / 255.0,
        colour_modes=_basis("texBase", arrays.pop("texBase"), n, modes) / np.float32(255.0),
        marks=_marks(arrays, mean.reshape(n, 3)),
    )


def _basis(key: str, basis: np.ndarray, n: int, modes: int | None) -> Float[np.ndarray, "K N 3"]:
    """The first modes of a basis (3N, K) or (N, 3, K)."""
    if basis.ndim < 2 or basis.shape[-1] == 0 or basis.size != 3 * n * basis.shape[-1]:
        raise ModelFormatError(f"{key}: expected ({3 * n}, K), got {basis.shape}")
    rows = basis.reshape(3 * n, -1).T[:modes]
    check_numbers(key, rows, FARTHEST)
    return np.ascontiguousarray(rows, dtype=np.float32).reshape(-1, n, 3)


def _triangles(tri: np.ndarray, n: int) -> Int[np.ndarray, "F 3"]:
    if tri.ndim != 2 or tri.shape[1] != 3 or len(tri) == 0:
        raise ModelFormatError(f"tri: expected (F, 3), got {tri.shape}")
    if not np.isfinite(tri).all() or tri.min() < 0 or tri.max() >= n:
        raise ModelFormatError(f"tri: vertices {tri.min()} to {tri.max()}, but there are {n}")
    return tri.astype(np.int64)


def _names(arrays: dict[str, np.ndarray], count: int) -> tuple[str, ...]:
    """Names of the expressions, where there is one for each."""
    for key in ("exp_name_list", "exp_name_list_52"):
        if key in arrays and arrays[key].dtype.kind == "U" and arrays[key].size == count:
            return tuple(str(name) for name in arrays[key].ravel())
    return ()


def _marks(arrays: dict[str, np.ndarray], mean: np.ndarray) -> Int[np.ndarray, "68"] | None:
    """Vertices of the iBUG points; None where the file has them in no scheme that is known."""
    listed = arrays.get("keypoints_68", arrays.get("keypoints"))
    if listed is None or listed.size not in (66, 68) or listed.dtype.kind not in "fiu":
        return None
    points = listed.ravel()
    if not np.isfinite(points).all() or points.min() < 0 or points.max() >= len(mean):
        raise ModelFormatError(
            f"keypoints: vertices {points.min()} to {points.max()}, but there are {len(mean)}"
        )
    if len(points) == 68:
        return points.astype(np.int64)
    marks = points.astype(np.int64)[IBUG_OF_66]
    places = mean[marks]
    for outer, inner, lips in ((48, 60, (61, 67)), (54, 64, (63, 65))):
        beyond = places[inner] + BEYOND * (places[inner] - places[list(lips)].mean(axis=0))
        marks[outer] = KDTree(mean).query(beyond)[1]
    return marks
