"""Which meshes are subdivisions of the source's model."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.result import MeshLevel
from hrnfit.geometry.mesh import subdivide
from hrnfit.model.ict import vertex_landmarks
from hrnfit.transfer.carry import Carrier
from hrnfit.transfer.correspondence import Correspondence
from tests.model.faces import sheet

POINTS, FACES = sheet(5, 6)


def itself() -> Carrier:
    """From a mesh to the same mesh."""
    own = vertex_landmarks(torch.arange(len(POINTS)), FACES)
    same = Correspondence(
        own.triangles, own.barycentric, POINTS.double(), POINTS.double(), torch.tensor(1.0)
    )
    return Carrier(same, FACES, len(FACES))


def level(vertices: torch.Tensor, faces: torch.Tensor) -> MeshLevel:
    return MeshLevel("fine", vertices, vertices, faces, vertices[:, :2], faces)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_vertices_keep_their_places_on_a_subdivision(steps):
    vertices, faces = POINTS, FACES
    for _ in range(steps):
        finer = subdivide(faces, len(vertices))
        vertices, faces = finer.apply(vertices), finer.faces
    found = itself().partners(level(vertices, faces), torch.eye(4, dtype=torch.float64))
    assert torch.allclose(found, POINTS.double(), atol=1e-4)


@pytest.mark.parametrize("ratio", [2, 3, 8, 0.5])
def test_only_powers_of_four_are_subdivisions(ratio):
    faces = FACES.repeat(8, 1)[: int(ratio * len(FACES))]
    with pytest.raises(ValueError, match="fitted with another model or version"):
        itself().partners(level(POINTS, faces), torch.eye(4, dtype=torch.float64))
