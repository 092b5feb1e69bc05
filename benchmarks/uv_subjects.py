"""Synthetic subjects before the analyzer's camera: photograph, and the true texture of every texel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.geometry import mesh
from hrnfit.geometry.rotation import rigid_matrix, rotation_exp
from hrnfit.importers.deep3d import MM_PER_UNIT, deep3d_camera
from hrnfit.infer.own_maps import OwnMaps
from hrnfit.io.image import srgb_from_linear
from hrnfit.model.load import load_model
from hrnfit.render.shade import safe_normalize, sh_basis
from hrnfit.render.texture import UvRaster, texel_visibility, uv_interpolate
from hrnfit.synthetic import Subject, Truth
from hrnfit.synthetic.paint import paint, studio_light
from hrnfit.synthetic.rig import _develop, _photograph
from hrnfit.synthetic.subject import sample_shape

CROP, SUPERSAMPLE = 512, 3
YAWS, SEEDS = (0.0, 30.0, 55.0), (0, 1)
MODEL = load_model()
MAPS = OwnMaps.of(MODEL)
"""Of 256 texels."""
Rows = dict[str, dict[str, float]]
"""Figures by what was done, and by their name."""


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


def subjects(deformation: float = 0.8, light: float = 1.0) -> list[UvSubject]:
    """Each seed from each side; deformation: root mean square, mm."""
    own = Subject(deformation_mm=deformation, displacement_mm=1e-9)
    return [uv_subject(seed, yaw, own, light) for seed in SEEDS for yaw in YAWS]


def uv_subject(seed: int, yaw: float, subject: Subject, light: float = 1.0) -> UvSubject:
    """A subject turned by `yaw` degrees, photographed with the analyzer's camera under so much light."""
    rng = np.random.default_rng(seed)
    shape = sample_shape(MODEL, subject, rng)
    turn = rotation_exp(torch.tensor([0.0, math.radians(yaw), 0.0]))
    T = rigid_matrix(turn, -turn @ (shape.coarse.amin(0) + shape.coarse.amax(0)) / 2)
    coefficients, albedo = paint(MODEL, subject, rng)
    placed = (p @ T[:3, :3].T + T[:3, 3] for p in (shape.coarse, shape.mid, shape.surface))
    coarse, mid, dense = placed
    truth = Truth(
        shape=shape,
        T_world_head=T,
        albedo_coefficients=coefficients,
        albedo=albedo,
        light=light * studio_light(rng, torch.eye(3)),
        coarse=coarse,
        mid=mid,
        surface=dense[: len(mid)],
        normals=mesh.vertex_normals(dense, shape.faces)[: len(mid)],
    )
    camera = deep3d_camera().resize(CROP, CROP)
    radiance, mask, _ = _photograph(truth, dense, camera, SUPERSAMPLE)
    image = srgb_from_linear(_develop(radiance, mask, subject.noise, rng).clamp(0, 1))
    return UvSubject(truth, image.movedim(-1, 0), coarse / MM_PER_UNIT, mid / MM_PER_UNIT)


def hidden_by_nothing(posed: Float[Tensor, "N 3"]) -> tuple[Bool[Tensor, "S S"], Tensor]:
    """Texels that the crop shows, however steep, and the cosine of their view."""
    camera, vertices = deep3d_camera(posed.dtype).resize(CROP, CROP), MM_PER_UNIT * posed
    points = torch.cat([camera.project(vertices), camera.depth(vertices)[:, None]], 1)[None]
    raster = MAPS.rasterizer.rasterize(points, MAPS.chart.faces, CROP, CROP)
    normals = uv_interpolate(mesh.vertex_normals(vertices, MAPS.chart.faces), MAPS.chart)
    towards = camera.centre - uv_interpolate(vertices, MAPS.chart)
    cosine = (safe_normalize(normals) * safe_normalize(towards)).sum(-1)
    return texel_visibility(points, raster, MAPS.chart)[0], cosine


def averaged(rows: list[Rows]) -> Rows:
    """Means over subjects of every figure, to four digits; those that a subject lacks are left out."""
    return {
        name: {key: float(f"{np.nanmean([row[name][key] for row in rows]):.4g}") for key in values}
        for name, values in rows[0].items()
    }


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
