"""FLAME 2020, 2023 and 2023 Open: a pickle of the model, and companions in the same folder.

The head frame is FLAME's own in mm, so coefficients exchange as they are (`model/flame.py`). What lies
beside the model is used: landmark embeddings, a texture space, texture coordinates; what does not is
made. In `flame2023_no_jaw.pkl` the expression modes open the mouth, so its jaw has no unknowns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.check import check_range, check_shape
from hrnfit.importers import flame_licence
from hrnfit.importers.assemble import nearest_corner, vertex_uv
from hrnfit.importers.flame_chart import Chart, find_chart
from hrnfit.importers.flame_landmarks import flame_landmarks, plausible
from hrnfit.importers.flame_texture import Texture, find_texture
from hrnfit.importers.isolated import read_isolated
from hrnfit.model.appearance import smooth_albedo
from hrnfit.model.contour import jaw_candidates
from hrnfit.model.face_model import LandmarkSet, ModelInfo
from hrnfit.model.flame import DEVIATIONS, JOINTS, FlameModel
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.head_chart import head_chart
from hrnfit.model.linear import LinearFaceModel, landmark_positions
from hrnfit.model.regions import regions_from_landmarks
from hrnfit.model.skeleton import Skeleton
from hrnfit.model.symmetry import mirror_pairs

NAMES = ("flame2023_Open.pkl", "flame2023.pkl", "flame2023_no_jaw.pkl", "generic_model.pkl")
"""Models looked for in a folder, the first one first."""

MM_PER_UNIT = 1000.0
"""The files are in metres."""

SHAPE_MODES = 300
"""Modes of `shapedirs` that are identity; those behind them are expression."""

NO_JAW_NOTE = "told by the name of the file, the jaw does not turn: expressions open the mouth"
"""What is said of a model whose jaw was given no unknowns."""

TALLEST, LONGEST = 0.6, 0.3
"""Largest extent of a head with its neck, and move of a vertex by one coefficient, m."""


class FlameImport(NamedTuple):
    """A model and the files that were read for it."""

    model: FlameModel
    files: tuple[Path, ...]


def import_flame(
    path: Path, extras: Path | None, licence: str | None, checksum: Callable[[Path], str]
) -> FlameImport:
    """The model of a file, or of the first known one in a folder.

    extras: folder of companions, that of the file without. licence: see `flame_licence`. checksum:
    function from a path to its SHA-256. Raises ModelFormatError naming key, shape or number.
    """
    path = _model_file(path)
    arrays = read_isolated("hrnfit.importers.flame_pickle:model", path)
    try:
        _check(arrays)
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"{path}: {error}") from error
    folder, faces = extras or path.parent, arrays["f"].astype(np.int64)
    marks = flame_landmarks(folder, faces, len(arrays["v_template"]))
    texture = find_texture(folder, faces)
    chart, chart_file = (texture.chart if texture else None), ()
    if chart is None and (found := find_chart(folder, faces)) is not None:
        chart, chart_file = found[0], (found[1],)
    companions = (*marks.files, *((texture.path,) if texture else ()), *chart_file)
    names = tuple(file.name for file in companions)
    digest = checksum(path)
    info = flame_licence.flame_info(digest, licence, "open_mark" in arrays, names)
    jaw = _has_jaw(path, digest)
    if not jaw:
        info = replace(info, note=f"{info.note}; {NO_JAW_NOTE}")
    unposed = _unposed(arrays, info, marks.sets, chart, texture)
    points = landmark_positions(unposed.mean, unposed.faces, unposed.landmarks["ibug68"])
    if not plausible(points):
        raise ModelFormatError(
            f"{path}: the landmarks do not lie on a face; the embedding is of another mesh"
        )
    contour = _outline(unposed) if marks.contour is None else marks.contour
    unposed = replace(unposed, jaw_contour=contour)
    model = FlameModel(unposed, _skeleton(arrays, jaw))
    return FlameImport(model, (path, *companions))


def _model_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in NAMES:
        if (path / name).is_file():
            return path / name
    raise ModelFormatError(f"{path}: none of {', '.join(NAMES)} in it; give the file itself")


def _has_jaw(path: Path, digest: str) -> bool:
    """Whether the jaw turns: in every release whose checksum is known; else the name tells."""
    return digest in flame_licence.RELEASES or "no_jaw" not in path.name


def _check(arrays: dict[str, np.ndarray]) -> None:
    """Shapes that fit together, joints in FLAME's order, and lengths of a head in metres."""
    check_shape("v_template", arrays["v_template"], ("N", 3))
    n = len(arrays["v_template"])
    check_shape("shapedirs", arrays["shapedirs"], (n, 3, "K"))
    _expressions(arrays)
    check_shape("posedirs", arrays["posedirs"], (n, 3, 9 * (len(JOINTS) - 1)))
    check_shape("J_regressor", arrays["J_regressor"], (len(JOINTS), n))
    check_shape("kintree_table", arrays["kintree_table"], (2, len(JOINTS)))
    check_shape("weights", arrays["weights"], (n, len(JOINTS)))
    check_shape("f", arrays["f"], ("F", 3))
    for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        if arrays[key].dtype.kind != "f" or arrays[key].size == 0:
            raise ValueError(f"{key}: expected reals, got {arrays[key].shape} {arrays[key].dtype}")
    for key in ("f", "kintree_table"):
        if arrays[key].dtype.kind not in "iu" or arrays[key].size == 0:
            raise ValueError(f"{key}: expected integers, got {arrays[key].dtype}")
    check_range("v_template", arrays["v_template"], -TALLEST, TALLEST, "lengths are metres")
    extent = np.ptp(arrays["v_template"], axis=0).max()
    if not 0.1 < extent < TALLEST:
        raise ValueError(f"v_template: {extent:.3g} m large, which is no head; lengths are metres")
    for key in ("shapedirs", "posedirs"):
        check_range(key, arrays[key], -LONGEST, LONGEST, "lengths are metres")
    for key in ("J_regressor", "weights"):
        check_range(key, arrays[key], -1e-3 if key == "weights" else -10.0, 10.0)
    check_range("f", arrays["f"].astype(np.int64), 0, n - 1, f"there are {n} vertices")
    parents, numbers = arrays["kintree_table"].astype(np.int64)
    if numbers.tolist() != list(range(len(JOINTS))) or parents[1:].tolist() != [0, 1, 1, 1]:
        raise ValueError(
            f"kintree_table: joints {numbers.tolist()} below {parents[1:].tolist()}; expected neck "
            "below the root, jaw and eyes below the neck"
        )


