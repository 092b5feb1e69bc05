"""The three levels as meshes: model and deformation map for coarse and mid, subdivision and
displacement for fine.

Subdivision is Loop's, which smooths: what mid's vertices jitter from one to the next is noise of its
map, and a rule that passes through them, Phong tessellation or Loop's with an interpolating net,
made the normals of fine worse than those of mid (rig of 5 views: skin 1.66 and 1.70 degrees against
1.49; Loop's 1.50, with the displacement 1.30 against 1.47). What it takes off real relief the
displacement puts back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.fit.head_frame import T_world_head
from hrnfit.fit.result import MeshLevel
from hrnfit.geometry.loop_subdivision import loop_positions
from hrnfit.geometry.mesh import subdivide, vertex_normals
from hrnfit.model.deformation import DeformationOperator, Kernel
from hrnfit.model.displacement import displace
from hrnfit.model.face_model import FaceModel, LandmarkSet
from hrnfit.state import FaceState

if TYPE_CHECKING:
    from hrnfit.fit.result import FitResult

MAX_FINE_TRIANGLES = 1_300_000
"""No further subdivision beyond; an OBJ of this size has 150 MB."""


def level_meshes(
    model: FaceModel,
    state: FaceState,
    operator: DeformationOperator,
    displacement: Float[Tensor, "H W"],
    subdivisions: int | None = None,
    kernel: Kernel = "bilinear",
) -> dict[str, tuple[MeshLevel, ...]]:
    """Every level in every frame, in the world, mm, on the CPU.

    `displacement`: the fused map, mm. `subdivisions`: of fine; None takes as many as the map's
    resolution asks for, at least one.
    """
    coarse_head = model.shape(
        state.identity[None].expand(len(state.expression), -1), state.expression
    )
    mid_head = coarse_head + operator(state.deformation)
    poses = T_world_head(state)
    coarse = [_base("coarse", model, x, T) for x, T in zip(_host(coarse_head), poses, strict=True)]
    mid = [_base("mid", model, x, T) for x, T in zip(_host(mid_head), poses, strict=True)]
    if subdivisions is None:
        subdivisions = enough_subdivisions(coarse[0], displacement.shape[0] * displacement.shape[1])
    fine = [fine_mesh(mesh, model.landmarks, displacement, subdivisions, kernel) for mesh in mid]
    return {"coarse": tuple(coarse), "mid": tuple(mid), "fine": tuple(fine)}


def neutral_mesh(result: FitResult, level: str, frame: int) -> MeshLevel:
    """The level at a frame's pose without expression; opens the model when the result has none."""
    model = result.model or open_model(result)
    state, pose = result.state, T_world_head(result.state)[frame]
    zero = torch.zeros_like(state.expression[:1])
    coarse = _host(model.shape(state.identity[None].cpu(), zero.cpu()))[0]
    # the deformation map's offset at the vertices is what lies between the stored levels
    offset = result.mesh("mid", frame).vertices - result.mesh("coarse", frame).vertices
    offset = (offset.double() @ pose[:3, :3]).float()
    if level == "coarse":
        return _base("coarse", model, coarse, pose)
    mid = _base("mid", model, coarse + offset, pose)
    if level == "mid":
        return mid
    ratio = len(result.mesh("fine", frame).faces) // len(mid.faces)
    subdivisions = (ratio.bit_length() - 1) // 2
    return fine_mesh(mid, model.landmarks, result.maps.displacement, subdivisions)


def fine_mesh(
    mid: MeshLevel,
    landmarks: Mapping[str, LandmarkSet],
    displacement: Float[Tensor, "H W"],
    subdivisions: int,
    kernel: Kernel = "bilinear",
) -> MeshLevel:
    """Mid subdivided, and moved along its normals by the map, mm."""
    vertices, faces, uv, uv_faces = mid.vertices, mid.faces, mid.uv, mid.uv_faces
    marks = dict(landmarks)
    for _ in range(subdivisions):
        chart = subdivide(uv_faces, len(uv))
        vertices, faces = loop_positions(vertices, faces), subdivide(faces, len(vertices)).faces
        uv, uv_faces = chart.apply(uv), chart.faces
        marks = {name: subdivided_landmarks(one) for name, one in marks.items()}
    height = displacement.detach().cpu().to(vertices)
    normals = vertex_normals(vertices, faces)
    vertices = displace(vertices, normals, height, uv, faces, uv_faces, kernel)
    return _mesh("fine", vertices, faces, uv, uv_faces, marks)


