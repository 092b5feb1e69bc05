"""Photometric energy: rendering against photograph, masked, through the one shared albedo.

HRN sec. 3.2, reconstruction loss. Compared in gamma space, where equal steps look equal; all views
read the same albedo map, so a texel seen twice has to explain both photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from hrnfit.derivative import held
from hrnfit.energy.term import Residuals
from hrnfit.observe.observation import WorkingViews

if TYPE_CHECKING:
    from hrnfit.prediction import Prediction

VISIBLY_WRONG = 0.1
"""Difference in gamma space that counts as 1: a tenth of the range is plain to see."""

GAMMA = 1.0 / 2.2
FLOOR = 1e-3
"""Linear light below which the gamma curve is continued straight, so its slope stays finite."""


def gamma_encoded(linear: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Perceptual encoding with a finite slope at zero; monotone over all reals."""
    curved = linear.clamp_min(FLOOR) ** GAMMA
    return curved + (linear - linear.clamp_min(FLOOR)) * (GAMMA * FLOOR ** (GAMMA - 1.0))


def facing(
    normals: Float[Tensor, "V S S 3"], view_direction: Float[Tensor, "V 3"], least: float
) -> Float[Tensor, "V S S"]:
    """Ramp from 0 where a surface turns away more than `least` (cosine) to 1 where it faces us."""
    cosine = (normals * view_direction[:, None, None]).sum(-1)
    return ((cosine - least) / (1.0 - least)).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Photometric:
    """Rendered minus photographed colour per pixel, length over channels."""

    least_cosine: float = 0.1
    """Cosine below which a pixel does not count: grazing skin is mostly silhouette."""
    name: str = "photometric"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        difference = gamma_encoded(prediction.image) - gamma_encoded(views.images)
        length = (difference.square().sum(-1) + 1e-8).sqrt() / VISIBLY_WRONG

        def ramp() -> Tensor:
            backward = -prediction.projection.T_cam_world[:, 2, :3]
            return facing(prediction.normals, backward, self.least_cosine)

        seen = (prediction.raster.triangle >= 0) * views.masks
        return Residuals(length, seen * held(ramp))
