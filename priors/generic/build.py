"""Build the embedded face model `generic`: `python -m priors.generic.build [OUT.npz]`.

Everything is computed from the formulas and published numbers in this package; the run is
deterministic. Output: the `hrnfit-model-1` format (docs/generic_model.md).
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path

import numpy as np
import torch

from hrnfit.model.face_model import LandmarkSet
from hrnfit.model.lip_landmarks import on_own_lips

from . import albedo, expressions, identity, landmarks, regions
from .measure import make_ruler
from .mesh import Mesh, build_mesh
from .unwrap import unwrap

ORIGIN = np.array([0.0, -35.0, -60.0])
"""Head frame origin in the frame of `cage`, mm: behind the nose, near the head's middle."""
DEFAULT = Path(__file__).with_name("generic.npz")


def arrays() -> dict[str, np.ndarray]:
    """All arrays of the model file."""
    drawn = build_mesh()
    modes = identity.prior_modes(drawn)
    ruler = make_ruler(drawn)
    mean = identity.fit_mean(drawn, modes, ruler)
    basis = identity.identity_basis(mean, modes, ruler)
    uv = unwrap(dataclasses.replace(drawn, vertices=mean))
    canvas = albedo.Canvas(drawn, uv)
    out = {
        "mean": (mean - ORIGIN).astype(np.float32),
        "identity_basis": basis.astype(np.float16),
        "expression_basis": expressions.expression_basis(drawn, mean).astype(np.float16),
        "faces": drawn.faces.astype(np.int32),
        "uv": uv.astype(np.float32),
        "uv_faces": drawn.faces.astype(np.int32),
        "albedo_mean": albedo.mean_albedo(canvas).astype(np.float16),
        "albedo_basis": albedo.albedo_basis(drawn, uv).astype(np.float16),
        "mirror": drawn.mirror.astype(np.int32),
    }
    return _text() | out | _regions(drawn) | _landmarks(drawn, uv, out["mean"])


def _text() -> dict[str, np.ndarray]:
    return {
        "format": np.array("hrnfit-model-1"),
        "name": np.array("generic"),
        "licence": np.array("Apache-2.0"),
        "source": np.array("priors/generic/build.py: published anthropometry and formulas"),
        "commercial": np.array(True),
        "mm_per_unit": np.array(1.0),
        "expression_names": np.array(expressions.ORDER),
        "expression_is_blendshape": np.array(True),
    }


def _regions(mesh: Mesh) -> dict[str, np.ndarray]:
    masks = regions.region_masks(mesh)
    return {
        "region_names": np.array(list(masks)),
        "region_masks": np.stack(list(masks.values())),
    }


FIVE = ((36, 39), (42, 45), (30,), (48,), (54,))
"""iBUG points whose middle is each of the five: eyes (subject's right first), nose tip, corners."""


def _landmarks(mesh: Mesh, uv: np.ndarray, mean: np.ndarray) -> dict[str, np.ndarray]:
    triangles, weights = landmarks.ibug68(mesh)
    points = (mean[mesh.faces[triangles]] * weights[..., None]).sum(axis=1)
    five = np.array([points[list(group)].mean(axis=0) for group in FIVE])
    five_triangles, five_weights = landmarks.frontal_hits(mean, mesh.faces, five[:, :2])
    sets = {
        "ibug68": (triangles, weights, np.zeros(68)),
        "five": (five_triangles, five_weights, np.zeros(5)),
    }
    if landmarks.TABLE.exists():
        sets["mediapipe478"] = landmarks.mediapipe478(uv, mesh.faces)
        inside = regions.region_masks(mesh)["mouth_interior"]
        sets["mediapipe478"] = _on_own_lips(mean, mesh.faces, sets, inside)
    out = {"jaw_contour": landmarks.jaw_contour(mesh)}
    for scheme, (t, w, s) in sets.items():
        out[f"landmarks_{scheme}_triangles"] = t.astype(np.int32)
        out[f"landmarks_{scheme}_barycentric"] = w.astype(np.float32)
        out[f"landmarks_{scheme}_spread"] = s.astype(np.float32)
    return out


def _on_own_lips(
    mean: np.ndarray,
    faces: np.ndarray,
    sets: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    inside: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The dense points with those of the lips on their own lip, and none inside the mouth."""
    vertices, triangles = torch.from_numpy(mean), torch.from_numpy(faces.astype(np.int32))
    dense, ibug68 = (
        LandmarkSet(
            torch.from_numpy(t.astype(np.int32)),
            torch.from_numpy(w.astype(np.float32)),
            torch.from_numpy(s.astype(np.float32)),
        )
        for t, w, s in (sets["mediapipe478"], sets["ibug68"])
    )
    found = on_own_lips(vertices, triangles, dense, ibug68, torch.from_numpy(inside))
    return found.triangles.numpy(), found.barycentric.numpy(), found.spread.numpy()


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    built = arrays()
    part = path.with_name(
        f".{path.stem}.part.npz"
    )  # others may be reading the file: replace at once
    np.savez_compressed(part, **built)
    part.replace(path)
    logging.getLogger(__name__).info("%s: %d vertices", path, len(built["mean"]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
