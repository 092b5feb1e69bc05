"""Gradients of a whole render with respect to pose, silhouettes included."""

from __future__ import annotations

import pytest
import torch

from hrnfit.render.cpu import CpuRasterizer
from tests.render.scenes import render, sphere

SIZE = 48


def scene(pose: torch.Tensor, size: int, focal: float) -> torch.Tensor:
    """Pixel points of an ellipsoid turned about z and x and moved by `pose` (6,), 300 mm away."""
    unit, _ = sphere(30)
    body = unit * torch.tensor([60.0, 85.0, 50.0], dtype=torch.float64)
    x, y, z = (pose[k] for k in range(3))
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    offset = torch.tensor([3.0, -2.0, 300.0], dtype=torch.float64)
    world = body @ torch.linalg.matrix_exp(skew).T + pose[3:] + offset
    scale = focal * size / world[:, 2]
    return torch.stack(
        [world[:, 0] * scale + size / 2, world[:, 1] * scale + size / 2, world[:, 2]], -1
    )[None]


def loss(pose: torch.Tensor, size: int) -> torch.Tensor:
    """Smooth functional of the image: textured, shaded, weighted by a slow pattern."""
    unit, faces = sphere(30)
    points = scene(pose, size, 1.2)
    uv = torch.stack([0.5 + 0.4 * unit[:, 0], 0.5 + 0.4 * unit[:, 1]], -1)
    grid = (torch.arange(16, dtype=torch.float64) + 0.5) / 16
    ramp = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)
    texture = torch.cat([0.5 + 0.3 * ramp, 0.6 * torch.ones(16, 16, 1).double()], -1)
    light = torch.zeros(9, 3, dtype=torch.float64)
    light[0], light[1], light[3] = 0.9, 0.2, -0.15
    image, _ = render(CpuRasterizer(), points, unit, uv, texture, light, faces, size)
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    pattern = 1 + torch.sin(5 * at)[:, None] * torch.cos(3 * at)[None]
    return (image * pattern[None, :, :, None]).sum() / size**2


def difference(pose: torch.Tensor, k: int, size: int, step: float) -> float:
    unit = torch.zeros(6, dtype=torch.float64)
    unit[k] = step
    with torch.no_grad():
        return float(loss(pose + unit, size) - loss(pose - unit, size)) / (2 * step)


POSE = torch.tensor([0.2, -0.3, 0.4, 1.0, -2.0, 5.0], dtype=torch.float64)
STEPS = [0.02, 0.02, 0.02, 1.0, 1.0, 2.0]


def test_pose_gradient_points_where_the_supersampled_loss_changes():
    """Against central differences at 10 x the resolution, where silhouettes move smoothly."""
    pose = POSE.clone().requires_grad_()
    loss(pose, SIZE).backward()
    fine = torch.tensor([difference(POSE, k, 10 * SIZE, s) for k, s in enumerate(STEPS)])
    scaled = pose.grad * torch.tensor(STEPS)  # comparable units
    fine = fine * torch.tensor(STEPS)
    assert torch.nn.functional.cosine_similarity(scaled, fine, dim=0) > 0.98
    assert float(scaled.norm() / fine.norm()) == pytest.approx(1.0, abs=0.1)
