"""A studio's own template mesh as a face: its vertices welded along seams, its 68 landmarks read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hrnfit.check import check_finite
from hrnfit.geometry.mesh import boundary_loops
from hrnfit.io.mesh import Mesh, read_mesh
from hrnfit.metrics import Surface
from hrnfit.model.face_model import LandmarkSet
from hrnfit.transfer.face_mesh import FaceMesh

SUFFIXES = (".obj", ".ply", ".glb")

N_POINTS = 68

OFF_SURFACE = 0.05
"""Distance of a landmark from the template, over the template's height, up to which it is one."""

EXPECTED = (
    "68 vertex numbers counted from 0, or 68 points [x, y, z] in the template's own unit, in the iBUG "
    "order (jaw 17, brows 10, nose 9, eyes 12, mouth 20); -1 or null for a point that it lacks"
)


@dataclass(frozen=True, eq=False)
class Template:
    """A mesh file, and the face it shows."""

    face: FaceMesh
    """Welded: one vertex per place, in the file's unit."""
    mesh: Mesh
    """As it stands in the file."""
    welded: Int[Tensor, "M"]
    """Vertex of `face` that each of the file's vertices is."""


def read_template(path: Path, landmarks: Path | None) -> Template:
    """A template with its landmarks. Raises FileNotFoundError or ValueError with what to give."""
    mesh = read_mesh(path)
    check_finite("vertices", mesh.vertices, f"{path} is damaged; export it again")
    if landmarks is None:
        raise ValueError(
            f"{path}: a template says nothing about where eyes, nose and mouth are; give --landmarks FILE "
            f"(.json, .txt or .npy): {EXPECTED}"
        )
    vertices, faces, welded = weld(mesh.vertices, mesh.faces)
    points = read_landmarks(landmarks)
    marks = embedded(points, mesh, vertices, faces, landmarks)
    face = FaceMesh(path.stem, vertices, faces, mesh.uv, mesh.corner_uv(), {"ibug68": marks})
    return Template(face, mesh, welded)


def weld(
    vertices: Float[Tensor, "M 3"], faces: Int[Tensor, "F 3"]
) -> tuple[Float[Tensor, "N 3"], Int[Tensor, "F 3"], Int[Tensor, "M"]]:
    """Vertices on open edges that lie at one place become one: files of some kinds split them along the
    seams of the chart. Places, triangles of them, and the place of every vertex."""
    on_edge = torch.zeros(len(vertices), dtype=torch.bool)
    for loop in boundary_loops(faces):
        on_edge[loop.long()] = True
    own = torch.arange(len(vertices), dtype=torch.float64)
    # inner vertices are told apart by their number: lips that touch are not one
    key = torch.where(on_edge, -1.0, own)[:, None]
    rows = torch.cat([vertices.double(), key], dim=1).numpy()
    _, first, place = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # keep the file's order
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    welded = torch.from_numpy(rank[place.ravel()])
    merged = welded[faces.long()].int()
    return vertices[torch.from_numpy(first[order])], merged, welded


def read_landmarks(path: Path) -> Float[np.ndarray, "68 K"]:
    """The 68 points of a landmark file: (68, 1) vertex numbers or (68, 3) positions; NaN where missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such landmark file")
    try:
        values = _values(path)
    except (UnicodeDecodeError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not readable ({error}); expected {EXPECTED}") from error
    if values.shape == (N_POINTS,):
        values = values[:, None]
    if values.shape not in ((N_POINTS, 1), (N_POINTS, 3)):
        raise ValueError(f"{path}: expected {EXPECTED}; got numbers of shape {values.shape}")
    return values


def _values(path: Path) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return np.load(path, allow_pickle=False).astype(np.float64)
    if suffix == ".json":
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict):
            document = document["ibug68"] if "ibug68" in document else document.get("landmarks")
        if not isinstance(document, list):
            raise ValueError("expected a list, or an object with the key 'ibug68'")
        longest = max((len(row) for row in document if isinstance(row, list)), default=0)
        missing = [np.nan] * longest if longest else np.nan
        return np.array([missing if row is None else row for row in document], dtype=np.float64)
    return np.loadtxt(path, dtype=np.float64, delimiter=None, ndmin=1)


def embedded(
    points: Float[np.ndarray, "68 K"],
    mesh: Mesh,
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    path: Path,
) -> LandmarkSet:
    """Landmarks as places of the welded surface."""
    if points.shape[1] == 1:
        numbers: NDArray[np.float64] = np.asarray(points[:, 0], dtype=np.float64)
        present = np.isfinite(numbers) & (numbers >= 0)
        beyond = (numbers != np.round(numbers)) | (numbers >= len(mesh.vertices))
        wrong = numbers[np.flatnonzero(present & beyond)]
        if len(wrong):
            raise ValueError(
                f"{path}: {wrong[0]:g} is no vertex of a template with {len(mesh.vertices)} vertices, counted "
                "from 0"
            )
        index = torch.from_numpy(np.where(present, numbers, 0).astype(np.int64))
        places = mesh.vertices[index].double()
    else:
        present = np.asarray(np.isfinite(points).sum(axis=1) == 3)
        places = torch.from_numpy(np.where(present[:, None], points, 0.0))
    found = Surface(vertices, faces).nearest(places)
    height = float((vertices.amax(0) - vertices.amin(0)).max())
    gap = float(found.distance[torch.from_numpy(present)].max()) if present.any() else 0.0
    if gap > OFF_SURFACE * height:
        raise ValueError(
            f"{path}: a landmark lies {gap:.3g} units from the template, which is {height:.3g} large; give "
            "the points in the template's own unit and frame"
        )
    kept = torch.from_numpy(present)
    return LandmarkSet(
        triangles=torch.where(kept, found.triangle, -1).int(),
        barycentric=torch.where(kept[:, None], found.barycentric, 0.0).float(),
        spread=torch.zeros(N_POINTS),
    )
