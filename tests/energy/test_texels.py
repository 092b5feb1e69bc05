"""Texels of a chart: their places, interpolation, and the way back into a square."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.energy.texels import Texels
from tests.energy.scene import square_model
from tests.fit.small_scene import face


@pytest.fixture(scope="module")
def whole():
    """The chart is the whole square, as two triangles."""
    square = square_model()
    model = replace(face(), faces=square.uv_faces, uv=square.uv, uv_faces=square.uv_faces)
    return Texels.of(model, 4)


def test_every_texel_of_a_full_chart_is_listed_once(whole):
    assert whole.flat.tolist() == list(range(16))
    assert torch.allclose(whole.centres()[5], torch.tensor([0.375, 0.375]))
    assert torch.allclose(whole.centres()[3], torch.tensor([0.875, 0.125]))  # last of the first row


def test_interpolating_the_chart_gives_the_centres(whole):
    uv = square_model().uv
    assert torch.allclose(whole.interpolate(uv), whole.centres().to(uv), atol=1e-6)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_batches_are_interpolated_alike(whole, batch, generator):
    values = torch.rand(*batch, 4, 5, generator=generator)
    out = whole.interpolate(values)
    assert out.shape == (*batch, 16, 5)
    assert torch.allclose(out.reshape(-1, 16, 5)[0], whole.interpolate(values.reshape(-1, 4, 5)[0]))


def test_gradient_reaches_the_vertices(whole, generator):
    values = torch.rand(4, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(whole.interpolate, (values,))


def test_square_and_list_are_inverse_on_a_real_chart(generator):
    texels = Texels.of(face(), 32)
    assert 0 < len(texels.flat) < 32 * 32
    values = torch.rand(len(texels.flat), 2, generator=generator)
    square = texels.square(values)
    assert torch.equal(square.flatten(0, 1)[texels.flat], values)
    outside = torch.ones(32 * 32, dtype=torch.bool)
    outside[texels.flat] = False
    assert bool((square.flatten(0, 1)[outside] == 0).all())
    used = texels.square(torch.ones(len(texels.flat), dtype=torch.bool))
    assert used.dtype == torch.bool
    assert int(used.sum()) == len(texels.flat)


def test_positions_agree_with_a_model_whose_chart_is_flat():
    """Vertices that lie where their chart says are interpolated to the texel centres."""
    texels = Texels.of(face(), 24)
    assert torch.allclose(texels.interpolate(face().uv), texels.centres(), atol=2e-5)
