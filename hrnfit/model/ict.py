"""Import of the ICT face model: from its folder of OBJ files, or from a compact npz of it.

Only geometry, bases and landmark vertices are taken; units cm become mm. The chart is our own,
because the file's has seams and two tiles. ICT has no albedo model: a smooth basis stands in.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.check import check_range, check_shape
from hrnfit.geometry.mesh import boundary_loops
from hrnfit.geometry.uv import disk_chart
from hrnfit.model.appearance import smooth_albedo
from hrnfit.model.contour import jaw_candidates
from hrnfit.model.eye_caps import EyeCap, eye_cap, eye_openings
from hrnfit.model.face_model import LandmarkSet, ModelInfo
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.npz_arrays import read_npz
from hrnfit.model.regions import regions_from_landmarks
from hrnfit.model.symmetry import mirror_pairs

COMPACT_KEYS = ("mean", "id_basis", "exp_basis", "tris", "lm68", "exp_names", "meta")
"""What tells a compact ICT file from others."""

FACE_VERTICES = 9409
"""The published face part: vertices 0 to 9408 (README of ICT-FaceKit, table Geometry)."""

HEAD_VERTICES = 11248
"""Face, head and neck."""

LANDMARKS_68 = (
    *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088),
    *(3443, 268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140),
    *(2075, 1147, 4269, 3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725),
    *(3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533),
    *(6216, 6207, 6470, 5517, 5966),
)
"""Vertices of the Multi-PIE points, from the same README."""

PARTS = {"face": FACE_VERTICES, "head": HEAD_VERTICES}
"""Parts that can be fitted, and how many leading vertices they have."""

STILL = 0.01
"""An expression that moves no kept vertex by more than this (cm) is none: the pupils' leave 0.045 mm
of noise on the right lid."""

LARGEST = 50.0
"""No coordinate of a head and no mode of one is longer, cm."""

INFO = ModelInfo(
    name="ict",
    licence="MIT, (c) 2020 USC Institute for Creative Technologies",
    commercial=True,
    source="ICT-FaceKit (github ICT-VGL/ICT-FaceKit)",
)


def import_compact(path: str | Path, part: str = "face") -> LinearFaceModel:
    """The model of a compact npz (keys `COMPACT_KEYS`; cm, bases per standard deviation)."""
    return from_compact(read_npz(Path(path)), str(path), part)


def from_compact(
    arrays: Mapping[str, np.ndarray], label: str, part: str = "face"
) -> LinearFaceModel:
    """The model of a compact file's arrays; `label` names the file in errors."""
    missing = [key for key in COMPACT_KEYS if key not in arrays]
    if missing:
        raise ModelFormatError(f"{label}: a compact ICT file needs the keys {', '.join(missing)}")
    try:
        _check_compact(arrays)
        keep = _kept(part, arrays["meta"])
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"{label}: {error}") from error
    return assemble(
        mean=arrays["mean"].astype(np.float32),
        identity=arrays["id_basis"].astype(np.float32),
        expression=arrays["exp_basis"].astype(np.float32),
        expression_names=tuple(str(name) for name in arrays["exp_names"]),
        faces=arrays["tris"].astype(np.int64),
        marks=arrays["lm68"].astype(np.int64),
        keep=keep,
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


def import_folder(folder: str | Path, part: str = "face") -> LinearFaceModel:
    """The model of a `FaceXModel` folder: generic_neutral_mesh.obj, identity000.obj and on, and one
    OBJ per expression. Each file holds mean plus mode, all with the same vertex order."""
    folder = Path(folder)
    neutral = folder / "generic_neutral_mesh.obj"
    if not neutral.is_file():
        raise FileNotFoundError(
            f"{folder}: no generic_neutral_mesh.obj in it; give the folder FaceXModel of "
            "ICT-FaceKit, or an npz file"
        )
    mean, faces = _read_obj(neutral)
    keep = min(_count(part), len(mean))
    mean = mean[:keep]
    others = sorted(p for p in folder.glob("*.obj") if p != neutral)
    identities = [p for p in others if re.fullmatch(r"identity\d+", p.stem)]
    expressions = [p for p in others if p not in identities]
    if not identities or not expressions:
        raise ValueError(
            f"{folder}: expected identity000.obj and on, and one OBJ per expression; found "
            f"{len(identities)} identities and {len(expressions)} expressions"
        )
    return assemble(
        mean=mean.astype(np.float32),
        identity=np.stack([_mode(p, mean) for p in identities]),
        expression=np.stack([_mode(p, mean) for p in expressions]),
        expression_names=tuple(p.stem for p in expressions),
        faces=faces,
        marks=np.array(LANDMARKS_68),
        keep=keep,
    )


def is_compact(keys: set[str]) -> bool:
    """Whether an npz with these keys is a compact ICT file."""
    return keys.issuperset(COMPACT_KEYS) and "format" not in keys


def assemble(
    mean: Float[np.ndarray, "N 3"],
    identity: Float[np.ndarray, "I N 3"],
    expression: Float[np.ndarray, "E N 3"],
    expression_names: tuple[str, ...],
    faces: Int[np.ndarray, "F 3"],
    marks: Int[np.ndarray, "68"],
    keep: int,
) -> LinearFaceModel:
    """A model of the first `keep` vertices, from arrays in cm.

    Expressions that move none of them (the pupils') are left out. The head frame keeps the file's axes;
    its origin moves to the mean of the kept vertices, so that a turn of the head does not swing it far.
    Eyeball fronts follow as further vertices: the file's own eyeballs lie outside its face part."""
    if marks.max() >= keep:
        raise ValueError(
            f"ICT: landmark vertex {marks.max()} lies outside the {keep} vertices of the mesh; "
            "is this another topology?"
        )
    points = torch.from_numpy(mean[:keep] * 10.0)
    points = points - points.mean(dim=0) * torch.tensor([0.0, 1.0, 1.0])
    kept = torch.from_numpy(faces[(faces < keep).all(axis=1)].astype(np.int32))
    jaw = torch.from_numpy(marks)
    mean_albedo, albedo_basis = smooth_albedo()
    caps = _eye_caps(points, kept, points[jaw])
    points = torch.cat([points, *(cap.points for cap in caps)])
    kept = torch.cat([kept, *(cap.faces for cap in caps)])
    moving = np.abs(expression[:, :keep]).max(axis=(1, 2)) > STILL
    names = tuple(name for name, moves in zip(expression_names, moving, strict=True) if moves)
    return LinearFaceModel(
        info=INFO,
        mean=points,
        identity_basis=_flat(identity, keep, caps),
        expression_basis=_flat(expression[moving], keep, caps),
        expression_names=names,
        expression_is_blendshape=True,
        faces=kept,
        uv=(uv := disk_chart(points, kept, face_density(points, points[jaw[30]]))),
        uv_faces=kept,
        albedo_mean=mean_albedo,
        albedo_basis=albedo_basis,
        regions=regions_from_landmarks(points, kept, uv, points[jaw]) | _eyeballs(points, caps),
        landmarks={"ibug68": vertex_landmarks(jaw, kept)},
        jaw_contour=jaw_candidates(points, jaw[:17], kept),
        mirror=mirror_pairs(points),
    )


def vertex_landmarks(vertices: Int[Tensor, "L"], faces: Int[Tensor, "F 3"]) -> LandmarkSet:
    """Landmarks that are vertices, as corners of one of their triangles; spread 0."""
    hits = faces[None].long() == vertices[:, None, None].long()
    triangle = hits.any(dim=2).int().argmax(dim=1)
    row = torch.arange(len(vertices))
    return LandmarkSet(
        triangles=triangle.int(),
        barycentric=hits[row, triangle].float(),
        spread=torch.zeros(len(vertices)),
    )


def face_density(points: Float[Tensor, "N 3"], nose_tip: Float[Tensor, "3"]) -> Float[Tensor, "N"]:
    """Wished texels per mm: 1 within about 80 mm of the nose tip, 0.55 far from it."""
    return 0.55 + 0.45 * torch.exp(-(((points - nose_tip).norm(dim=1) / 95.0) ** 4))


def _eye_caps(
    points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], marks: Float[Tensor, "68 3"]
) -> list[EyeCap]:
    """Eyeball fronts for the holes between the eye corners; none where the eyes are not holes."""
    middles = torch.stack([marks[36:42].mean(dim=0), marks[42:48].mean(dim=0)])
    caps: list[EyeCap] = []
    first = len(points)
    holes = boundary_loops(faces)[1:]  # the longest is the face's own border
    for loop in eye_openings(points, holes, middles):
        caps.append(eye_cap(points, loop, first))
        first += len(caps[-1].points)
    return caps


