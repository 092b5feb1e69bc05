"""Displacement maps from detail normals: round trips, a dense solution, and what is not known."""

from __future__ import annotations

import inspect

import pytest
import torch

from hrnfit.render.detail import detail_normals, surface_gradient
from hrnfit.render.normal_integration import REACH, displacement_from_normals


def surface(height: int = 40, width: int = 48, mirrored: bool = False):
    """Positions, mm, of texels of about 1 mm on a paraboloid, sheared in the chart; outward normals."""
    v, u = torch.meshgrid(
        torch.arange(float(height), dtype=torch.float64) - height / 2,
        torch.arange(float(width), dtype=torch.float64) - width / 2,
        indexing="ij",
    )
    x, y = (-u if mirrored else u) + 0.3 * v, -1.2 * v
    z = -(x**2 + y**2) / 80.0
    normals = torch.stack([x / 40.0, y / 40.0, torch.ones_like(x)], -1)
    return torch.stack([x, y, z], -1), normals / normals.norm(dim=-1, keepdim=True)


def bump(positions: torch.Tensor, mm: float = 0.5, width: float = 4.0) -> torch.Tensor:
    square = (positions[..., :2] - torch.tensor([2.0, -3.0], dtype=torch.float64)).square().sum(-1)
    return mm * torch.exp(-0.5 * square / width**2)


def everywhere(positions: torch.Tensor) -> torch.Tensor:
    return torch.ones(positions.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_map_comes_back_from_its_detail_normals(mirrored):
    """Without a prior; what is missing is the bump's mean, which is held to 0 over `REACH`."""
    positions, normals = surface(mirrored=mirrored)
    mask = everywhere(positions)
    want = bump(positions)
    wanted = detail_normals(positions, normals, want, mask)
    got = displacement_from_normals(positions, normals, 3.0 * wanted, torch.zeros_like(want), mask)
    assert float((got - want).abs().max()) < 0.1 * 0.5
    again = detail_normals(positions, normals, got, mask)
    assert float((again - wanted).norm(dim=-1).max()) < 5e-3
    plain = detail_normals(positions, normals, torch.zeros_like(want), mask)
    assert float((plain - wanted).norm(dim=-1).max()) > 5e-2


def test_against_the_dense_solution(generator):
    """Unknown texels, a ragged mask with a lone texel, noise: normal equations by finite columns."""
    positions, normals = surface(7, 8)
    mask = torch.rand(7, 8, generator=generator) > 0.2
    mask[0, :3], mask[1, :3], mask[0, 1] = False, False, True
    prior = 0.1 * torch.randn(7, 8, generator=generator, dtype=torch.float64)
    tilt = 0.2 * torch.randn(7, 8, 3, generator=generator, dtype=torch.float64)
    known = torch.rand(7, 8, generator=generator) > 0.2
    wanted = torch.where(known[..., None], normals + tilt, 0.0)
    got = displacement_from_normals(positions, normals, wanted, prior, mask)

    def gradient(values: torch.Tensor) -> torch.Tensor:
        found = surface_gradient(positions, values, mask)
        return found - (found * normals).sum(-1, keepdim=True) * normals

    units = torch.eye(56, dtype=torch.float64).reshape(56, 7, 8)
    columns = torch.stack([gradient(unit) for unit in units], -1)
    p_u, p_v = (surface_differences(positions, mask, axis) for axis in (1, 0))
    area = torch.linalg.cross(p_u, p_v).norm(dim=-1)
    inside = torch.where(mask, prior, 0.0)
    slope = normals - wanted / (wanted * normals).sum(-1, keepdim=True).clamp_min(0.1)
    slope = torch.where(known[..., None], slope, gradient(inside))
    root = area.sqrt()[..., None]
    hold = area.clamp_min(1e-2 * float(area[mask].mean())).sqrt() / REACH
    matrix = torch.cat([(root[..., None] * columns).reshape(-1, 56), torch.diag(hold.flatten())])
    right = torch.cat([(root * slope).flatten(), (hold * inside).flatten()])
    kept = mask.flatten()
    want = torch.zeros(56, dtype=torch.float64)
    want[kept] = torch.linalg.lstsq(matrix[:, kept], right[:, None]).solution[:, 0]
    assert torch.allclose(got, want.reshape(7, 8), atol=1e-4)
    assert float((got - inside).abs().max()) > 0.05


def surface_differences(positions: torch.Tensor, mask: torch.Tensor, axis: int) -> torch.Tensor:
    """Mean step to the neighbours inside, texel by texel."""
    result = torch.zeros_like(positions)
    for row, column in torch.nonzero(mask).tolist():
        steps = []
        for by in (-1, 1):
            there = (row + by, column) if axis == 0 else (row, column + by)
            fits = 0 <= there[0] < mask.shape[0] and 0 <= there[1] < mask.shape[1]
            if fits and bool(mask[there]):
                steps.append(by * (positions[there] - positions[row, column]))
        if steps:
            result[row, column] = torch.stack(steps).mean(0)
    return result


def test_the_prior_stays_where_nothing_is_known_and_where_it_is_right():
    positions, normals = surface()
    mask = everywhere(positions)
    prior = bump(positions)
    unknown = displacement_from_normals(positions, normals, torch.zeros_like(normals), prior, mask)
    assert torch.equal(unknown, prior)
    over = displacement_from_normals(positions, normals, -normals, prior, mask)
    assert torch.equal(over, prior)
    own = detail_normals(positions, normals, prior, mask)
    right = displacement_from_normals(positions, normals, own, prior, mask)
    assert float((right - prior).abs().max()) < 1e-9


def test_a_collapsed_chart_takes_the_prior(generator):
    """All texels at one point, half of them, and no texel at all."""
    positions, normals = surface()
    prior, mask = bump(positions), everywhere(positions)
    wanted = normals + 0.1 * torch.randn(normals.shape, generator=generator, dtype=torch.float64)
    point = torch.zeros_like(positions)
    assert torch.equal(displacement_from_normals(point, normals, wanted, prior, mask), prior)
    half = positions.clone()
    half[20:] = positions[20, 20]
    got = displacement_from_normals(half, normals, wanted, prior, mask)
    assert bool(got.isfinite().all())
    assert torch.allclose(got[23:], prior[23:])
    assert not torch.allclose(got[:18], prior[:18])
    none = displacement_from_normals(positions, normals, wanted, prior, ~mask)
    assert not none.any()


def test_float32_and_the_same_again():
    positions, normals = surface()
    mask = everywhere(positions)
    wanted = detail_normals(positions, normals, bump(positions), mask)
    given = (positions, normals, wanted, torch.zeros_like(mask, dtype=torch.float64))
    want = displacement_from_normals(*given, mask)
    assert torch.equal(displacement_from_normals(*given, mask), want)
    single = displacement_from_normals(*(t.float() for t in given), mask)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), want, atol=1e-4)


def test_maps_of_another_size_are_refused():
    positions, normals = surface()
    mask = everywhere(positions)
    with pytest.raises(ValueError, match=r"prior: expected \(40, 48\), got \(48, 40\)"):
        inspect.unwrap(displacement_from_normals)(
            positions, normals, normals, bump(positions).mT, mask
        )
