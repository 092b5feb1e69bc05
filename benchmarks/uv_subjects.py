"""Synthetic subjects before the analyzer's camera: photograph, and the true texture of every texel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.geometry import mesh
from hrnfit.geometry.rotation import rigid_matrix, rotation_exp
from hrnfit.importers.deep3d import MM_PER_UNIT, deep3d_camera
from hrnfit.io.image import srgb_from_linear
from hrnfit.model.face_model import FaceModel
from hrnfit.render.shade import safe_normalize, sh_basis
from hrnfit.render.texture import UvRaster, uv_interpolate
from hrnfit.synthetic import Subject, Truth
from hrnfit.synthetic.paint import paint, studio_light
from hrnfit.synthetic.rig import _develop, _photograph
from hrnfit.synthetic.subject import sample_shape

CROP, SUPERSAMPLE = 512, 3


@dataclass(frozen=True)
class UvSubject:
    """One subject in the analyzer's world, without displacement."""

    truth: Truth
    """World of mm, x right, y up, z to the viewer."""
    image: Float[Tensor, "3 H H"]
    """The crop, sRGB, with sensor noise, rounded to 8 bits."""
    coarse: Float[Tensor, "N 3"]
    """Posed vertices without the deformation, decimetres."""
    mid: Float[Tensor, "N 3"]
    """Posed vertices with it."""

    def albedo(self, side: int) -> Float[Tensor, "S S 3"]:
        """True albedo, linear RGB, means over the texels."""
        return reduced(self.truth.albedo, side)

    def shading(self, chart: UvRaster) -> Float[Tensor, "S S 3"]:
        """True irradiance at the texels of the deformed mesh."""
        vertices = self.truth.mid
        normals = uv_interpolate(mesh.vertex_normals(vertices, chart.faces), chart)
        return (sh_basis(safe_normalize(normals)) @ self.truth.light).clamp_min(0)

    def texture(self, chart: UvRaster) -> Float[Tensor, "S S 3"]:
        """What a photograph of infinite resolution would show at the texels, sRGB."""
        albedo = self.albedo(chart.triangle.shape[0])
        return srgb_from_linear((albedo * self.shading(chart)).clamp(0, 1))


def uv_subject(
    model: FaceModel, seed: int, yaw: float, subject: Subject, light_scale: float = 1.0
) -> UvSubject:
    """A subject turned by `yaw` degrees, its photograph taken with the analyzer's camera."""
    rng = np.random.default_rng(seed)
    shape = sample_shape(model, replace(subject, displacement_mm=1e-9), rng)
    turn = rotation_exp(torch.tensor([0.0, math.radians(yaw), 0.0]))
    middle = turn @ (shape.coarse.amin(0) + shape.coarse.amax(0)) / 2
    # the nose stands in front of the middle: Deep3D puts the world's origin about the cheeks
    T = rigid_matrix(turn, torch.tensor([0.0, 0.0, 0.0]) - middle)
    coefficients, albedo = paint(model, subject, rng)
    coarse, mid, dense = (
        points @ T[:3, :3].T + T[:3, 3] for points in (shape.coarse, shape.mid, shape.surface)
    )
    normals = mesh.vertex_normals(dense, shape.faces)[: len(mid)]
    light = light_scale * studio_light(rng, torch.eye(3))
    truth = Truth(
        shape, T, coefficients, albedo, light, coarse, mid, dense[: len(mid)], normals
    )  # fmt: skip
    camera = deep3d_camera().resize(CROP, CROP)
    radiance, mask, _ = _photograph(truth, dense, camera, SUPERSAMPLE)
    image = srgb_from_linear(_develop(radiance, mask, subject.noise, rng).clamp(0, 1))
    return UvSubject(truth, image.movedim(-1, 0), coarse / MM_PER_UNIT, mid / MM_PER_UNIT)


def reduced(texture: Float[Tensor, "R R C"], side: int) -> Float[Tensor, "S S C"]:
    """Means over blocks."""
    block = texture.shape[0] // side
    pooled = torch.nn.functional.avg_pool2d(texture.movedim(-1, 0)[None], block)
    return pooled[0].movedim(0, -1)


def error(
    got: Float[Tensor, "S S C"], true: Float[Tensor, "S S C"], where: Bool[Tensor, "S S"]
) -> float:
    """Root mean square over texels and channels."""
    return float((got - true)[where].square().mean().sqrt())
