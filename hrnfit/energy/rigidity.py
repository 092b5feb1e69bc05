"""Neighbour preservation: how a deformed mesh differs from its coarse mesh, triangle by triangle.

The strain of a triangle measures stretch and shear in its own frame, so it is zero for every rigid
motion, locally and as a whole (as-rigid-as-possible in the sense of Terzopoulos et al. 1987, without
a rotation to solve for). The fold barrier is one-sided: zero until a triangle has lost most of its
area or turns over.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.term import Prediction, Residuals
from hrnfit.observe.observation import WorkingViews


def triangle_edges(
    vertices: Float[Tensor, "*B N 3"], faces: Int[Tensor, "F 3"]
) -> tuple[Float[Tensor, "*B F 3"], Float[Tensor, "*B F 3"]]:
    """The two edges that leave a triangle's first corner."""
    corner = vertices[..., faces.long(), :]
    return corner[..., 1, :] - corner[..., 0, :], corner[..., 2, :] - corner[..., 0, :]


def strain(
    vertices: Float[Tensor, "*B N 3"], rest: Float[Tensor, "*B N 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "*B F 3"]:
    """Green strain of each triangle against `rest`: E11, E22 and sqrt 2 E12 in its tangent frame.

    E = (F^T F - I) / 2 with F the 3x2 map from the rest triangle's plane to the deformed triangle; the
    root makes the squared sum the Frobenius norm, so the choice of frame does not matter. A uniform
    growth by 10 % has E11 = E22 = 0.105. Triangles without area at rest return 0.
    """
    a0, b0 = triangle_edges(rest, faces)
    a, b = triangle_edges(vertices, faces)
    length = a0.square().sum(-1)
    along = (a0 * b0).sum(-1)
    double_area = torch.cross(a0, b0, dim=-1).square().sum(-1)  # squared
    solid = (length > 0) & (double_area > 1e-12 * length.square())
    length = torch.where(solid, length, torch.ones_like(length))
    double_area = torch.where(solid, double_area, torch.ones_like(double_area))
    # frame of the rest triangle: first axis along a0, b0 = along / |a0| e1 + height e2
    side = length.sqrt()
    height = (double_area / length).sqrt()
    x = a / side[..., None]
    y = (b - (along / length)[..., None] * a) / height[..., None]
    e11, e22 = (x.square().sum(-1) - 1) / 2, (y.square().sum(-1) - 1) / 2
    e12 = (x * y).sum(-1) / 2**0.5
    values = torch.stack((e11, e22, e12), -1)
    return torch.where(solid[..., None], values, torch.zeros_like(values))


def oriented_area_ratio(
    vertices: Float[Tensor, "*B N 3"], rest: Float[Tensor, "*B N 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "*B F"]:
    """Area over area at rest times the cosine to the normal at rest: 1 unmoved, 0 collapsed or at a
    right angle, negative when turned over. Triangles without area at rest return 1."""
    n0 = torch.cross(*triangle_edges(rest, faces), dim=-1)
    n = torch.cross(*triangle_edges(vertices, faces), dim=-1)
    squared = n0.square().sum(-1)
    solid = squared > 0
    ratio = (n * n0).sum(-1) / torch.where(solid, squared, torch.ones_like(squared))
    return torch.where(solid, ratio, torch.ones_like(ratio))


def fold_barrier(ratio: Float[Tensor, "*B F"], allowed: float = 0.3) -> Float[Tensor, "*B F"]:
    """How far the oriented area ratio lies under `allowed`: 0 above it, 1 at collapse, more beyond."""
    return (allowed - ratio).clamp_min(0.0) / allowed


@dataclass(frozen=True)
class Rigidity:
    """Strain of the current mesh against the coarse mesh of the same coefficients.

    The reference stays attached: a change of coefficients moves both and costs nothing.
    """

    scale: float = 0.2
    """Strain that is visibly wrong: a fifth longer or wider than the coarse face is there."""
    name: str = "rigidity"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        faces = prediction.model.faces
        values = strain(prediction.vertices_head, prediction.coarse_head, faces) / self.scale
        return Residuals(values, torch.ones_like(values))


@dataclass(frozen=True)
class FoldBarrier:
    """Keeps triangles from folding over or collapsing against the coarse mesh."""

    allowed: float = 0.3
    """Oriented area ratio under which the barrier begins."""
    name: str = "fold"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        ratio = oriented_area_ratio(
            prediction.vertices_head, prediction.coarse_head, prediction.model.faces
        )
        # The mean is over all triangles: one folded among 20,000 would weigh nothing beside the data,
        # so only triangles near the barrier are counted.
        values = fold_barrier(ratio, self.allowed)
        return Residuals(values, (values > 0).to(values.dtype).detach())
