"""The solve of light: exact where nothing disturbs, robust where something does, the same both ways."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from hrnfit.fit.light_solve import all_lights, light_by_light, solve_light
from hrnfit.render.shade import sh_basis
from tests.host_reads import HostReads

ROW = torch.tensor([0, 1, 0])
"""Three views under two lights."""


def skin(generator: torch.Generator, texels: int = 400):
    """Colours of texels under known lights; the third part of each view is not seen."""
    normals = normalize(torch.randn(3, texels, 3, generator=generator), dim=-1)
    basis = sh_basis(normals)
    albedo = 0.2 + 0.6 * torch.rand(texels, 3, generator=generator)
    light = 0.2 * torch.randn(2, 9, 3, generator=generator)
    light[:, 0] = 1.0
    weight = torch.rand(3, texels, generator=generator)
    weight[:, ::3] = 0.0
    return albedo * (basis @ light[ROW]), weight, basis, albedo, light


@pytest.mark.parametrize("solve", [light_by_light, all_lights])
def test_true_light_is_found(solve, generator):
    colour, weight, basis, albedo, light = skin(generator)
    colour[:, ::3] = 7.0  # what has no weight does not count
    found = solve(colour, weight, basis, albedo, ROW, torch.zeros(2, 9, 3), 0.0)
    torch.testing.assert_close(found, light, atol=1e-4, rtol=0)


def test_all_at_once_is_one_after_the_other(generator):
    colour, weight, basis, albedo, light = skin(generator)
    colour = colour + 0.05 * torch.randn(colour.shape, generator=generator)
    colour[0, 50:90] += 1.0  # a highlight
    given = (colour, weight, basis, albedo, ROW, torch.zeros_like(light), 1e-3)
    torch.testing.assert_close(all_lights(*given), light_by_light(*given), atol=1e-5, rtol=0)


def test_a_light_without_evidence_is_dark(generator):
    colour, weight, basis, albedo, light = skin(generator)
    weight[1] = 0.0
    found = all_lights(colour, weight, basis, albedo, ROW, torch.ones(2, 9, 3), 1e-3)
    torch.testing.assert_close(found[1], torch.zeros(9, 3))
    torch.testing.assert_close(found[0], light[0], atol=0.05, rtol=0)


def test_no_value_is_asked_for(generator):
    colour, weight, basis, albedo, light = skin(generator)
    with HostReads() as reads:
        all_lights(colour, weight, basis, albedo, ROW, torch.zeros_like(light), 1e-3)
    assert reads.found == []
    with HostReads() as reads:  # the loop does
        light_by_light(colour, weight, basis, albedo, ROW, torch.zeros_like(light), 1e-3)
    assert reads.found


def test_of_many_texels_some_are_taken(generator):
    colour, weight, basis, albedo, light = skin(generator, 40_000)
    colour[:, 1::2] = 0.0  # every second one: not looked at
    found = solve_light(colour, weight, basis, albedo, ROW, torch.zeros(2, 9, 3), 1e-6)
    torch.testing.assert_close(found, light, atol=1e-3, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_a_gpu(generator):
    given = (*skin(generator)[:4], ROW, torch.zeros(2, 9, 3))
    there = solve_light(*(x.cuda() for x in given), 1e-3)
    torch.testing.assert_close(there.cpu(), solve_light(*given, 1e-3), atol=1e-4, rtol=0)
