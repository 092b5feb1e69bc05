"""Rendering against photograph: the encoding, the ramp at grazing skin, and the residuals."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hrnfit.energy.photometric import FLOOR, Photometric, facing, gamma_encoded
from hrnfit.energy.term import reduce
from tests.energy.scene import working_views


def test_encoding_by_hand():
    linear = torch.tensor([1.0, 0.5, FLOOR])
    expected = torch.tensor([1.0, 0.7297400528, FLOOR ** (1 / 2.2)])
    assert torch.allclose(gamma_encoded(linear), expected)


def test_encoding_rises_everywhere_and_its_slope_is_finite_at_black():
    linear = torch.linspace(-0.01, 1.2, 2000, dtype=torch.float64)
    assert bool((gamma_encoded(linear).diff() > 0).all())
    dark = torch.tensor([-0.02, 0.0, 0.5 * FLOOR, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gamma_encoded, (dark,))


def test_ramp_of_grazing_skin():
    normals = torch.tensor([[0.0, 0, 1], [0.6, 0, 0.8], [1, 0, 0], [0, 0, -1]]).view(1, 2, 2, 3)
    ramp = facing(normals, torch.tensor([[0.0, 0.0, 1.0]]), 0.2)
    assert torch.allclose(ramp.flatten(), torch.tensor([1.0, 0.75, 0.0, 0.0]))


def seen(image: torch.Tensor, triangle: int = 0) -> SimpleNamespace:
    """A wall across the whole window, before a camera that looks along z."""
    views, size = image.shape[:2]
    normals = torch.tensor([0.0, 0.0, -1.0]).expand(views, size, size, 3)
    return SimpleNamespace(
        image=image,
        normals=normals,
        raster=SimpleNamespace(triangle=torch.full((views, size, size), triangle)),
        projection=SimpleNamespace(T_cam_world=torch.eye(4).repeat(views, 1, 1)),
    )


def test_the_photograph_itself_costs_nothing_and_a_tenth_of_the_range_costs_one():
    views = working_views(torch.ones(2, 4, 4))
    same = Photometric().residuals(seen(views.images), views)
    assert same.values.max() < 2e-3
    brighter = (views.images ** (1 / 2.2) + 0.1) ** 2.2
    one = Photometric().residuals(seen(brighter), views)
    assert torch.allclose(one.values, torch.tensor(3.0).sqrt(), atol=1e-3)  # three channels
    assert float(reduce(one)) == pytest.approx(3.0, abs=1e-2)


def test_masked_and_missed_pixels_do_not_count():
    masks = torch.ones(1, 4, 4)
    masks[:, :2] = 0.0
    views = working_views(masks)
    validity = Photometric().residuals(seen(views.images), views).validity
    assert torch.equal(validity, masks)
    missed = Photometric().residuals(seen(views.images, triangle=-1), views)
    assert missed.validity.sum() == 0


def test_gradient_reaches_the_rendering(generator):
    views = working_views(torch.ones(1, 3, 3).double())
    image = torch.rand(1, 3, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def energy(x):
        return reduce(Photometric().residuals(seen(x), views))

    assert torch.autograd.gradcheck(energy, (image,))
