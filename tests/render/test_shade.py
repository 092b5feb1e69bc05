"""Spherical harmonics: unit white light, a lamp's clamped cosine, orthogonality, safe zero."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.render.shade import light_from_direction, safe_normalize, sh_basis, shade


def directions(n: int, generator: torch.Generator) -> torch.Tensor:
    return safe_normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64))


def test_row_zero_alone_shades_every_normal_with_one(generator):
    light = torch.zeros(9, 3, dtype=torch.float64)
    light[0] = 1.0
    assert torch.equal(shade(directions(50, generator), light), torch.ones(50, 3).double())


def test_basis_by_hand_along_z():
    # l = 1: 2/3 sqrt 3; (2, 0): 1/4 sqrt 5 / 2 (3 - 1) = sqrt 5 / 4.
    expected = [1, 0, 2 / math.sqrt(3), 0, 0, 0, math.sqrt(5) / 4, 0, 0]
    got = sh_basis(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    assert got.tolist() == pytest.approx(expected)


def test_basis_is_orthogonal_with_the_kernel_as_norm():
    # Mean over the sphere of the squared basis is the squared kernel ratio: 1, 4/9, 1/16.
    n = 400
    z = (torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 - 1
    a = (torch.arange(2 * n, dtype=torch.float64) + 0.5) / n * math.pi
    r = (1 - z * z).sqrt()
    grid = torch.stack(
        [r[:, None] * a.cos(), r[:, None] * a.sin(), z[:, None].expand(-1, 2 * n)], -1
    )
    basis = sh_basis(grid).reshape(-1, 9)
    gram = basis.T @ basis / len(basis)
    expected = torch.diag(torch.tensor([1.0] + [4 / 9] * 3 + [1 / 16] * 5, dtype=torch.float64))
    assert torch.allclose(gram, expected, atol=1e-5)


def test_lamp_gives_the_clamped_cosine_up_to_degree_two(generator):
    lamp = directions(1, generator)[0]
    light = light_from_direction(lamp)[:, None].expand(9, 3)
    normals = directions(500, generator)
    cosine = normals @ lamp
    exact = 1 / 4 + cosine / 2 + 5 / 16 * (3 * cosine**2 - 1) / 2
    got = shade(normals, light)[:, 0]
    assert torch.allclose(got, exact)
    assert (got - cosine.clamp_min(0)).abs().max() < 0.1


def test_one_light_per_view_and_its_error(generator):
    normals = directions(30, generator).reshape(2, 5, 3, 3)
    light = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    each = torch.stack([shade(normals[k], light[k]) for k in range(2)])
    assert torch.allclose(shade(normals, light), each)
    assert torch.allclose(shade(normals, light[:1]), shade(normals, light[0]))
    with pytest.raises(ValueError, match="light: expected"):
        shade(normals, light.repeat(2, 1, 1)[:3])


def test_gradients_and_safe_zero(generator):
    normals = directions(4, generator).requires_grad_()
    light = torch.randn(9, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(shade, (normals, light))
    assert gradcheck(safe_normalize, (3 * normals.detach()).requires_grad_())
    zero = torch.zeros(2, 3, requires_grad=True)
    safe_normalize(zero).sum().backward()
    assert torch.equal(zero.grad, torch.zeros(2, 3))
    tiny = torch.full((1, 3), 1e-12)
    assert safe_normalize(tiny).norm() == pytest.approx(1.0, rel=1e-5)


def test_compiled_loops_agree_with_the_basis(generator):
    normals = torch.randn(2, 7, 5, 3, generator=generator)  # any length: the polynomial is the same
    normals[0, :3] = 0
    light = torch.randn(2, 9, 3, generator=generator)
    expected = torch.einsum("vhwk,vkc->vhwc", sh_basis(normals), light)
    assert torch.allclose(shade(normals, light), expected, atol=1e-5)
    inputs = (normals.double().requires_grad_(), light.double().requires_grad_())
    assert gradcheck(shade, inputs, fast_mode=True)
