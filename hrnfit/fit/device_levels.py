"""The levels of `levels.py` on a GPU: what the topology alone decides is made once per model, and vertices
leave the device once, when all of them stand.

Loop's steps and the means over seams are tables (`RowTable`); ICT's head of 11,248 vertices subdivided once
keeps 7 MB of them on the device, twice 35 MB. Results of one model share the tensors of its topology.
"""

# scipy.sparse has no complete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.fit.model_constants import constants_of
from hrnfit.fit.result import MeshLevel
from hrnfit.fit.surface_landmarks import subdivided_landmarks
from hrnfit.fit.to_host import brought
from hrnfit.geometry.loop_subdivision import loop_matrix
from hrnfit.geometry.mesh import distinct_pairs, subdivide, vertex_normals
from hrnfit.geometry.row_table import RowTable
from hrnfit.model.deformation import Kernel
from hrnfit.model.displacement import sample_map
from hrnfit.model.face_model import FaceModel, LandmarkSet


@dataclass(frozen=True)
class Points:
    """All landmarks of a surface, scheme after scheme."""

    counts: Mapping[str, int]
    """Points of each scheme, in their order."""
    corners: Int[Tensor, "L 3"]
    """Vertices, int64."""
    weights: Float[Tensor, "L 3"]
    """NaN where the model lacks the point."""

    def on(self, vertices: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B L 3"]:
        """The points on vertices, mm."""
        picked = vertices.index_select(-2, self.corners.flatten()).unflatten(-2, (-1, 3))
        return (picked * self.weights[..., None]).sum(-2)


@dataclass(frozen=True)
class Topology:
    """What the meshes of one level have in common."""

    faces: Int[Tensor, "F 3"]
    """On the device."""
    points: Points
    host_faces: Int[Tensor, "F 3"]
    """On the CPU, int32, as the next two: what a result holds."""
    host_uv: Float[Tensor, "Nuv 2"]
    host_uv_faces: Int[Tensor, "F 3"]

    def meshes(self, name: str, vertices: Float[Tensor, "T N 3"]) -> list[MeshLevel]:
        """Meshes on the CPU of vertices on the device, one per frame."""
        normals, points = vertex_normals(vertices, self.faces), self.points.on(vertices)
        on_host = [x.unbind(0) for x in brought((vertices, normals, points))]
        sizes = list(self.points.counts.values())
        return [
            MeshLevel(
                name,
                x,
                n,
                self.host_faces,
                self.host_uv,
                self.host_uv_faces,
                dict(zip(self.points.counts, marks.split(sizes), strict=True)),
            )
            for x, n, marks in zip(*on_host, strict=True)
        ]


@dataclass(frozen=True)
class Fine:
    """Everything between the vertices of mid and those of fine."""

    steps: tuple[tuple[RowTable, RowTable], ...]
    """Loop's rule for the old vertices, and for the middles of edges."""
    topology: Topology
    uv: Float[Tensor, "Nuv 2"]
    """On the device."""
    places: RowTable
    """Means over the places of each vertex in the chart."""

    def raised(
        self, mid: Float[Tensor, "T N 3"], displacement: Float[Tensor, "H W"], kernel: Kernel
    ) -> Float[Tensor, "T M 3"]:
        """Mid subdivided and moved along its normals, mm."""
        vertices = mid
        for kept, middles in self.steps:
            vertices = torch.cat([kept(vertices), middles(vertices)], -2)
        heights = sample_map(displacement.detach().to(vertices), self.uv, kernel)
        amount = self.places(heights[:, None])
        return vertices + amount * vertex_normals(vertices, self.topology.faces)


def base_topology(model: FaceModel) -> Topology:
    """The topology of coarse and mid."""

    def make() -> Topology:
        return _topology(*_host(model), model.uv)

    return constants_of(model).once("topology", make, model.uv.device)


def fine_topology(model: FaceModel, subdivisions: int) -> Fine:
    """What `subdivisions` steps make of the model's mesh."""
    make = partial(_subdivided, model, subdivisions)
    return constants_of(model).once(("fine", subdivisions), make, model.uv.device)


def _subdivided(model: FaceModel, subdivisions: int) -> Fine:
    faces, uv, uv_faces, marks = _host(model)
    count, steps = int(faces.max()) + 1, list[tuple[RowTable, RowTable]]()
    like = model.uv.float()
    for _ in range(subdivisions):
        matrix = loop_matrix(faces, count)
        steps.append((RowTable.of(matrix[:count], like), RowTable.of(matrix[count:], like)))
        chart = subdivide(uv_faces, len(uv))
        split = subdivide(faces, count)
        faces, count = split.faces, len(split.parents)
        uv, uv_faces = chart.apply(uv), chart.faces
        marks = {name: subdivided_landmarks(one) for name, one in marks.items()}
    topology = _topology(faces, uv, uv_faces, marks, like)
    places = _places(faces, uv_faces, count, len(uv))
    return Fine(tuple(steps), topology, uv.to(like.device), RowTable.of(places, like))


def _host(model: FaceModel) -> tuple[Tensor, Tensor, Tensor, dict[str, LandmarkSet]]:
    """Faces, uv, uv_faces and landmarks of a model on the CPU, as results have them."""
    marks = {
        name: LandmarkSet(one.triangles.cpu(), one.barycentric.detach().cpu(), one.spread.cpu())
        for name, one in model.landmarks.items()
    }
    faces, uv_faces = model.faces.cpu().int(), model.uv_faces.cpu().int()
    return faces, model.uv.detach().cpu().float(), uv_faces, marks


def _topology(
    faces: Tensor, uv: Tensor, uv_faces: Tensor, marks: Mapping[str, LandmarkSet], like: Tensor
) -> Topology:
    device = like.device
    return Topology(faces.to(device), _points(faces, marks, device), faces, uv, uv_faces)


def _points(faces: Tensor, marks: Mapping[str, LandmarkSet], device: torch.device) -> Points:
    sets = list(marks.values())
    triangles = torch.cat([torch.zeros(0, dtype=torch.long), *(m.triangles.long() for m in sets)])
    weights = torch.cat([torch.zeros(0, 3), *(m.barycentric.float() for m in sets)])
    weights = torch.where(triangles[:, None] < 0, torch.nan, weights)
    counts = {name: len(one.triangles) for name, one in marks.items()}
    corners = faces.long()[triangles.clamp_min(0)]
    return Points(counts, corners.to(device), weights.to(device))


def _places(faces: Tensor, uv_faces: Tensor, n_vertices: int, n_uv: int) -> sp.csr_array:
    """(vertices, places in the chart): the mean over the places of each vertex."""
    rows = torch.stack([faces.long().flatten(), uv_faces.long().flatten()], dim=1)
    vertex, place = distinct_pairs(rows)[0].numpy().T
    share = 1.0 / np.bincount(vertex, minlength=n_vertices).clip(1)
    return sp.csr_array((share[vertex], (vertex, place)), shape=(n_vertices, n_uv))
