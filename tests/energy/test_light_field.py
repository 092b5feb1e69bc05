"""Light that differs between views: harmonics solved with the albedo eliminated."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from hrnfit.energy.light_field import harmonic_field
from hrnfit.energy.shared_albedo import TexelViews
from hrnfit.render.shade import sh_basis


def test_a_difference_of_harmonics_is_found(generator):
    normals = normalize(torch.randn(2, 400, 3, generator=generator), dim=-1)
    light = torch.randn(2, 9, 3, generator=generator)
    albedo = torch.rand(400, 3, generator=generator)
    colour = albedo + 0.2 * sh_basis(normals) @ light
    seen = TexelViews(colour, torch.zeros(2, 400, 3, 3), torch.ones(2, 400))
    left = colour - harmonic_field(seen, normals, 0.5)
    assert float((left[0] - left[1]).abs().max()) < 0.05 * float(
        (colour[0] - colour[1]).abs().max()
    )


@pytest.mark.parametrize("seen", [0, 20])
def test_views_that_share_no_skin_have_no_light_to_compare(seen, generator):
    colour = torch.rand(2, 40, 3, generator=generator)
    normals = normalize(torch.randn(2, 40, 3, generator=generator), dim=-1)
    weight = torch.zeros(2, 40)
    weight[0, :seen] = weight[1, 40 - seen :] = 1.0
    apart = TexelViews(colour, torch.zeros(2, 40, 3, 3), weight)
    assert harmonic_field(apart, normals, 0.5).abs().max() == 0.0
