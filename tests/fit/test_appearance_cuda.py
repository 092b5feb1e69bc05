"""Light and albedo by kernels against plain torch, in the interpreter."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.energy.texels import Texels
from hrnfit.fit.albedo_solve import COARSE, AppearanceSettings, lit, shaded, solve_coefficients
from hrnfit.fit.appearance_cuda import (
    albedo_sums,
    device_light,
    fitted_coefficients,
    shrinking,
)
from hrnfit.fit.light_solve import ROBUST_ROUNDS, all_lights
from hrnfit.geometry.launched import INTERPRETED
from hrnfit.render.texture import resized_map
from tests.fit.test_light_solve import ROW, skin

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled in this process")


def noisy(generator: torch.Generator, texels: int = 400):
    """Colours with noise and a highlight, of which a third is not seen and may be anything."""
    colour, weight, basis, albedo, light = skin(generator, texels)
    colour = colour + 0.05 * torch.randn(colour.shape, generator=generator)
    colour[0, 50:90] += 1.0
    colour[:, ::3] = 7.0
    return colour, weight, basis, albedo, light


@pytest.mark.parametrize("step", [1, 3])
def test_light(step, generator):
    colour, weight, basis, albedo, light = noisy(generator)
    weight = weight + 0.1
    some = slice(None, None, step)
    given = (colour[:, some], weight[:, some], basis[:, some], albedo[some], ROW, light, 1e-3)
    ours = device_light(colour, weight, basis, albedo, ROW, 2, 1e-3, step, ROBUST_ROUNDS)
    torch.testing.assert_close(ours, all_lights(*given), atol=2e-5, rtol=0)


def test_a_light_without_evidence_is_dark(generator):
    colour, weight, basis, albedo, _ = noisy(generator)
    weight[1] = 0.0
    ours = device_light(colour, weight, basis, albedo, ROW, 2, 1e-3, 1, ROBUST_ROUNDS)
    assert torch.equal(ours[1], torch.zeros(9, 3))


def grid(size: int) -> Texels:
    """Most of a square, without its first row."""
    flat = torch.arange(size, size * size)
    return Texels(
        torch.zeros(len(flat), 3, dtype=torch.long), torch.zeros(len(flat), 3), flat, size
    )


def test_sums_and_coefficients(generator):
    texels = grid(80)
    colour, weight, basis, _, light = noisy(generator, len(texels.flat))
    settings = AppearanceSettings(least_shading=0.9)
    sums = albedo_sums(colour, weight, basis, light, ROW, texels, settings.least_shading)
    shading = shaded(basis, light[ROW])
    w = lit(weight, shading, settings)
    torch.testing.assert_close(sums.seen, w.sum(0))
    top, bottom = (w[..., None] * shading * x for x in (colour, shading))
    torch.testing.assert_close(sums.top, top.sum(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sums.bottom, bottom.sum(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sums.planes[:3].movedim(0, -1), texels.square(sums.top))
    mean = torch.rand(80, 80, 3, generator=generator)
    modes = 0.1 * torch.randn(4, COARSE, COARSE, 3, generator=generator)
    plain = solve_coefficients(colour, weight, shading, mean, modes, texels, settings)
    design = modes.flatten(1).T.contiguous()
    ours = fitted_coefficients(sums, resized_map(mean, COARSE), design, settings)
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


def test_shrinking_is_that_of_maps(generator):
    image = torch.rand(48, 48, 1, generator=generator)
    R = shrinking(48, 20, torch.device("cpu"))
    torch.testing.assert_close((R @ image[..., 0] @ R.T), resized_map(image, 20)[..., 0])
    torch.testing.assert_close(R.sum(1), torch.ones(20))
