"""Landmarks of one view on the model itself, where `LandmarkBlock` has it linear near some face.

Slow to solve with (every Jacobian is a pass per coefficient through the model), but what the derivatives
of a minimum are taken of: those of a model with joints depend on its curvature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBasis, LandmarkBlock
from hrnfit.fit.surface_points import SurfacePoints, expansion
from hrnfit.model.face_model import FaceModel


@dataclass(frozen=True)
class ModelLandmarks:
    """A landmark block whose points follow the model. One problem at a time: no batch dimensions."""

    block: LandmarkBlock
    """With the model linear near some face."""
    model: FaceModel
    points: SurfacePoints
    """Where the landmarks lie on the model; before any was left out."""
    used: Bool[Tensor, "L"]
    """Landmarks that the block has."""
    slid: Bool[Tensor, "M"]
    """Points of the block that lie elsewhere, on an outline: they stay linear."""

    @property
    def slots(self) -> tuple[tuple[str, int | None], ...]:
        return self.block.slots

    def residual(self, *values: Float[Tensor, "_"]) -> Float[Tensor, "m"]:
        """As the block's, at the model's own points."""
        linear, ref = self.block.basis, self.model.uv
        shape = self.model.shape(values[0].to(ref), values[1].to(ref))
        exact = (self.points.sample(shape) + self.points.offset)[self.used]
        at = torch.where(self.slid[:, None], linear.points(values[0], values[1]), exact)
        still = (torch.zeros_like(modes) for modes in (linear.identity, linear.expression))
        return replace(self.block, basis=LandmarkBasis(at, *still)).residual(*values)

    def linearize(
        self, *values: Float[Tensor, "_"]
    ) -> tuple[Float[Tensor, "m"], tuple[Float[Tensor, "m _"], ...]]:
        """Residuals and Jacobians, the model expanded where it stands."""
        near, old = self.points.basis(expansion(self.model, values[0], values[1])), self.block.basis
        slid, used = self.slid[:, None], self.used
        basis = LandmarkBasis(
            torch.where(slid, old.mean, near.mean[used]),
            torch.where(slid, old.identity, near.identity[:, used]),
            torch.where(slid, old.expression, near.expression[:, used]),
        )
        return replace(self.block, basis=basis).linearize(*values)
