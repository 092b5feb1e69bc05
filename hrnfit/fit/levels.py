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
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.device_levels import base_topology, fine_topology
from hrnfit.fit.head_frame import T_world_head
from hrnfit.fit.result import MeshLevel
from hrnfit.fit.surface_landmarks import landmark_points, subdivided_landmarks
from hrnfit.geometry.loop_subdivision import loop_positions
from hrnfit.geometry.mesh import subdivide, vertex_normals
from hrnfit.geometry.rotation import pose_matrix
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
    if subdivisions is None:
        texels = displacement.shape[0] * displacement.shape[1]
        subdivisions = enough_steps(coarse_head.shape[-2], len(model.faces), texels)
    if coarse_head.device.type != "cpu":
        pose = pose_matrix(state.pose.detach().double(), state.pose_reference.double())
        return levels_there(model, coarse_head, mid_head, pose, displacement, subdivisions, kernel)
    poses = T_world_head(state)
    coarse = [_base("coarse", model, x, T) for x, T in zip(_host(coarse_head), poses, strict=True)]
    mid = [_base("mid", model, x, T) for x, T in zip(_host(mid_head), poses, strict=True)]
    fine = [fine_mesh(mesh, model.landmarks, displacement, subdivisions, kernel) for mesh in mid]
    return {"coarse": tuple(coarse), "mid": tuple(mid), "fine": tuple(fine)}


def levels_there(
    model: FaceModel,
    coarse_head: Float[Tensor, "T N 3"],
    mid_head: Float[Tensor, "T N 3"],
    T_world_head: Float[Tensor, "T 4 4"],
    displacement: Float[Tensor, "H W"],
    subdivisions: int,
    kernel: Kernel,
) -> dict[str, tuple[MeshLevel, ...]]:
    """The same from head-frame vertices on the device of the model, whose topology is kept with it."""
    base, fine = base_topology(model), fine_topology(model, subdivisions)
    both = torch.cat([coarse_head, mid_head]).double()
    R, shift = (x.repeat(2, 1, 1) for x in (T_world_head[:, :3, :3], T_world_head[:, None, :3, 3]))
    world = (both @ R.mT + shift).detach().float()
    coarse, mid = world.chunk(2)
    # frame by frame: the tables of Loop's steps take 15 numbers per coordinate
    raised = [fine.raised(x[None], displacement, kernel) for x in mid]
    return {
        "coarse": tuple(base.meshes("coarse", coarse)),
        "mid": tuple(base.meshes("mid", mid)),
        "fine": tuple(mesh for x in raised for mesh in fine.topology.meshes("fine", x)),
    }


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
    return enough_steps(len(mesh.vertices), len(mesh.faces), texels)


def enough_steps(n_vertices: int, n_triangles: int, texels: int) -> int:
    """`enough_subdivisions` of a mesh of this size."""
    steps, vertices, triangles = 1, 4 * n_vertices, 4 * n_triangles
    while vertices < texels / 2 and 4 * triangles <= MAX_FINE_TRIANGLES:
        steps, vertices, triangles = steps + 1, 4 * vertices, 4 * triangles
    return steps


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
