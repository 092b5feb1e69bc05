"""A cap of a sphere as a mesh and as a model with random modes, and a state of it."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from hrnfit.fit.result import MeshLevel
from hrnfit.model.face_model import LandmarkSet, ModelInfo
from hrnfit.model.linear import LinearFaceModel
from hrnfit.state import FaceState, Sharing, zero_state
from tests.fit.small_result import grid


def spherical(size: int = 13) -> MeshLevel:
    """A cap of a sphere of 80 mm around the origin, with its true normals."""
    uv, faces = grid(size)
    plane = (uv - 0.5) * torch.tensor([1.6, -1.6])
    normals = normalize(torch.cat([plane, torch.ones(len(uv), 1)], -1), dim=-1)
    return MeshLevel("mid", 80 * normals, normals, faces, uv, faces)


def landmarks(faces: torch.Tensor, count: int, generator: torch.Generator) -> LandmarkSet:
    weights = torch.rand(count, 3, generator=generator)
    triangles = torch.randint(len(faces), (count,), generator=generator).int()
    triangles[0] = -1
    return LandmarkSet(triangles, weights / weights.sum(-1, keepdim=True), torch.zeros(count))


def cap(generator: torch.Generator) -> LinearFaceModel:
    """A model of the cap, with random modes and landmarks."""
    mesh = spherical(9)
    n = 3 * len(mesh.vertices)
    return LinearFaceModel(
        info=ModelInfo("cap", "Apache-2.0", True, "by hand"),
        mean=mesh.vertices,
        identity_basis=torch.randn(2, n, generator=generator),
        expression_basis=torch.randn(2, n, generator=generator),
        expression_names=("a", "b"),
        expression_is_blendshape=True,
        faces=mesh.faces,
        uv=mesh.uv,
        uv_faces=mesh.uv_faces,
        albedo_mean=torch.full((4, 4, 3), 0.3),
        albedo_basis=torch.zeros(1, 4, 4, 3),
        landmarks={"ibug68": landmarks(mesh.faces, 68, generator)},
    )


def state_of(model: LinearFaceModel, generator: torch.Generator) -> tuple[Sharing, FaceState]:
    """Two frames, apart by pose and expression, under a random deformation map of 8 texels."""
    frame = torch.tensor([0, 1])
    sharing = Sharing(frame=frame, light=frame, displacement=frame)
    state = zero_state(
        identity=2, expression=2, albedo=1, sharing=sharing, deformation=8, displacement=16
    )
    reference = state.pose_reference.clone()
    reference[:, :3, 3] = torch.tensor([[100.0, 50.0, 900.0], [0.0, 0.0, 700.0]])
    return sharing, state.replace(
        identity=torch.tensor([0.5, -1.0]),
        expression=torch.tensor([[0.2, 0.4], [0.0, 0.9]]),
        pose=0.3 * torch.randn(2, 6, generator=generator),
        pose_reference=reference,
        deformation=torch.randn(8, 8, 3, generator=generator),
    )
