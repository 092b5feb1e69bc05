"""Perceptual energy: the rendered face is the photographed person to a recognition network.

1 - cos of the embeddings of render and photograph (the perception-level loss of Deng et al. 2019, which
HRN sec. 3.2 takes over), both aligned by the photograph's own landmarks, so that the term says who it
is and not where. Which embedding is the caller's choice: any callable, ArcFace or another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.check import check_shape
from hrnfit.energy.term import Residuals
from hrnfit.io.image import srgb_from_linear
from hrnfit.observe.aligned_face import aligned, five_points, window_from_aligned
from hrnfit.observe.observation import Landmarks, WorkingViews

if TYPE_CHECKING:
    from hrnfit.prediction import Prediction

LEAST_SQUARED_LENGTH = 1e-12
"""An embedding shorter than its root counts as of that length: the cosine with a zero is 0."""


@runtime_checkable
class Embedding(Protocol):
    """Aligned faces, sRGB in [-1, 1], to vectors whose directions are compared.

    A network is to be in evaluation mode, on the device of the fit and of the dtype of its images.
    """

    def __call__(self, images: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B E"]: ...


@dataclass(frozen=True)
class Photographed:
    """What does not change while a stage runs."""

    views: WorkingViews
    matrix: Float[Tensor, "V 2 3"]
    """From px of the aligned picture to px of the window."""
    validity: Float[Tensor, "V"]
    vectors: Float[Tensor, "V E"]
    """Embeddings of the photographs; no gradient."""


@dataclass(frozen=True)
class Perceptual:
    """One residual per view, 1 - cos: about 1 between strangers.

    Give it the kernel `abs`; squared, its slope would vanish at the truth.
    """

    embedding: Embedding
    name: str = "perceptual"
    _last: list[Photographed] = field(default_factory=list, repr=False, compare=False)
    """The views asked for last: with ArcFace r50 their embedding is a third of the term's time."""

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        """Validity is the least confidence of the view's five points, 0 without landmarks."""
        known = self._photographed(views)
        rendered = self._embedded(composite(prediction, views), known.matrix)
        return Residuals(1.0 - cosine(rendered, known.vectors), known.validity)

    def _photographed(self, views: WorkingViews) -> Photographed:
        """Alignment and embedding of the photographs, once for the same views."""
        if not self._last or self._last[0].views is not views:
            with torch.no_grad():
                matrix, validity = alignment(views)
                vectors = self._embedded(views.images, matrix)
            self._last[:] = [Photographed(views, matrix, validity, vectors)]
        return self._last[0]

    def _embedded(
        self, images: Float[Tensor, "V S S 3"], matrix: Float[Tensor, "V 2 3"]
    ) -> Float[Tensor, "V E"]:
        """Embeddings of windows, linear RGB. Nothing is clipped: too bright a render keeps its slope."""
        faces = 2.0 * srgb_from_linear(aligned(images, matrix)) - 1.0
        vectors = self.embedding(faces)
        check_shape("embedding", vectors, (len(images), "E"), "one vector per picture")
        return vectors


def composite(prediction: Prediction, views: WorkingViews) -> Float[Tensor, "V S S 3"]:
    """The render over the photograph, linear RGB: equal to it off the face and where the mask hides it,
    so that hair, hands and background tell nobody apart."""
    covered = prediction.coverage[..., None] * views.images
    return views.images + views.masks[..., None] * (prediction.image - covered)


def alignment(views: WorkingViews) -> tuple[Float[Tensor, "V 2 3"], Float[Tensor, "V"]]:
    """Matrix from the aligned picture to each window, and the least confidence of its five points."""
    n, scheme = len(views.images), views.landmark_scheme
    if views.landmarks.shape[1] == 0:  # no view has any
        points, confidence = views.images.new_zeros(n, 5, 2), views.images.new_zeros(n)
    else:
        pairs = zip(views.landmarks, views.landmark_confidence, strict=True)
        fives = [five_points(Landmarks(p, c, scheme)) for p, c in pairs]
        points = torch.stack([five.points for five in fives]).to(views.images)
        confidence = torch.stack([five.confidence.amin() for five in fives]).to(views.images)
    known = (confidence > 0)[:, None, None] & torch.isfinite(points)
    matrix, told = window_from_aligned(torch.where(known, points, torch.zeros_like(points)))
    return matrix, confidence * told * known.all(-1).all(-1)


def cosine(a: Float[Tensor, "B E"], b: Float[Tensor, "B E"]) -> Float[Tensor, "B"]:
    """Cosine of the angle between vectors; 0, with a finite gradient, where one is zero."""
    squared = a.square().sum(-1).clamp_min(LEAST_SQUARED_LENGTH)
    other = b.square().sum(-1).clamp_min(LEAST_SQUARED_LENGTH)
    return (a * b).sum(-1) / (squared.sqrt() * other.sqrt())
