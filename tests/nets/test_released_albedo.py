"""The released de-retouching formula by hand, and the resizing around its network."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.nets.released_albedo import blend_layer, deretouched_albedo


def flat(value: float) -> torch.Tensor:
    return torch.full((3, 2, 2), value, dtype=torch.float64)


@pytest.mark.parametrize(
    ("texture", "blend", "gain"),
    [
        # T0 = 0.4 * 0.25 + 0.6 * 0.5 = 0.4, q = 1 / (1e6 * 0.064 + 1e-6) = 1.5625e-5.
        (0.5, 0.3, 0.500015625 / 0.400015625),
        # T0 = 0.0016, q = 1 / (4.096e-3 + 1e-6) = 244.081: dark skin keeps its albedo.
        (0.04, 0.0, (0.04 + 244.0810) / (0.0016 + 244.0810)),
        (0.7, 0.5, 1.0),
        (0.0, 0.9, 1.0),
    ],
)
def test_gain_by_hand(texture, blend, gain):
    got = deretouched_albedo(flat(0.6), flat(texture), flat(blend))
    assert torch.allclose(got, flat(0.6 * gain), rtol=1e-7, atol=0.0)


def test_the_network_sees_512_texels_in_minus_one_to_one():
    seen = []

    def network(large: torch.Tensor) -> torch.Tensor:
        seen.append(large)
        return torch.full_like(large, 0.25)

    ramp = (torch.arange(8.0) / 7.0).expand(3, 8, 8).double()
    got = blend_layer(network, ramp)
    assert torch.equal(got, torch.full((3, 8, 8), 0.25, dtype=torch.float64))
    assert seen[0].shape == (1, 3, 512, 512)
    # Column j of 512 lies at (j + 1/2) / 64 - 1/2 of the 8, held inside.
    place = ((torch.arange(512.0) + 0.5) / 64.0 - 0.5).clamp(0.0, 7.0).double()
    assert torch.allclose(seen[0][0, 1, 77], 2.0 * place / 7.0 - 1.0)


def test_the_blend_layer_shrinks_without_a_low_pass():
    """Texel i of 8 lies between columns 64 i + 31 and + 32: their mean, and nothing of the others."""
    columns = torch.rand(512, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = blend_layer(lambda large: columns.expand(1, 3, 512, 512), torch.zeros(3, 8, 8).double())
    first = torch.arange(8) * 64 + 31
    assert torch.allclose(got[2, 5], (columns[first] + columns[first + 1]) / 2.0)


def test_differentiable_down_to_a_black_texture():
    texture = torch.tensor([[[0.0, 0.2], [0.5, 0.9]]] * 3, dtype=torch.float64)
    blend = (0.3 + 0.2 * texture).requires_grad_()
    assert gradcheck(lambda m: deretouched_albedo(flat(0.5), texture, m), blend)
