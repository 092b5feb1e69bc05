"""One analytic face in several triangulations: the same place has the same x and y in all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hrnfit.fit.levels import level_meshes
from hrnfit.fit.result import FitResult
from hrnfit.geometry.uv import disk_chart
from hrnfit.model.appearance import smooth_albedo
from hrnfit.model.deformation import deformation_operator
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.ict import vertex_landmarks
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.load import save_model
from hrnfit.model.regions import regions_from_landmarks
from hrnfit.state import Sharing, zero_state
from hrnfit.transfer.face_mesh import FaceMesh, mean_face
from tests.fit.small_result import HEAD, make_result
from tests.model.faces import ibug_vertices, sheet

COARSE, DENSE = (29, 33), (37, 45)
"""Columns and rows of two triangulations."""


def smooth_modes(points: Tensor, count: int) -> Tensor:
    """(count, 3N) displacements that depend on x and y alone, 1 to 3 mm."""
    x, y = points[:, 0] / 75.0, points[:, 1] / 100.0
    modes = []
    for k in range(count):
        wave = torch.sin((1.0 + 0.4 * k) * x + 0.7 * k) + torch.cos((1.3 + 0.3 * k) * y - 0.4 * k)
        direction = torch.eye(3)[k % 3] + 0.3
        modes.append((1.5 * wave[:, None] * direction).flatten())
    return torch.stack(modes)


def egg(size: tuple[int, int] = COARSE, name: str = "egg") -> LinearFaceModel:
    """A model on the sheet with smooth modes; coefficients mean the same in every triangulation."""
    points, faces = sheet(*size)
    marks = ibug_vertices(points)
    uv = disk_chart(points, faces)
    albedo, basis = smooth_albedo(count=5, size=16)
    modes = smooth_modes(points, 7)
    return LinearFaceModel(
        info=ModelInfo(name, "Apache-2.0", True, "tests"),
        mean=points,
        identity_basis=modes[:4],
        expression_basis=3.0 * modes[4:],
        expression_names=("one", "two", "three"),
        expression_is_blendshape=True,
        faces=faces,
        uv=uv,
        uv_faces=faces,
        albedo_mean=albedo,
        albedo_basis=basis,
        regions=regions_from_landmarks(points, faces, uv, points[marks]),
        landmarks={"ibug68": vertex_landmarks(marks, faces)},
    )


def face(size: tuple[int, int]) -> FaceMesh:
    """The mean of the egg."""
    return mean_face(egg(size))


def without(mesh: FaceMesh, gone: Tensor) -> FaceMesh:
    """The face less the triangles of some vertices, which stay behind unused; landmarks there go too."""
    kept = ~gone[mesh.faces.long()].any(1)
    number = torch.where(kept, kept.cumsum(0) - 1, -1)
    marks = mesh.landmarks["ibug68"]
    present = number[marks.triangles.long()] >= 0
    triangles = torch.where(present, number[marks.triangles.long()], -1).int()
    faces, used = mesh.faces[kept], torch.zeros(len(gone), dtype=torch.bool)
    used[faces.long().flatten()] = True
    index = used.cumsum(0) - 1
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=index[faces.long()].int(),
        uv_faces=None,
        uv=None,
        regions={},
        landmarks={"ibug68": replace(marks, triangles=triangles)},
    )


def fitted(model: LinearFaceModel, folder: Path, frames: int = 1) -> FitResult:
    """A result of the model with known coefficients, saved with its model file in the folder."""
    sharing = Sharing(torch.arange(2) % frames, torch.arange(2), torch.arange(2) % frames)
    state = zero_state(
        identity=4, expression=3, albedo=5, sharing=sharing, deformation=16, displacement=32,
        albedo_map=32,
    )  # fmt: skip
    reference = torch.eye(4).repeat(frames, 1, 1)
    reference[:, :3, 3] = HEAD
    turned = torch.tensor([0.1, -0.2, 0.05, 3.0, -2.0, 1.0]).repeat(frames, 1)
    state = state.replace(
        identity=torch.tensor([0.8, -1.1, 0.6, 0.4]),
        expression=torch.tensor([[0.5, 0.0, 0.3]]).repeat(frames, 1),
        pose=turned,
        pose_reference=reference,
    )
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, model.n_vertices, 16)
    result = make_result(views=2, frames=frames)
    ramp = torch.linspace(0.2, 0.6, 32)
    albedo = torch.stack(
        [ramp.expand(32, 32), ramp[:, None].expand(32, 32), 0.3 * torch.ones(32, 32)], -1
    )
    height = torch.zeros(32, 32)
    path = folder / f"{model.info.name}.npz"
    save_model(model, path)
    return replace(
        result,
        state=state,
        sharing=sharing,
        meshes=level_meshes(model, state, operator, height, 1),
        maps=replace(result.maps, deformation=state.deformation, displacement=height, confidence=torch.ones(32, 32), albedo=albedo,
                     displacement_views=state.displacement),
        provenance={"model": {"name": model.info.name, "path": str(path)}},
        model=model,
    )  # fmt: skip
