"""A model dressed up so that a face detector recognises it: eyes, dark brows, red lips.

Only for measuring dense landmarks on renders; the fit never sees these colours. Holes at the eyes
get eyeballs with an iris, a hole at the mouth a dark bottom.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.uv import boundary_loops
from hrnfit.model.face_model import FaceModel
from hrnfit.model.linear import landmark_positions

SKIN = (0.50, 0.31, 0.22)
LIPS = (0.38, 0.14, 0.12)
BROWS = (0.07, 0.045, 0.03)
LASHES = (0.06, 0.04, 0.03)
MOUTH = (0.03, 0.01, 0.01)
WHITE = (0.72, 0.68, 0.64)
IRIS = (0.10, 0.06, 0.035)
PUPIL = (0.005, 0.005, 0.005)
"""Linear RGB of a medium skin, as photographs show it."""

EYE_RADIUS = 12.0
"""Radius of an adult eyeball, mm."""

IRIS_RADIUS, PUPIL_RADIUS = 5.9, 2.0
"""mm."""

PAINTED_CONTRAST = 0.8
"""A model whose brows are darker than this share of its skin has features of its own."""


class Scene(NamedTuple):
    """A coloured mesh; the first triangles are the model's own."""

    vertices: Float[Tensor, "M 3"]
    """mm, head frame."""
    faces: Int[Tensor, "G 3"]
    colours: Float[Tensor, "M 3"]
    """Linear RGB."""


def painted_scene(model: FaceModel, vertices: Float[Tensor, "N 3"]) -> Scene:
    """The model in the given shape, coloured, with its holes at eyes and mouth filled."""
    parts = [Scene(vertices, model.faces, skin_colours(model))]
    for loop in boundary_loops(model.faces, len(vertices)):
        rim = vertices[loop]
        if _is_rim(model, "eyes", loop):
            parts.append(_eyeball(rim))
        elif _is_rim(model, "mouth", loop):
            parts.append(_mouth_bottom(rim))
    offsets = torch.tensor([0, *(len(part.vertices) for part in parts[:-1])]).cumsum(0)
    return Scene(
        torch.cat([part.vertices for part in parts]),
        torch.cat([p.faces.int() + int(start) for p, start in zip(parts, offsets, strict=True)]),
        torch.cat([part.colours for part in parts]),
    )


def _is_rim(model: FaceModel, region: str, loop: Int[Tensor, "K"]) -> bool:
    """Whether the whole boundary loop lies in the region; models may lack the region."""
    return region in model.regions and bool(model.regions[region][loop].all())


def skin_colours(model: FaceModel) -> Float[Tensor, "N 3"]:
    """The model's mean albedo at its vertices, or paint where it shows no features."""
    own = _albedo_at_vertices(model)
    regions = model.regions
    if {"brows", "skin"} <= regions.keys():
        brow, skin = (own[regions[name]].mean() for name in ("brows", "skin"))
        if float(brow) < PAINTED_CONTRAST * float(skin):
            return own
    missing = {"brows", "lips", "eyes", "mouth"} - regions.keys()
    if missing:
        raise ValueError(
            f"model '{model.info.name}' has neither an albedo with features nor the region masks "
            f"{', '.join(sorted(missing))} to paint them; add the masks or ibug68 landmarks"
        )
    colours = torch.tensor(SKIN).expand(len(own), 3).clone()
    lips = _lip_mask(model)
    for mask, paint, smoothing in (
        (lips, LIPS, 1),
        (regions["brows"], BROWS, 2),
        (regions["eyes"], LASHES, 0),
    ):
        soft = _smoothed(mask, model.faces, smoothing)[:, None]
        colours = colours * (1.0 - soft) + soft * torch.tensor(paint)
    return colours


def _lip_mask(model: FaceModel) -> Bool[Tensor, "N"]:
    """Red of the lips: the region without its outermost 2 mm, which is skin."""
    neutral = _neutral(model)
    outer = landmark_positions(neutral, model.faces, model.landmarks["ibug68"])[48:60]
    distance = torch.cdist(neutral, outer).amin(dim=1)
    centre = outer.mean(dim=0)
    inside = (neutral - centre).norm(dim=1) < torch.cdist(centre[None], outer).amax() * 1.02
    lips = model.regions["lips"] & inside
    return lips & ((distance > 1.5) | model.regions["mouth"])


