"""Detail normals against the analytic normals of known bumps, on a plane and on a sphere."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.render.detail import detail_normals, surface_gradient
from hrnfit.render.shade import light_from_direction, shade

N = 128


def grid(n: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    at = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    v, u = torch.meshgrid(at, at, indexing="ij")
    return u, v


def degrees(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1)))


@pytest.mark.parametrize("shear", [0.0, 0.7])
@pytest.mark.parametrize("handed", [1.0, -1.0])
def test_sine_bump_on_a_plane_whatever_the_chart(shear, handed):
    """z = A sin(k x) on the plane: normal (-A k cos(k x), 0, 1), for sheared and mirrored charts."""
    u, v = grid()
    x, y = handed * (100 * u + shear * 60 * v), 60 * v
    amplitude, k = 0.5, 2 * math.pi / 25
    positions = torch.stack([x, y, torch.zeros_like(x)], -1)
    normals = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(positions)
    got = detail_normals(positions, normals, amplitude * torch.sin(k * x))
    slope = amplitude * k * torch.cos(k * x)
    exact = torch.stack([-slope, torch.zeros_like(x), torch.ones_like(x)], -1)
    exact = exact / exact.norm(dim=-1, keepdim=True)
    assert torch.allclose(got.norm(dim=-1), torch.ones_like(x))
    inner = (slice(2, -2), slice(2, -2))
    assert degrees(got, exact)[inner].max() < 0.1


def test_shading_of_a_bump_brightens_the_side_towards_the_lamp():
    """Lit from +x, the slope of a hill that faces +x is brighter: not inverted, not mirrored."""
    u, v = grid()
    positions = torch.stack([100 * u - 50, 50 - 100 * v, torch.zeros_like(u)], -1)
    normals = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(positions)
    hill = 2 * torch.exp(-(positions[..., 0] ** 2 + positions[..., 1] ** 2) / 200)
    for axis in (0, 1):
        lamp = torch.zeros(3, dtype=torch.float64)
        lamp[axis], lamp[2] = 0.6, 0.8
        light = light_from_direction(lamp)[:, None].expand(9, 3)
        image = shade(detail_normals(positions, normals, hill), light)[..., 0]
        towards = (positions[..., axis] - 10).abs() < 2
        away = (positions[..., axis] + 10).abs() < 2
        near = positions[..., 1 - axis].abs() < 5
        assert image[towards & near].mean() > image[away & near].mean() + 0.05


def test_bump_on_a_sphere_against_the_normals_of_the_displaced_sphere():
    """Radius R + d: the exact normal is that of the displaced points; d / R is what is dropped."""
    u, v = grid(256)
    polar, azimuth = 0.8 + 1.4 * v, 2.0 * u
    radius = 80.0

    def point(displacement: torch.Tensor) -> torch.Tensor:
        unit = torch.stack(
            [
                polar.sin() * azimuth.sin(),
                polar.cos(),
                polar.sin() * azimuth.cos(),
            ],
            -1,
        )
        return unit * (radius + displacement)[..., None]

    base = point(torch.zeros_like(u))
    normals = base / radius
    bump = 0.3 * torch.sin(14 * azimuth) * torch.cos(12 * polar)
    moved = point(bump)
    p_u = moved[1:-1, 2:] - moved[1:-1, :-2]
    p_v = moved[2:, 1:-1] - moved[:-2, 1:-1]
    exact = torch.linalg.cross(p_v, p_u)  # outward: v runs down, u to +x
    exact = exact / exact.norm(dim=-1, keepdim=True)
    assert ((exact * normals[1:-1, 1:-1]).sum(-1) > 0).all()
    got = detail_normals(base, normals, bump)[1:-1, 1:-1]
    tilt = degrees(exact, normals[1:-1, 1:-1]).max()
    assert tilt > 2
    assert degrees(got, exact).max() < 0.02 * tilt


def test_no_displacement_and_degenerate_charts_leave_the_normal(generator):
    normals = torch.randn(6, 5, 3, generator=generator, dtype=torch.float64)
    normals = normals / normals.norm(dim=-1, keepdim=True)
    positions = torch.randn(6, 5, 3, generator=generator, dtype=torch.float64)
    assert torch.allclose(detail_normals(positions, normals, torch.zeros(6, 5).double()), normals)
    flat = torch.zeros(6, 5, 3, dtype=torch.float64, requires_grad=True)
    out = detail_normals(flat, normals, torch.rand(6, 5, generator=generator).double())
    assert torch.allclose(out, normals)
    out.sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_texels_outside_the_chart_are_not_read(generator):
    u, v = grid(12)
    positions = torch.stack([10 * u, 10 * v, 0 * u], -1)
    mask = u > 0.4
    values = torch.where(mask, 3 * positions[..., 0], 1e6)
    broken = torch.where(mask[..., None], positions, -50.0)
    gradient = surface_gradient(broken, values, mask)[mask]
    assert torch.allclose(gradient, torch.tensor([3.0, 0.0, 0.0]).double().expand_as(gradient))


def test_gradcheck_and_error(generator):
    positions = torch.randn(2, 4, 4, 3, generator=generator, dtype=torch.float64)
    normals = torch.randn(2, 4, 4, 3, generator=generator, dtype=torch.float64)
    normals = (normals / normals.norm(dim=-1, keepdim=True)).requires_grad_()
    bump = torch.randn(2, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    inputs = (positions.requires_grad_(), normals, bump)
    assert gradcheck(detail_normals, inputs, fast_mode=True)
    with pytest.raises(ValueError, match="displacement"):
        inspect.unwrap(detail_normals)(positions, normals, bump.detach()[:, :3])
