"""Skin paint and light of a synthetic subject: what the photographs show besides the shape."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.model.face_model import FaceModel
from hrnfit.render.shade import sh_basis
from hrnfit.synthetic.subject import Subject, smooth_noise

TEXTURE = 1024
"""Side of the painted albedo, texels: about 0.25 mm each."""

OCTAVES = ((40.0, 0.06), (12.0, 0.05), (4.0, 0.05), (1.5, 0.04))
"""Size (texels) and contrast (share of the albedo) of blotches, mottling, pores and grain."""


def paint(
    model: FaceModel, subject: Subject, rng: np.random.Generator
) -> tuple[Float[Tensor, "A"], Float[Tensor, "R R 3"]]:
    """Albedo coefficients and the painted albedo map, linear RGB."""
    coefficients = torch.from_numpy(rng.normal(0, 0.7, model.n_albedo)).float()
    base = model.albedo(coefficients).detach().float().clamp_min(0.01)
    base = torch.nn.functional.interpolate(
        base.movedim(-1, 0)[None], (TEXTURE, TEXTURE), mode="bilinear", align_corners=False
    )[0].movedim(0, -1)
    stops = sum(contrast * smooth_noise(rng, TEXTURE, 1, size) for size, contrast in OCTAVES)
    redness = 0.03 * smooth_noise(rng, TEXTURE, 1, 20.0)
    stops = stops + redness * torch.tensor([1.0, -0.6, -0.4]) + freckles(rng)
    painted = base * torch.exp(subject.texture_contrast * stops)
    return coefficients, painted.clamp(0.005, 0.95)


def freckles(rng: np.random.Generator, count: int = 260) -> Float[Tensor, "R R 3"]:
    """Dark reddish spots, 1 to 3 mm, as logarithm of a factor."""
    rows = np.arange(TEXTURE)
    out = np.zeros((TEXTURE, TEXTURE))
    for _ in range(count):
        v, u = rng.uniform(0.1, 0.9, 2) * TEXTURE
        radius, depth = rng.uniform(2.0, 5.0), rng.uniform(0.1, 0.5)
        low = np.maximum(0, np.array([v, u]) - 4 * radius).astype(int)
        high = np.minimum(TEXTURE, np.array([v, u]) + 4 * radius).astype(int)
        y, x = rows[low[0] : high[0], None] - v, rows[None, low[1] : high[1]] - u
        out[low[0] : high[0], low[1] : high[1]] -= depth * np.exp(-(x**2 + y**2) / (2 * radius**2))
    return torch.from_numpy(out).float()[..., None] * torch.tensor([0.7, 1.0, 1.1])


def studio_light(
    rng: np.random.Generator, R_world_head: Float[Tensor, "3 3"]
) -> Float[Tensor, "9 3"]:
    """A warm key from one side of the face, a cool fill from the other, and the room; world frame.

    Fitted to the radiance wanted on a sphere of normals, so it holds for any scaling of the basis.
    """
    normals = torch.from_numpy(rng.normal(size=(4096, 3))).float()
    normals = normals / normals.norm(dim=-1, keepdim=True)
    side = float(rng.choice([-1.0, 1.0]))
    key = torch.tensor([side * rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.7), 1.0])
    fill = torch.tensor([-side * rng.uniform(0.6, 1.2), rng.uniform(-0.1, 0.3), 0.8])
    radiance = torch.tensor([0.42, 0.43, 0.46]).expand(len(normals), 3)
    for direction, colour in ((key, (0.75, 0.70, 0.62)), (fill, (0.20, 0.22, 0.27))):
        world = R_world_head @ (direction / direction.norm())
        facing = (normals @ world).clamp_min(0)[:, None]
        radiance = radiance + facing * torch.tensor(colour)
    light = torch.linalg.lstsq(sh_basis(normals.double()), radiance.double()).solution
    return light.float().mul(1e4).round().div(1e4)  # the same in every run, to the last bit
