"""From the arrays of a linear model in its own unit to a `LinearFaceModel`: what all importers share.

The head frame keeps the file's axes and origin; the importer has turned them beforehand if they are not
ours. What a file lacks is made: chart, regions, jaw contour, mirror pairs, albedo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.uv import disk_chart
from hrnfit.model.appearance import smooth_albedo
from hrnfit.model.contour import jaw_candidates
from hrnfit.model.face_model import LandmarkSet, ModelInfo
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.ict import face_density, vertex_landmarks
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.regions import regions_from_landmarks
from hrnfit.model.symmetry import mirror_pairs


@dataclass(frozen=True)
class LinearParts:
    """What a file says. Arrays in the file's unit, axes as ours: y up, z out of the face."""

    info: ModelInfo
    mm_per_unit: float
    mean: Float[np.ndarray, "N 3"]
    identity: Float[np.ndarray, "I N 3"]
    """Per standard deviation."""
    expression: Float[np.ndarray, "E N 3"]
    expression_names: tuple[str, ...]
    expression_is_blendshape: bool
    faces: Int[np.ndarray, "F 3"]
    """Counter-clockwise from outside."""
    marks: Int[np.ndarray, "68"] | LandmarkSet
    """iBUG points: vertices, or places in triangles."""
    guides: Int[np.ndarray, "68"] | None = None
    """Vertices near the 68 points where some are missing in `marks`: they guide regions and jaw."""
    uv: Float[np.ndarray, "Nuv 2"] | None = None
    """Origin top-left, v down; None asks for a chart of ours."""
    uv_faces: Int[np.ndarray, "F 3"] | None = None
    """None: one texture vertex per vertex."""
    albedo_mean: Float[np.ndarray, "H W 3"] | None = None
    """Linear RGB; None asks for a smooth model."""
    albedo_basis: Float[np.ndarray, "A h w 3"] | None = None


def assemble_linear(parts: LinearParts) -> LinearFaceModel:
    """The model in mm, with everything that the fit wants of one.

    Raises ModelFormatError when faces or landmarks point beyond the vertices, or the mesh has no
    chart without seams.
    """
    _check_indices(parts)
    points = torch.from_numpy(np.ascontiguousarray(parts.mean, dtype=np.float32))
    points = points * parts.mm_per_unit
    faces = torch.from_numpy(np.ascontiguousarray(parts.faces, dtype=np.int32))
    landmarks = ibug68(parts.marks, faces)
    marks = nearest_corner(landmarks, faces)
    if parts.guides is not None:
        marks = torch.from_numpy(parts.guides.astype(np.int64))
    uv, uv_faces = _chart(parts, points, faces, marks)
    mean_albedo, albedo_basis = _albedo(parts)
    flat_uv = vertex_uv(uv, uv_faces, faces, len(points))
    return LinearFaceModel(
        info=parts.info,
        mean=points,
        identity_basis=_flat(parts.identity, parts.mm_per_unit),
        expression_basis=_flat(parts.expression, parts.mm_per_unit),
        expression_names=parts.expression_names,
        expression_is_blendshape=parts.expression_is_blendshape,
        faces=faces,
        uv=uv,
        uv_faces=uv_faces,
        albedo_mean=mean_albedo,
        albedo_basis=albedo_basis,
        regions=regions_from_landmarks(points, faces, flat_uv, points[marks]),
        landmarks={"ibug68": landmarks},
        jaw_contour=jaw_candidates(points, marks[:17], faces),
        mirror=mirror_pairs(points),
    )


def ibug68(marks: np.ndarray | LandmarkSet, faces: Int[Tensor, "F 3"]) -> LandmarkSet:
    """The 68 points as places in triangles."""
    if isinstance(marks, LandmarkSet):
        return marks
    return vertex_landmarks(torch.from_numpy(marks.astype(np.int64)), faces)


def nearest_corner(marks: LandmarkSet, faces: Int[Tensor, "F 3"]) -> Int[Tensor, "L"]:
    """The vertex that each landmark lies closest to, by its weights."""
    corner = marks.barycentric.argmax(dim=1, keepdim=True)
    return faces[marks.triangles.long().clamp_min(0)].long().gather(1, corner)[:, 0]


def vertex_uv(
    uv: Float[Tensor, "Nuv 2"],
    uv_faces: Int[Tensor, "F 3"],
    faces: Int[Tensor, "F 3"],
    n_vertices: int,
) -> Float[Tensor, "N 2"]:
    """One place in the chart per vertex; of a vertex on a seam, its last."""
    flat = uv.new_zeros(n_vertices, 2)
    flat[faces.long().flatten()] = uv[uv_faces.long().flatten()]
    return flat


def _check_indices(parts: LinearParts) -> None:
    n = len(parts.mean)
    if parts.faces.min(initial=0) < 0 or parts.faces.max(initial=0) >= n:
        raise ModelFormatError(
            f"faces: vertices {parts.faces.min()} to {parts.faces.max()}, but there are {n}"
        )
    marks = parts.marks
    if isinstance(marks, np.ndarray) and (marks.min() < 0 or marks.max() >= n):
        raise ModelFormatError(
            f"landmarks: vertices {marks.min()} to {marks.max()}, but there are {n}"
        )


def _chart(
    parts: LinearParts, points: Tensor, faces: Tensor, marks: Tensor
) -> tuple[Float[Tensor, "Nuv 2"], Int[Tensor, "F 3"]]:
    """The file's chart, or ours."""
    if parts.uv is None:
        try:
            return disk_chart(points, faces, face_density(points, points[marks[30]])), faces
        except ValueError as error:
            raise ModelFormatError(str(error)) from error
    uv = torch.from_numpy(np.ascontiguousarray(parts.uv, dtype=np.float32))
    if parts.uv_faces is None:
        return uv, faces
    return uv, torch.from_numpy(np.ascontiguousarray(parts.uv_faces, dtype=np.int32))


def _albedo(parts: LinearParts) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "A h w 3"]]:
    mean, basis = smooth_albedo()
    if parts.albedo_mean is None:
        return mean, basis
    mean = torch.from_numpy(np.ascontiguousarray(parts.albedo_mean, dtype=np.float32))
    if parts.albedo_basis is None:
        return mean, basis
    return mean, torch.from_numpy(np.ascontiguousarray(parts.albedo_basis, dtype=np.float32))


def _flat(basis: Float[np.ndarray, "K N 3"], scale: float) -> Float[Tensor, "K N3"]:
    modes = torch.from_numpy(np.ascontiguousarray(basis, dtype=np.float32))
    return modes.flatten(1) if scale == 1.0 else modes.flatten(1) * scale