def _neutral(model: FaceModel) -> Float[Tensor, "N 3"]:
    return model.shape(torch.zeros(model.n_identity), torch.zeros(model.n_expression))


def _albedo_at_vertices(model: FaceModel) -> Float[Tensor, "N 3"]:
    """Mean albedo at each vertex, nearest texel; a seam vertex takes its last corner."""
    image = model.albedo(torch.zeros(model.n_albedo))
    size = torch.tensor([image.shape[1], image.shape[0]])
    texel = (model.uv * size).long().clamp_min(0).minimum(size - 1)
    colours = torch.zeros(len(next(iter(model.regions.values()), _neutral(model))), 3)
    colours[model.faces.long().flatten()] = image[texel[:, 1], texel[:, 0]][
        model.uv_faces.long().flatten()
    ]
    return colours


def _smoothed(mask: Bool[Tensor, "N"], faces: Int[Tensor, "F 3"], times: int) -> Float[Tensor, "N"]:
    """The mask averaged over neighbours, some times over: a soft edge."""
    value = mask.float()
    index = faces.long()
    count = torch.zeros(len(mask)).index_add_(0, index.flatten(), torch.ones(index.numel()))
    for _ in range(times):
        mean = value[index].mean(dim=1, keepdim=True).expand(-1, 3).flatten()
        total = torch.zeros(len(mask)).index_add_(0, index.flatten(), mean)
        value = total / count.clamp_min(1.0)
    return value


def _eyeball(rim: Float[Tensor, "K 3"]) -> Scene:
    """Front of an eyeball behind the lids' rim, looking along +z."""
    centre = rim.mean(dim=0)
    normal = torch.linalg.svd(rim - centre, full_matrices=False)[2][2]
    normal = normal * normal[2].sign()
    across = (rim - centre) - ((rim - centre) @ normal)[:, None] * normal
    depth = math.sqrt(max(EYE_RADIUS**2 - float((across**2).sum(dim=1).mean()), 1.0))
    rings, sides = 28, 48
    polar = torch.linspace(0.0, 0.5 * math.pi, rings)[:, None]
    around = torch.arange(sides) * (2.0 * math.pi / sides)
    ball = torch.stack(
        [
            polar.sin() * around.cos(),
            polar.sin() * around.sin(),
            polar.cos().expand(rings, sides),
        ],
        dim=-1,
    )
    points = centre - normal * depth + (EYE_RADIUS - 0.3) * ball.reshape(-1, 3)
    radius = (EYE_RADIUS * polar.sin()).expand(rings, sides).reshape(-1)
    colours = torch.tensor(WHITE).expand(len(points), 3).clone()
    colours[radius < IRIS_RADIUS] = torch.tensor(IRIS)
    colours[radius < PUPIL_RADIUS] = torch.tensor(PUPIL)
    ring, side = torch.meshgrid(torch.arange(rings - 1), torch.arange(sides), indexing="ij")
    a, b = ring * sides + side, ring * sides + (side + 1) % sides
    lower = torch.stack([a, a + sides, b + sides], dim=-1)
    upper = torch.stack([a, b + sides, b], dim=-1)
    return Scene(points, torch.cat([lower, upper]).reshape(-1, 3), colours)


def _mouth_bottom(rim: Float[Tensor, "K 3"]) -> Scene:
    """A dark funnel behind the lips."""
    back = rim.mean(dim=0, keepdim=True) - torch.tensor([[0.0, 0.0, 8.0]])
    k = torch.arange(len(rim))
    fan = torch.stack([k.roll(-1), k, torch.full_like(k, len(rim))], dim=1)
    colours = torch.tensor(MOUTH).expand(len(rim) + 1, 3).clone()
    return Scene(torch.cat([rim, back]), fan, colours)
