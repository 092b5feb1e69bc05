"""What the fit needs of a morphable model: constants, and two pure functions of coefficients.

A model lives in the head frame: mm, y up, z out of the face, x to the subject's left. Any model
that satisfies `FaceModel` can be fitted; `model/linear.py` is the one for linear bases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class LandmarkSet:
    """Named points of the surface, fixed to it by barycentric coordinates."""

    triangles: Int[Tensor, "L"]
    """Triangle of each point; -1 where the model has no such point."""
    barycentric: Float[Tensor, "L 3"]
    """Weights of the triangle's corners, sum 1."""
    spread: Float[Tensor, "L"]
    """Standard deviation of the detector around the point on this model, mm; 0 when not measured."""


@dataclass(frozen=True)
class ModelInfo:
    """Where a model comes from and what it may be used for."""

    name: str
    licence: str
    commercial: bool
    """Whether the licence permits commercial use."""
    source: str


@runtime_checkable
class FaceModel(Protocol):
    """A morphable face: constants and pure functions. Batch shapes are `*B`."""

    @property
    def info(self) -> ModelInfo: ...
    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Triangles, int32, counter-clockwise from outside."""
        ...

    @property
    def uv(self) -> Float[Tensor, "Nuv 2"]:
        """Texture coordinates, origin top-left, v down, one chart in [0, 1]."""
        ...

    @property
    def uv_faces(self) -> Int[Tensor, "F 3"]:
        """Triangles of `uv`, int32."""
        ...

    @property
    def n_identity(self) -> int: ...
    @property
    def n_expression(self) -> int: ...
    @property
    def n_albedo(self) -> int: ...
    @property
    def expression_names(self) -> tuple[str, ...]: ...
    @property
    def expression_is_blendshape(self) -> bool:
        """Activations in 0..1 when true, else standard deviations."""
        ...

    @property
    def regions(self) -> dict[str, Bool[Tensor, "N"]]:
        """Vertex masks by name: skin, lips, lids, brows, nose, eyes, ears, ... ; may be empty."""
        ...

    @property
    def landmarks(self) -> dict[str, LandmarkSet]:
        """Landmark sets by scheme: `ibug68`, `mediapipe478`."""
        ...

    @property
    def jaw_contour(self) -> Int[Tensor, "17 K"]:
        """Candidate vertices of each iBUG jaw point as the head turns, -1 padded."""
        ...

    @property
    def mirror(self) -> Int[Tensor, "N"] | None:
        """Index of each vertex's mirror image in x, if the mesh is symmetric."""
        ...

    def shape(
        self, identity: Float[Tensor, "*B I"], expression: Float[Tensor, "*B E"]
    ) -> Float[Tensor, "*B N 3"]:
        """Vertices in the head frame, mm."""
        ...

    def albedo(self, coefficients: Float[Tensor, "A"]) -> Float[Tensor, "H W 3"]:
        """Albedo map in UV, linear RGB."""
        ...
