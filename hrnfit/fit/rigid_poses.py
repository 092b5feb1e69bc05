"""Lowest landmark energy of a rigid face for many pinholes at once, over its pose alone.

The laws are those of `LandmarkGroup` and `LevenbergMarquardt`, with every row at its own damping: one after the
other, six focal lengths took 18 linearizations, together they take as many rounds as the slowest of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.kernel import robust_scale
from hrnfit.energy.landmark import LandmarkBlock
from hrnfit.geometry.rotation import rotation_exp, rotation_with_jacobian, skew
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt


@dataclass(frozen=True)
class RigidPoses:
    """One view's landmarks under G pinholes, each with a pose of its own."""

    block: LandmarkBlock
    """Gives mean face, camera, detections, weights and kernel; its K and reference have no part."""
    K: Float[Tensor, "G 3 3"]
    pose_reference: Float[Tensor, "G 4 4"]

    def energy(self, pose: Float[Tensor, "G 6"]) -> Float[Tensor, "G"]:
        """Sum of |e|^2 / 2 of every row."""
        R = rotation_exp(pose[:, :3]) @ self.pose_reference[:, :3, :3]
        raw, *_ = self._seen(self.block.basis.mean @ R.mT, pose)
        g, _ = robust_scale(raw.square().sum(-1), self.block.kernel)
        return 0.5 * (self.block.weight * (g.square() * raw.square().sum(-1))).sum(-1)

    def equations(
        self, pose: Float[Tensor, "G 6"]
    ) -> tuple[Float[Tensor, "G 6 6"], Float[Tensor, "G 6"]]:
        """A^T A and A^T e of every row."""
        turn, left = rotation_with_jacobian(pose[:, :3])
        turned = self.block.basis.mean @ (turn @ self.pose_reference[:, :3, :3]).mT
        raw, xy, z = self._seen(turned, pose)
        g, a = robust_scale(raw.square().sum(-1), self.block.kernel)
        root = self.block.weight.sqrt()
        flat = (a * root)[..., None, None] * self.block.metric @ self.K[:, None, :2, :2]
        flat = flat / z[..., None]
        D = torch.cat([flat, -(flat @ xy[..., None])], -1) @ self.block.T_cam_world[:3, :3]
        by_rotation = -D @ skew(turned) @ left[:, None]
        A = torch.cat([by_rotation, D], -1).flatten(1, 2)  # (G, 2 L, 6)
        e = ((g * root)[..., None] * raw).flatten(1)
        return A.mT @ A, (A.mT @ e[..., None])[..., 0]

    def _seen(self, turned: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Dimensionless offsets before robustness, x / z, and depth."""
        T = self.block.T_cam_world
        x_world = turned + (self.pose_reference[:, :3, 3] + pose[:, 3:])[:, None]
        x_cam = x_world @ T[:3, :3].mT + T[:3, 3]
        z = x_cam[..., 2:].clamp_min(1.0)  # as in `LandmarkBlock`
        xy = x_cam[..., :2] / z
        offset = xy @ self.K[:, :2, :2].mT + self.K[:, None, :2, 2] - self.block.pixels
        return (self.block.metric @ offset[..., None])[..., 0], xy, z


def lowest_energies(poses: RigidPoses, solver: LevenbergMarquardt) -> Float[Tensor, "G"]:
    """Energy of every row where `solver` would end, from a zero tangent."""
    x = poses.K.new_zeros(len(poses.K), 6)
    now, steps = poses.energy(x), torch.zeros(len(x))
    damping, growth = torch.full_like(now, solver.damping), torch.full_like(now, 2.0)
    going = torch.isfinite(now)
    while bool(going.any()):
        H, g = poses.equations(x)
        step = _damped(H, g, damping)
        predicted = -(g * step).sum(-1) - 0.5 * (step * (H @ step[..., None])[..., 0]).sum(-1)
        noise = 4 * torch.finfo(x.dtype).eps * now.clamp_min(1e-30)
        going = going & ~(predicted <= noise)
        value = poses.energy(x + step)
        taken = going & (value < now)
        gain = torch.where(taken, (now - value) / predicted, 0.0)
        relaxed = damping * (1 - (2 * gain - 1) ** 3).clamp_min(1 / 3)
        converged = taken & (now - value <= solver.tolerance * now)
        x = torch.where(taken[:, None], x + step, x)
        now = torch.where(taken, value, now)
        damping = torch.where(taken, relaxed.clamp_min(1e-12), damping * growth)
        growth = torch.where(taken, 2.0, growth * 2.0)
        steps = steps + taken
        going = going & ~converged & (steps < solver.max_steps) & (damping <= solver.max_damping)
    return now


def _damped(H: Tensor, g: Tensor, damping: Tensor) -> Float[Tensor, "G 6"]:
    """Solution of (H + damping diag H) d = -g; NaN where that is not positive definite."""
    diagonal = H.diagonal(dim1=-2, dim2=-1)
    floor = 1e-12 * diagonal.amax(-1, keepdim=True).clamp_min(1e-30)
    system = H + torch.diag_embed(damping[:, None] * torch.maximum(diagonal, floor))
    scale = system.diagonal(dim1=-2, dim2=-1).clamp_min(1e-30).rsqrt()
    factor, info = torch.linalg.cholesky_ex(system * scale[:, :, None] * scale[:, None, :])
    step = -scale * torch.cholesky_solve((scale * g)[..., None], factor)[..., 0]
    return torch.where((info == 0)[:, None], step, torch.nan)
