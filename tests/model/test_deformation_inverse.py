"""The map that gives offsets best: the dense system is the sparse one."""

from __future__ import annotations

import pytest
import torch

from hrnfit.model.deformation import DeformationOperator, deformation_operator
from hrnfit.model.deformation_inverse import fit_map_dense, fit_map_on, roughness
from tests.model.faces import small_model


def operator(size: int) -> DeformationOperator:
    model = small_model()
    return deformation_operator(model.faces, model.uv, model.uv_faces, len(model.mean), size)


@pytest.mark.parametrize("size", [2, 16])
def test_dense_is_sparse(size, generator):
    own = operator(size)
    n = len(own.texels)
    offsets = torch.randn(n, 3, generator=generator)
    weight = 0.1 + torch.rand(n, generator=generator).double()
    expected = own.fit_map(offsets, 1e-2, weight)
    assert torch.allclose(fit_map_dense(own, offsets, 1e-2, weight), expected, atol=1e-5)
    assert torch.equal(fit_map_on(own, offsets, 1e-2, weight), expected)


def test_planes_are_not_rough():
    row, column = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    plane, bowl = (2 * row - column).flatten(), (row**2).flatten()
    R = roughness(5, plane)
    assert float(plane @ R @ plane) == pytest.approx(0.0, abs=1e-3)
    assert float(bowl @ R @ bowl) == pytest.approx(
        5 * 3 * 4.0
    )  # (second difference 2)^2, 15 places
