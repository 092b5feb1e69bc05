"""A smooth warp of space that carries points near to their partners: the thin-plate spline in 3D.

    f(x) = A x + b + sum_k w_k |x - p_k|,   minimising   sum_k |f(p_k) - q_k|^2 / s_k^2 + J(f) / t

(Wahba 1990, sec. 2.4; the kernel |x| is the biharmonic one of space). Affine maps cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ThinPlateSpline:
    """A fitted warp."""

    centres: Float[Tensor, "K 3"]
    weights: Float[Tensor, "K 3"]
    affine: Float[Tensor, "4 3"]
    """Rows x, y, z and 1."""

    def __call__(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        """The warped points."""
        return torch.cdist(points, self.centres) @ self.weights + _affine(points) @ self.affine


def thin_plate_spline(
    source: Float[Tensor, "K 3"],
    target: Float[Tensor, "K 3"],
    deviation: Float[Tensor, "K"],
    looseness: float = 0.02,
) -> ThinPlateSpline:
    """The warp from `source` near to `target`; points must not lie in one plane.

    deviation: how far each pair may be off, mm. looseness: t above, in 1 / mm; at 0 only the best affine
    map is left, and large values pass through every pair.
    """
    k = len(source)
    if k < 5:
        raise ValueError(f"warp: expected at least 5 pairs of points, got {k}")
    noise = torch.diag(deviation.square() / max(looseness, 1e-12))
    polynomial = _affine(source)
    # -|x| is the positive definite one of the two signs, up to affine functions
    kernel = -torch.cdist(source, source) + noise
    top = torch.cat([kernel, polynomial], dim=1)
    bottom = torch.cat([polynomial.mT, polynomial.new_zeros(4, 4)], dim=1)
    right = torch.cat([target, target.new_zeros(4, 3)])
    solved, info = torch.linalg.solve_ex(torch.cat([top, bottom]), right)
    if int(info) != 0 or not bool(torch.isfinite(solved).all()):
        raise ValueError("warp: the points lie in one plane; give points all over the face")
    return ThinPlateSpline(source, -solved[:k], solved[k:])


def _affine(points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 4"]:
    return torch.cat([points, torch.ones_like(points[:, :1])], dim=1)
