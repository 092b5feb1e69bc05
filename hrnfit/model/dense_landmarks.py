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
