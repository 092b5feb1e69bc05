"""How a surface is made visible: studio-lit clay for geometry, albedo under the fitted light.

For looking at only; the shading that a fit compares with photographs is `render/shade.py`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from hrnfit.camera import Camera
from hrnfit.fit.result import MeshLevel
from hrnfit.render.rasterizer import Raster, Rasterizer
from hrnfit.render.shade import shade

CLAY = (0.58, 0.565, 0.55)
"""Linear reflectance of the clay: a warm grey."""

LAMPS = (
    ((-0.55, -0.65, -0.75), (0.80, 0.785, 0.76)),
    ((0.90, -0.10, -0.55), (0.22, 0.25, 0.29)),
    ((0.10, 0.90, -0.40), (0.10, 0.10, 0.11)),
)
"""Direction to the lamp in the camera frame (x right, y down, z forward) and its linear colour: a key
from the upper left shows relief best, a cool fill and a floor bounce keep the shadow side readable."""

AMBIENT = 0.09
GLOSS, SHARPNESS = 0.07, 18.0
"""Strength and exponent of the highlight (Blinn-Phong): it makes fine relief readable."""


def clay(
    mesh: MeshLevel, camera: Camera, raster: Raster, rasterizer: Rasterizer
) -> Float[Tensor, "H W 3"]:
    """Linear colour of clay at the pixels of the raster, light fixed to the camera; 0 outside."""
    R = camera.T_cam_world[:3, :3].float()
    n_cam = mesh.normals.detach().cpu().float() @ R.mT
    hit = raster.triangle[0] >= 0
    corners = rasterizer.interpolate(n_cam.contiguous(), raster, mesh.faces)[0]
    n = normalize(corners[hit], dim=-1)
    to_eye = n.new_tensor([0.0, 0.0, -1.0])
    colour = torch.full_like(n, AMBIENT)
    shine = torch.zeros_like(n)
    for direction, lamp in LAMPS:
        to_lamp = normalize(n.new_tensor(direction), dim=0)
        half = normalize(to_lamp + to_eye, dim=0)
        lambert = (n @ to_lamp).clamp_min(0)[..., None]
        colour = colour + lambert * n.new_tensor(lamp)
        shine = shine + (n @ half).clamp_min(0)[..., None] ** SHARPNESS * n.new_tensor(lamp)
    return _spread(colour * n.new_tensor(CLAY) + GLOSS * shine, hit)


def lit_albedo(
    mesh: MeshLevel,
    albedo: Float[Tensor, "R R 3"],
    light: Float[Tensor, "9 3"],
    raster: Raster,
    rasterizer: Rasterizer,
) -> Float[Tensor, "H W 3"]:
    """Linear colour of the textured surface under spherical-harmonics light in the world frame."""
    hit = raster.triangle[0] >= 0
    corners = mesh.normals.detach().cpu().float().contiguous()
    normals = rasterizer.interpolate(corners, raster, mesh.faces)[0][hit]
    chart = mesh.uv.detach().cpu().float().contiguous()
    uv = rasterizer.interpolate(chart, raster, mesh.uv_faces)
    texture = albedo.detach().cpu().float().contiguous()
    colour = rasterizer.sample_texture(texture, uv)[0][hit]
    lit = colour * shade(normalize(normals, dim=-1), light.detach().cpu().float())
    return _spread(lit, hit)


def _spread(colours: Float[Tensor, "P 3"], hit: Bool[Tensor, "H W"]) -> Float[Tensor, "H W 3"]:
    """Colours of the covered pixels on the whole raster, black elsewhere: shading only what is seen
    halves the time of a picture."""
    image = colours.new_zeros(*hit.shape, 3)
    image[hit] = colours
    return image
