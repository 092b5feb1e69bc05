"""The subject: a sample of a face model with a deformation and a displacement map of its own.

Laws: mid = shape(identity, expression) + deformation(uv), in the head frame; surface = mid +
displacement(uv) along its normal. No code of the fit is used: an error there cannot hide here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn import functional

from hrnfit.geometry import mesh
from hrnfit.model.face_model import FaceModel
from hrnfit.state import FaceState

DEFORMATION, DISPLACEMENT = 64, 256
"""Resolution of the true maps, the defaults of a fit."""


@dataclass(frozen=True)
class Subject:
    """How far the subject lies from the model's mean, and how it is painted and photographed."""

    identity_sd: float = 0.8
    """Standard deviation of the identity coefficients, in the model's own."""
    expression: float = 0.15
    """Largest activation of an expression; three modes are active."""
    deformation_mm: float = 0.8
    """Root mean square length of the deformation map, mm."""
    deformation_width: float = 5.0
    """Standard deviation of the Gaussian that the deformation map is smoothed with, of its 64 texels."""
    tangential: bool = False
    """Whether the deformation map also slides the surface along itself. Where the albedo is free to
    follow, no photograph shows such a slide: it is a gauge, and errors per vertex would measure it."""
    displacement_mm: float = 0.06
    """Root mean square of the displacement map, mm."""
    displacement_widths: tuple[float, float] = (3.0, 1.2)
    """The same of the two parts of the displacement map, of its 256 texels."""
    texture_contrast: float = 1.0
    """1 is a freckled skin in sharp light; 0 leaves the model's own albedo."""
    noise: float = 0.004
    """Standard deviation of the sensor noise, share of full scale."""


@dataclass(frozen=True)
class Shape:
    """Coefficients, maps and the surface they make, in the head frame."""

    identity: Float[Tensor, "I"]
    expression: Float[Tensor, "E"]
    deformation: Float[Tensor, "D D 3"]
    displacement: Float[Tensor, "S S"]
    coarse: Float[Tensor, "N 3"]
    mid: Float[Tensor, "N 3"]
    surface: Float[Tensor, "M 3"]
    """Displaced, on a mesh of four times the triangles; the model's vertices come first."""
    faces: Int[Tensor, "G 3"]
    uv: Float[Tensor, "Muv 2"]
    uv_faces: Int[Tensor, "G 3"]


@dataclass(frozen=True)
class Truth:
    """The subject as it stands in the world."""

    shape: Shape
    T_world_head: Float[Tensor, "4 4"]
    """Head pose, mm."""
    albedo_coefficients: Float[Tensor, "A"]
    """Of the model's albedo below the paint, standard deviations."""
    albedo: Float[Tensor, "R R 3"]
    """Painted albedo in UV, linear RGB."""
    light: Float[Tensor, "9 3"]
    """Spherical harmonics in the world frame, linear RGB."""
    coarse: Float[Tensor, "N 3"]
    """Vertices of the model, world mm."""
    mid: Float[Tensor, "N 3"]
    """With the deformation map."""
    surface: Float[Tensor, "N 3"]
    """With the displacement map too: what was photographed, at the model's vertices."""
    normals: Float[Tensor, "N 3"]
    """Unit normals of the surface, world frame."""

    def state(self, model: FaceModel, views: int, albedo_map: int = 512) -> FaceState:
        """The unknowns of a fit at their true values: one frame, one light, one displacement map."""
        sizes = (albedo_map, albedo_map)
        painted, own = (
            functional.interpolate(
                image.movedim(-1, 0)[None], sizes, mode="bilinear", antialias=True
            )[0].movedim(0, -1)
            for image in (self.albedo, model.albedo(self.albedo_coefficients).detach().float())
        )
        shape = self.shape
        return FaceState(
            identity=shape.identity,
            expression=shape.expression[None],
            albedo=self.albedo_coefficients,
            pose=torch.zeros(1, 6),
            pose_reference=self.T_world_head[None],
            camera=torch.zeros(views, 6),
            log_focal=torch.zeros(views),
            deformation=shape.deformation,
            displacement=shape.displacement[None],
            light=self.light[None],
            albedo_map=painted - own,
        )


