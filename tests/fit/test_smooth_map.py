"""The map with given offsets at the vertices, by conjugate gradients and by factorisation."""

from __future__ import annotations

import torch

from hrnfit.fit.smooth_map import fitted_map
from hrnfit.model.deformation import deformation_operator


def test_agrees_with_the_factorisation_also_across_a_seam():
    generator = torch.Generator().manual_seed(0)
    uv = torch.rand(300, 2, generator=generator)
    uv_faces = torch.arange(300, dtype=torch.int32).view(100, 3)
    faces = uv_faces % 290  # ten vertices stand at two places of the chart
    operator = deformation_operator(faces, uv, uv_faces, 290, 16)
    assert operator.texels.shape == (290, 8)
    bent = torch.stack([uv[:290, 0].square(), uv[:290, 1].sin(), uv[:290].prod(1)], dim=1)
    weight = torch.where(torch.arange(290) % 3 == 0, 0.1, 1.0)
    theirs = operator.fit_map(bent, 1e-2, weight)
    mine, left = fitted_map(operator, bent, weight, 1e-2, rounds=24)
    assert float(left) < 1e-6
    assert torch.allclose(operator(mine), operator(theirs), atol=1e-4)