def enough_subdivisions(mesh: MeshLevel, texels: int) -> int:
    """Fewest steps, at least one, that give half as many vertices as the map has texels."""
    steps, vertices, triangles = 1, 4 * len(mesh.vertices), 4 * len(mesh.faces)
    while vertices < texels / 2 and 4 * triangles <= MAX_FINE_TRIANGLES:
        steps, vertices, triangles = steps + 1, 4 * vertices, 4 * triangles
    return steps


def subdivided_landmarks(marks: LandmarkSet) -> LandmarkSet:
    """The same points in the four children that `subdivide` makes of each triangle.

    Children of (i, j, k) are (i, c, b), (j, a, c), (k, b, a), (a, b, c) with a opposite i, and so on.
    """
    w = marks.barycentric
    wi, wj, wk = w.unbind(-1)
    children = torch.stack(
        [
            torch.stack([2 * wi - 1, 2 * wj, 2 * wk], -1),
            torch.stack([2 * wj - 1, 2 * wk, 2 * wi], -1),
            torch.stack([2 * wk - 1, 2 * wi, 2 * wj], -1),
            1 - 2 * w,
        ],
        dim=1,
    )  # (L, 4, 3): weights in each child; negative in all but the one that holds the point
    inside = children.amin(-1).argmax(-1)
    picked = children[torch.arange(len(w), device=w.device), inside]
    triangles = torch.where(marks.triangles < 0, marks.triangles, 4 * marks.triangles + inside)
    return replace(marks, triangles=triangles.to(marks.triangles.dtype), barycentric=picked)


def landmark_points(
    vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], marks: LandmarkSet
) -> Float[Tensor, "_ 3"]:
    """Points of a landmark set on a surface, mm; NaN where the set lacks the point."""
    corners = vertices[faces[marks.triangles.long().cpu().clamp_min(0)].long()]
    points = (corners * marks.barycentric.detach().cpu().to(vertices)[..., None]).sum(1)
    return torch.where(marks.triangles.cpu()[:, None] < 0, torch.nan, points)


def _base(name: str, model: FaceModel, head: Tensor, pose: Tensor) -> MeshLevel:
    """A level with the model's own topology, from head-frame vertices."""
    vertices = (head.double() @ pose[:3, :3].mT + pose[:3, 3]).float()
    faces, uv_faces = (t.detach().cpu().int() for t in (model.faces, model.uv_faces))
    uv = model.uv.detach().cpu().float()
    return _mesh(name, vertices, faces, uv, uv_faces, model.landmarks)


def _mesh(
    name: str,
    vertices: Tensor,
    faces: Tensor,
    uv: Tensor,
    uv_faces: Tensor,
    landmarks: Mapping[str, LandmarkSet],
) -> MeshLevel:
    points = {key: landmark_points(vertices, faces, marks) for key, marks in landmarks.items()}
    return MeshLevel(name, vertices, vertex_normals(vertices, faces), faces, uv, uv_faces, points)


def _host(batch: Tensor) -> Sequence[Tensor]:
    return batch.detach().cpu().unbind(0)


def open_model(result: FitResult) -> FaceModel:
    """The model named in the provenance."""
    from hrnfit.model.load import load_model

    named = result.provenance.get("model")
    if not isinstance(named, Mapping) or not (named.get("path") or named.get("name")):
        raise ValueError(
            "the result does not say which model it was fitted with; "
            "set it: dataclasses.replace(result, model=hrnfit.load_model(...))"
        )
    model = load_model(str(named.get("path") or named["name"]))
    expected = len(result.mesh("coarse").vertices)
    found = model.shape(torch.zeros(1, model.n_identity), torch.zeros(1, model.n_expression)).shape[
        -2
    ]
    if found != expected or model.n_identity != len(result.state.identity):
        raise ValueError(
            f"the model {named} has {found} vertices, the result {expected}; "
            "it was fitted with another model or version"
        )
    return model