def sample_shape(model: FaceModel, subject: Subject, rng: np.random.Generator) -> Shape:
    """One subject; the random numbers alone decide which."""
    identity = torch.from_numpy(rng.normal(0, subject.identity_sd, model.n_identity)).float()
    expression = torch.zeros(model.n_expression)
    for mode in rng.choice(model.n_expression, 3, replace=False):
        expression[mode] = rng.uniform(0.3, 1.0) * subject.expression
    coarse = model.shape(identity, expression).detach().float()
    deformation = smooth_noise(rng, DEFORMATION, 3, subject.deformation_width)
    if not subject.tangential:
        deformation = deformation[..., :1] * normal_map(model, coarse, DEFORMATION)
    length = deformation.square().sum(-1).mean().sqrt()
    deformation = deformation * (subject.deformation_mm / length)
    wide, narrow = subject.displacement_widths
    fine = smooth_noise(rng, DISPLACEMENT, 1, wide) + smooth_noise(rng, DISPLACEMENT, 1, narrow)
    displacement = fine[..., 0] * (subject.displacement_mm / fine.square().mean().sqrt())
    return _assemble(model, identity, expression, deformation, displacement)


def _assemble(
    model: FaceModel,
    identity: Tensor,
    expression: Tensor,
    deformation: Tensor,
    displacement: Tensor,
) -> Shape:
    coarse = model.shape(identity, expression).detach().float()
    uv = model.uv.float()
    mid = coarse + sample_map(deformation, vertex_uv(uv, model.faces, model.uv_faces, len(coarse)))
    cut, cut_uv = mesh.subdivide(model.faces, len(coarse)), mesh.subdivide(model.uv_faces, len(uv))
    dense, faces = cut.apply(coarse), cut.faces
    dense_uv, uv_faces = cut_uv.apply(uv), cut_uv.faces
    at = vertex_uv(dense_uv, faces, uv_faces, len(dense))
    dense_mid = dense + sample_map(deformation, at)
    normals = mesh.vertex_normals(dense_mid, faces)
    surface = dense_mid + sample_map(displacement[..., None], at) * normals
    return Shape(
        identity, expression, deformation, displacement,
        coarse, mid, surface, faces, dense_uv, uv_faces,
    )  # fmt: skip


def normal_map(
    model: FaceModel, vertices: Float[Tensor, "N 3"], size: int
) -> Float[Tensor, "size size 3"]:
    """Unit normals at the texel centres: those of the vertices nearest in the chart, averaged. Texels
    beyond the chart continue it."""
    uv = vertex_uv(model.uv.float(), model.faces, model.uv_faces, len(vertices))
    centres = (torch.arange(size) + 0.5) / size
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    _, near = KDTree(uv.numpy()).query(torch.stack([u, v], -1).numpy(), k=6)
    normals = mesh.vertex_normals(vertices, model.faces)[torch.from_numpy(near)].mean(-2)
    return functional.normalize(normals, dim=-1)


def vertex_uv(
    uv: Float[Tensor, "Nuv 2"], faces: Int[Tensor, "F 3"], uv_faces: Int[Tensor, "F 3"], n: int
) -> Float[Tensor, "N 2"]:
    """Texture coordinate of each vertex; at a seam, one of its several."""
    out = uv.new_zeros(n, 2)
    out[faces.long().reshape(-1)] = uv[uv_faces.long().reshape(-1)]
    return out


def sample_map(texture: Float[Tensor, "H W C"], uv: Float[Tensor, "N 2"]) -> Float[Tensor, "N C"]:
    """Bilinear look-up, texel centres at (i + 0.5) / size, clamped at the border."""
    image = texture.movedim(-1, 0)[None]
    values = functional.grid_sample(
        image, 2 * uv[None, :, None] - 1, align_corners=False, padding_mode="border"
    )
    return values[0, :, :, 0].T


def smooth_noise(
    rng: np.random.Generator, size: int, channels: int, sigma: float
) -> Float[Tensor, "size size channels"]:
    """Gaussian noise smoothed over `sigma` texels, zero mean and unit variance per channel."""
    # Wide noise is smoothed on a coarse grid: eight maps of 1024 px took 3.7 s at full size.
    coarse = size if sigma <= 3 else max(8, math.ceil(size * 2 / sigma))
    noise = rng.normal(size=(coarse, coarse, channels))
    spread = sigma * coarse / size
    noise = gaussian_filter(noise, (spread, spread, 0), mode="nearest")
    noise = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, -1)
    noise = (noise - noise.mean((0, 1))) / noise.std((0, 1))
    return torch.from_numpy(noise).float()
