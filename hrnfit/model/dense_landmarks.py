"""Dense landmarks of any model: where a detector sees its points on the model's own renders.

The detector has a bias: it does not mark the same place on every face, but it marks the same place
on a render and on a photograph of a like face. Embedding what it says on renders cancels that bias
between model and photograph. Rendering and detection come in as callables: this layer knows neither.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.model.face_model import LandmarkSet

SHIPPED = Path(__file__).parent / "measured_landmarks"
"""Embeddings measured with `hrnfit models landmarks`, one npz per mesh, named by its key."""

EXTENT_TOLERANCE = 1.0
"""Largest difference of the mean's bounding box from the measured one, mm: same triangles on another
mean (or another unit) is another model."""

MAX_GAP = 4.0
"""A point farther from the model's surface than this is not on it, mm."""

MIN_SHARE = 0.25
"""Detections of a point over those of the usual point; fewer: it is hidden or beside the model."""


def mesh_key(faces: Int[Tensor, "F 3"]) -> str:
    """Name of a topology: a hash of its triangles."""
    return hashlib.sha256(faces.cpu().numpy().astype("<i4").tobytes()).hexdigest()[:16]


def shipped_landmarks(mean: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> LandmarkSet | None:
    """The embedding of `mediapipe478` measured on this mesh, if the package has it."""
    path = SHIPPED / f"{mesh_key(faces)}.npz"
    if not path.is_file():
        return None
    with np.load(path) as file:
        extent = (mean.amax(dim=0) - mean.amin(dim=0)).cpu().numpy()
        if np.abs(extent - file["extent"]).max() > EXTENT_TOLERANCE:
            return None
        return LandmarkSet(
            triangles=torch.from_numpy(file["triangles"].astype(np.int32)),
            barycentric=torch.from_numpy(file["barycentric"].astype(np.float32)),
            spread=torch.from_numpy(file["spread"].astype(np.float32)),
        )


def write_shipped(
    mean: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    marks: LandmarkSet,
    folder: Path = SHIPPED,
) -> Path:
    """Keep a measured embedding for this mesh in a folder of embeddings."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{mesh_key(faces)}.npz"
    np.savez_compressed(
        path,
        extent=(mean.amax(dim=0) - mean.amin(dim=0)).cpu().numpy(),
        triangles=marks.triangles.cpu().numpy().astype(np.int32),
        barycentric=marks.barycentric.cpu().numpy().astype(np.float32),
        spread=marks.spread.cpu().numpy().astype(np.float32),
    )
    return path


def robust_embedding(
    mean: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    triangles: Int[Tensor, "S L"],
    barycentric: Float[Tensor, "S L 3"],
    weight: Float[Tensor, "S L"],
) -> LandmarkSet:
    """Centre of what S detections saw of each point, as an embedding in the mean's surface.

    `triangles`: triangle that the detected point lies on, of `faces`; others count as seen nowhere.
    `barycentric`: may leave the triangle a little. `weight`: 0 where not seen. A point seen in fewer
    than `MIN_SHARE` of the usual number of detections, or whose centre is farther than `MAX_GAP` from
    the surface, is missing. The spread is the weighted median distance from the centre over its ratio to
    the standard deviation in a plane (1.177).
    """
    seen = (triangles >= 0) & (triangles < len(faces)) & (weight > 0)
    corners = mean[faces[triangles.clamp(0, len(faces) - 1).long()].long()]
    places = (corners * barycentric[..., None]).sum(dim=2).double()
    weight = (weight * seen).double()
    centre = _geometric_median(places, weight)
    distance = (places - centre).norm(dim=2)
    spread = _weighted_median(distance, weight) / 1.177
    index, weights, gap = closest_on_surface(mean, faces, centre.to(mean))
    count = seen.sum(dim=0)
    usual = count.float().median()
    missing = (count < MIN_SHARE * usual) | (gap > MAX_GAP) | (count == 0)
    return LandmarkSet(
        triangles=torch.where(missing, -1, index).int(),
        barycentric=torch.where(missing[:, None], 0.0, weights).to(mean),
        spread=torch.where(missing, 0.0, spread.to(mean)),
    )


def closest_on_surface(
    vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], points: Float[Tensor, "P 3"]
) -> tuple[Int[Tensor, "P"], Float[Tensor, "P 3"], Float[Tensor, "P"]]:
    """Triangle, barycentric coordinates and distance (mm) of the closest surface point.

    Exact among the 48 triangles whose centres are nearest: enough for evenly sized triangles.
    """
    from scipy.spatial import KDTree
    from trimesh.triangles import closest_point, points_to_barycentric

    corners = vertices.cpu().double().numpy()[faces.cpu().numpy()]
    query = points.cpu().double().numpy()
    near = min(48, len(corners))
    _, candidate = KDTree(corners.mean(axis=1)).query(query, k=near)
    candidate = candidate.reshape(len(query), near)
    repeated = np.repeat(query, near, axis=0)
    foot = closest_point(corners[candidate.ravel()], repeated).reshape(len(query), near, 3)
    gap = np.linalg.norm(foot - query[:, None], axis=2)
    best = gap.argmin(axis=1)
    row = np.arange(len(query))
    triangle = candidate[row, best]
    weights = np.clip(points_to_barycentric(corners[triangle], foot[row, best]), 0.0, 1.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return (
        torch.from_numpy(triangle.astype(np.int32)),
        torch.from_numpy(weights).to(vertices),
        torch.from_numpy(gap[row, best]).to(vertices),
    )


def _geometric_median(
    places: Float[Tensor, "S L 3"], weight: Float[Tensor, "S L"], steps: int = 50
) -> Float[Tensor, "L 3"]:
    """Weiszfeld's iteration from the weighted mean; ignores a minority of strays."""
    total = weight.sum(dim=0).clamp_min(1e-12)[:, None]
    centre = (places * weight[..., None]).sum(dim=0) / total
    for _ in range(steps):
        pull = weight / (places - centre).norm(dim=2).clamp_min(1e-3)
        centre = (places * pull[..., None]).sum(0) / pull.sum(0).clamp_min(1e-12)[:, None]
    return centre


def _weighted_median(
    values: Float[Tensor, "S L"], weight: Float[Tensor, "S L"]
) -> Float[Tensor, "L"]:
    """Smallest value that half of the weight does not exceed, per column."""
    order = values.argsort(dim=0)
    share = weight.gather(0, order).cumsum(dim=0)
    first = (share >= 0.5 * share[-1]).int().argmax(dim=0, keepdim=True)
    return values.gather(0, order.gather(0, first))[0]
