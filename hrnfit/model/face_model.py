"""What the fit needs of a morphable model: constants, and pure functions of coefficients.

A model lives in the head frame: mm, y up, z out of the face, x to the subject's left. Any model
that satisfies `FaceModel` can be fitted; `model/linear.py` is the one for linear bases,
`model/flame.py` the one with a jaw, neck and eyes that turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.derivative import forward_jacobian


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
    kind: str = "npz"
    """What it was imported from: a name of `hrnfit models kinds`, or `npz` for our own format."""
    note: str = ""
    """Terms in one sentence, for those who do not read licences."""
    files: tuple[tuple[str, str], ...] = ()
    """Name and SHA-256 of every file it was made from."""


class ShapeTangent(NamedTuple):
    """The model's surface at some coefficients, and how it moves with each of them."""

    shape: Float[Tensor, "N 3"]
    """mm, head frame."""
    identity: Float[Tensor, "I N 3"]
    """mm per coefficient."""
    expression: Float[Tensor, "E N 3"]
    """mm per coefficient."""


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
    def shape_is_linear(self) -> bool:
        """Whether `tangent` has the same derivatives everywhere, so that nobody need ask twice."""
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

    def tangent(self, identity: Float[Tensor, "I"], expression: Float[Tensor, "E"]) -> ShapeTangent:
        """`shape` there and its derivatives; `forward_tangent` computes them for any model."""
        ...

    def albedo(self, coefficients: Float[Tensor, "A"]) -> Float[Tensor, "H W 3"]:
        """Albedo map in UV, linear RGB; affine in the coefficients."""
        ...

    def to(self, target: torch.dtype | torch.device | str) -> FaceModel:
        """A copy on another device, or with its floating-point constants in another dtype."""
        ...


def neutral(model: FaceModel) -> Float[Tensor, "N 3"]:
    """The mean face without expression, mm, on the model's device and in its dtype."""
    zeros = (model.uv.new_zeros(n) for n in (model.n_identity, model.n_expression))
    return model.shape(*zeros)


def forward_tangent(
    model: FaceModel, identity: Float[Tensor, "I"], expression: Float[Tensor, "E"]
) -> ShapeTangent:
    """The tangent of any differentiable `shape`, by forward-mode differentiation."""
    sizes = [len(identity), len(expression)]
    shape, jacobian = forward_jacobian(
        lambda x: model.shape(*x.split(sizes)).flatten(), torch.cat([identity, expression])
    )
    columns = jacobian.mT.unflatten(1, (-1, 3))
    return ShapeTangent(shape.unflatten(0, (-1, 3)), *columns.split(sizes))