def _eyeballs(points: Float[Tensor, "N 3"], caps: list[EyeCap]) -> dict[str, Bool[Tensor, "N"]]:
    """The region `eyes`: vertices of the eyeball fronts; nothing where there are none."""
    if not caps:
        return {}
    eyes = torch.zeros(len(points), dtype=torch.bool)
    eyes[len(points) - sum(len(cap.points) for cap in caps) :] = True
    return {"eyes": eyes}


def _flat(
    basis: Float[np.ndarray, "K N 3"], keep: int, caps: list[EyeCap]
) -> Float[Tensor, "K N3"]:
    """Modes of the kept vertices and of the eyeball fronts in mm, flat."""
    modes = torch.from_numpy(np.ascontiguousarray(basis[:, :keep]) * 10.0)
    return torch.cat([modes, *(cap.modes(modes) for cap in caps)], dim=1).flatten(1)


def check_part(part: str) -> None:
    """`part` is one that can be fitted."""
    if part not in PARTS:
        raise ValueError(f"part: expected {' or '.join(PARTS)}, got '{part}'")


def _count(part: str) -> int:
    """Number of leading vertices of the part."""
    check_part(part)
    return PARTS[part]


def _kept(part: str, meta: np.ndarray) -> int:
    """The same, from a compact file's own table when it has one."""
    default = _count(part)
    slices = json.loads(str(meta)).get("vertex_slices", {})
    return int(slices.get("face" if part == "face" else "head_neck", (0, default))[1])


def _mode(path: Path, mean: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """One mode: the file's vertices minus the mean."""
    points, _ = _read_obj(path, with_faces=False)
    if len(points) < len(mean):
        raise ValueError(f"{path}: {len(points)} vertices, but the neutral mesh has {len(mean)}")
    return (points[: len(mean)] - mean).astype(np.float32)


def _read_obj(
    path: Path, with_faces: bool = True
) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"]]:
    """Vertices, and polygons cut into triangles as fans. Texture and groups are ignored."""
    points: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("v "):
                points.append([float(x) for x in line.split()[1:4]])
            elif with_faces and line.startswith("f "):
                corner = [int(word.split("/")[0]) - 1 for word in line.split()[1:]]
                triangles += [(corner[0], a, b) for a, b in itertools.pairwise(corner[1:])]
        return np.array(points).reshape(-1, 3), np.array(triangles, dtype=np.int64).reshape(-1, 3)
    except ValueError as error:
        raise ValueError(f"{path}: not a readable OBJ file ({error})") from error
