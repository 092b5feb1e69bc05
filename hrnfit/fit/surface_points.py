"""Places on the model's surface as linear functions of its coefficients, near some face.

A model with joints is linear nowhere for good: who fits its points takes their basis anew around the
face found so far. For a linear model the first basis is the last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBasis
from hrnfit.model.face_model import FaceModel, LandmarkSet, ShapeTangent


@dataclass(frozen=True)
class Expansion:
    """A model's surface near some coefficients."""

    identity: Float[Tensor, "I"]
    """Where it was expanded, float64."""
    expression: Float[Tensor, "E"]
    tangent: ShapeTangent


def expansion(
    model: FaceModel, identity: Float[Tensor, "I"], expression: Float[Tensor, "E"]
) -> Expansion:
    """The surface near coefficients, on the model's device and in its dtype."""
    tangent = model.tangent(identity.to(model.uv), expression.to(model.uv))
    return Expansion(identity.double().cpu(), expression.double().cpu(), tangent)


def mean_expansion(model: FaceModel) -> Expansion:
    """The surface near the mean face without expression."""
    return expansion(model, torch.zeros(model.n_identity), torch.zeros(model.n_expression))


@dataclass(frozen=True)
class SurfacePoints:
    """M places: weighted corners of L triangles, or means of such. float64."""

    corners: Int[Tensor, "L 3"]
    """Vertices."""
    weights: Float[Tensor, "L 3"]
    """Their shares; all zero where the model has no such point."""
    offset: Float[Tensor, "M 3"]
    """mm off the model's surface, as a deformation map carries it."""
    gather: Float[Tensor, "M L"] | None = None
    """Shares of the L places in each point; None when they are the points."""

    @staticmethod
    def of(
        corners: Int[Tensor, "L 3"],
        weights: Float[Tensor, "L 3"],
        gather: Float[Tensor, "M L"] | None = None,
    ) -> SurfacePoints:
        """Points on the surface itself."""
        count = len(corners if gather is None else gather)
        offset = torch.zeros(count, 3, dtype=torch.float64)
        return SurfacePoints(corners, weights, offset, gather)

    def sample(self, values: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B M 3"]:
        """Vertex values at the points, on the CPU."""
        picked = values[..., self.corners, :].double() * self.weights[..., None]
        at = picked.sum(-2).cpu()
        return at if self.gather is None else self.gather @ at

    def carried(self, offsets: Float[Tensor, "N 3"]) -> SurfacePoints:
        """The points where offsets of the vertices, mm, carry them."""
        return replace(self, offset=self.offset + self.sample(offsets))

    def basis(self, near: Expansion) -> LandmarkBasis:
        """The points as linear functions of all coefficients, exact where the model was expanded."""
        shape = near.tangent.shape
        identity, expression = (self._modes(shape, modes) for modes in near.tangent[1:])
        moved = torch.tensordot(near.identity, identity, 1)
        moved = moved + torch.tensordot(near.expression, expression, 1)
        return LandmarkBasis(self.sample(shape) + self.offset - moved, identity, expression)

    def _modes(
        self, shape: Float[Tensor, "N 3"], modes: Float[Tensor, "K N 3"]
    ) -> Float[Tensor, "K M 3"]:
        """Modes at the points, as differences of shapes in the model's precision: those are what the
        model answers, and a solve of many stages tells the last bit apart."""
        at = shape[self.corners]
        moved = (at + modes[:, self.corners]) - at
        picked = (moved.double() * self.weights[..., None]).sum(-2).cpu()
        return picked if self.gather is None else self.gather @ picked


def corners_of(
    model: FaceModel, marks: LandmarkSet
) -> tuple[Int[Tensor, "L 3"], Float[Tensor, "L 3"]]:
    """Corner vertices and their weights; weight zero where the model has no such point."""
    corners = model.faces[marks.triangles.clamp_min(0).long()].long()
    weights = marks.barycentric.double() * (marks.triangles >= 0)[:, None]
    return corners, weights