def _expressions(arrays: dict[str, np.ndarray]) -> int:
    """Number of expression modes; ValueError when it cannot be told."""
    modes = arrays["shapedirs"].shape[2]
    if "n_expression" in arrays:
        count = arrays["n_expression"]
        if count.size != 1 or count.dtype.kind not in "iu" or not 0 < int(count.item()) < modes:
            raise ValueError(f"n_expr: {count}, but shapedirs has {modes} modes")
        return int(count.item())
    if modes <= SHAPE_MODES:
        raise ValueError(
            f"shapedirs: {modes} modes; expected {SHAPE_MODES} of shape and then those of expression"
        )
    return modes - SHAPE_MODES


def _unposed(
    arrays: dict[str, np.ndarray],
    info: ModelInfo,
    landmarks: dict[str, LandmarkSet],
    chart: Chart | None,
    texture: Texture | None,
) -> LinearFaceModel:
    """The head before its joints turn."""
    points = torch.from_numpy(arrays["v_template"]) * MM_PER_UNIT
    faces = torch.from_numpy(arrays["f"].astype(np.int32))
    modes = torch.from_numpy(arrays["shapedirs"]).permute(2, 0, 1).flatten(1) * MM_PER_UNIT
    count = _expressions(arrays)
    marks = points[nearest_corner(landmarks["ibug68"], faces)]
    uv, uv_faces, islands = _chart(points, faces, marks[30], chart)
    flat = vertex_uv(uv, uv_faces, faces, len(points))
    regions = {
        name: mask & ~islands
        for name, mask in regions_from_landmarks(points, faces, flat, marks).items()
    }
    mean, basis = smooth_albedo()
    if texture is not None:
        mean = torch.from_numpy(texture.mean)
        basis = torch.from_numpy(texture.basis.astype(np.float32))
    return LinearFaceModel(
        info=info,
        mean=points,
        identity_basis=modes[: len(modes) - count].contiguous(),
        expression_basis=modes[len(modes) - count :].contiguous(),
        expression_names=tuple(f"expression{k:02d}" for k in range(count)),
        expression_is_blendshape=False,
        faces=faces,
        uv=uv,
        uv_faces=uv_faces,
        albedo_mean=mean,
        albedo_basis=basis,
        regions=regions | {"eyes": islands},
        landmarks=landmarks,
        mirror=mirror_pairs(points),
    )


def _chart(
    points: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    nose_tip: Float[Tensor, "3"],
    chart: Chart | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Texture coordinates, the file's or ours, and which vertices are eyeballs."""
    try:
        own = head_chart(points, faces, nose_tip)
    except ValueError as error:
        raise ModelFormatError(f"no chart can be made of this mesh: {error}") from error
    if chart is None:
        return own.uv, own.uv_faces, own.islands
    return torch.from_numpy(chart.uv), torch.from_numpy(chart.uv_faces), own.islands


def _outline(model: LinearFaceModel) -> Int[Tensor, "17 K"]:
    """Candidates of the jaw points where no file says them; none where the points are missing."""
    marks = model.landmarks["ibug68"]
    jaw = nearest_corner(marks, model.faces)[:17]
    if bool((marks.triangles[:17] < 0).any()):
        return torch.full((17, 1), -1, dtype=torch.int32)
    return jaw_candidates(model.mean, jaw, model.faces)


def _skeleton(arrays: dict[str, np.ndarray], jaw: bool) -> Skeleton:
    """Joints and what turns on them. `jaw`: whether it has unknowns."""
    turning = [j for j, name in enumerate(JOINTS) if name in DEVIATIONS and (jaw or name != "jaw")]
    correctives = torch.from_numpy(arrays["posedirs"]).permute(2, 0, 1).flatten(1)
    return Skeleton(
        pose_basis=correctives.contiguous() * MM_PER_UNIT,
        joint_regressor=torch.from_numpy(arrays["J_regressor"]),
        weights=torch.from_numpy(arrays["weights"]),
        parents=(-1, *arrays["kintree_table"][0, 1:].astype(np.int64).tolist()),
        turning=tuple(turning),
        deviation=torch.tensor([DEVIATIONS[JOINTS[j]] for j in turning]),
    )
