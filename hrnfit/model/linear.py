"""A linear morphable model: vertices = mean + identity . basis + expression . basis, in mm.

Bases are kept flat (I, 3N), so that the shapes of all frames
are two matrix products. Reading and writing files is not here: see `load.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.brief import brief
from hrnfit.model.face_model import LandmarkSet, ModelInfo, ShapeTangent


@dataclass(frozen=True)
class LinearFaceModel:
    """A `FaceModel` with linear shape and linear albedo. All lengths mm, head frame."""

    info: ModelInfo
    mean: Float[Tensor, "N 3"]
    """Neutral mean."""
    identity_basis: Float[Tensor, "I N3"]
    """Identity modes, flat (x0 y0 z0 x1 ...), mm per standard deviation."""
    expression_basis: Float[Tensor, "E N3"]
    """Expression modes, flat; mm at full activation, or per standard deviation."""
    expression_names: tuple[str, ...]
    expression_is_blendshape: bool
    """Activations in 0..1 when true, else standard deviations."""
    faces: Int[Tensor, "F 3"]
    """Triangles, int32, counter-clockwise from outside."""
    uv: Float[Tensor, "Nuv 2"]
    """Texture coordinates in [0, 1], origin top-left, v down."""
    uv_faces: Int[Tensor, "F 3"]
    """Triangles of `uv`, int32, same order as `faces`."""
    albedo_mean: Float[Tensor, "H W 3"]
    """Mean albedo, linear RGB."""
    albedo_basis: Float[Tensor, "A h w 3"]
    """Albedo modes, linear RGB per standard deviation; smaller maps than the mean are enlarged."""
    regions: dict[str, Bool[Tensor, "N"]] = field(default_factory=dict)
    landmarks: dict[str, LandmarkSet] = field(default_factory=dict)
    jaw_contour: Int[Tensor, "17 K"] = field(
        default_factory=lambda: torch.full((17, 1), -1, dtype=torch.int32)
    )
    """Candidate vertices of each iBUG jaw point as the head turns, -1 padded."""
    mirror: Int[Tensor, "N"] | None = None
    """Index of each vertex's mirror image in x."""

    __repr__ = brief

    @property
    def n_vertices(self) -> int:
        return self.mean.shape[0]

    @property
    def n_identity(self) -> int:
        return self.identity_basis.shape[0]

    @property
    def n_expression(self) -> int:
        return self.expression_basis.shape[0]

    @property
    def n_albedo(self) -> int:
        return self.albedo_basis.shape[0]

    @property
    def shape_is_linear(self) -> bool:
        return True

    def shape(
        self, identity: Float[Tensor, "*#B I"], expression: Float[Tensor, "*#B E"]
    ) -> Float[Tensor, "*#B N 3"]:
        """Vertices in the head frame, mm. Batch shapes broadcast: one identity, many expressions."""
        check_width("identity", identity, self.n_identity)
        check_width("expression", expression, self.n_expression)
        offsets = identity @ self.identity_basis + expression @ self.expression_basis
        return self.mean + offsets.unflatten(-1, (self.n_vertices, 3))

    def tangent(self, identity: Float[Tensor, "I"], expression: Float[Tensor, "E"]) -> ShapeTangent:
        """`shape` there; the modes are the same everywhere."""
        n = (self.n_vertices, 3)
        return ShapeTangent(
            self.shape(identity, expression),
            self.identity_basis.unflatten(1, n),
            self.expression_basis.unflatten(1, n),
        )

    def albedo(self, coefficients: Float[Tensor, "A"]) -> Float[Tensor, "H W 3"]:
        """Albedo map in UV, linear RGB, not clamped: a clamp would stop gradients at black."""
        check_width("albedo", coefficients, self.n_albedo)
        if self.n_albedo == 0:
            return self.albedo_mean
        offset = torch.tensordot(coefficients, self.albedo_basis, dims=1)
        return self.albedo_mean + enlarge(offset, self.albedo_mean.shape[0])

    def to(self, target: torch.dtype | torch.device | str) -> LinearFaceModel:
        """A copy on another device, or with its floating-point constants in another dtype."""
        changed = {f.name: _moved(getattr(self, f.name), target) for f in fields(self)}
        return replace(self, **changed)


def landmark_positions(
    vertices: Float[Tensor, "*B N 3"], faces: Int[Tensor, "F 3"], marks: LandmarkSet
) -> Float[Tensor, "*B L 3"]:
    """Positions of the landmarks on posed or unposed vertices; the origin where one is missing."""
    corners = vertices[..., faces[marks.triangles.clamp_min(0).long()].long(), :]
    weights = marks.barycentric.to(vertices) * (marks.triangles >= 0)[:, None].to(vertices)
    return (corners * weights[:, :, None]).sum(dim=-2)


def check_width(name: str, coefficients: Tensor, expected: int) -> None:
    """Coefficients must match the model's modes."""
    if coefficients.ndim == 0 or coefficients.shape[-1] != expected:
        raise ValueError(
            f"{name}: expected (..., {expected}) coefficients for this model, "
            f"got {tuple(coefficients.shape)}"
        )


def enlarge(image: Float[Tensor, "h w 3"], height: int) -> Float[Tensor, "H W 3"]:
    """Bilinear enlargement of a square map, texel centres at (i + 0.5) / size."""
    if image.shape[0] == height:
        return image
    planes = image.permute(2, 0, 1)[None]
    width = round(height * image.shape[1] / image.shape[0])
    big = F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
    return big[0].permute(1, 2, 0)


def _moved(value: object, target: torch.dtype | torch.device | str) -> object:
    """The field on the device, or cast when it is floating point; other values as they are."""
    if isinstance(value, Tensor):
        is_cast = isinstance(target, torch.dtype)
        return value if is_cast and not value.is_floating_point() else value.to(target)
    if isinstance(value, dict):
        return {key: _moved(entry, target) for key, entry in value.items()}
    if isinstance(value, LandmarkSet):
        return replace(
            value, **{f.name: _moved(getattr(value, f.name), target) for f in fields(value)}
        )
    return value
