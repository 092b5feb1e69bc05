"""The texture brought onto the deformed mesh by a flow within the map (HRN, sec. 3.2).

Texel p of T holds the picture's colour at x(p), the projection of the coarse surface. Deformed, it lies at
y(p) = pi(X(p) + D(p)), so the re-aligned texture is T'(p) = T(q) with x(q) = y(p): x is inverted by Newton's
method on the bilinear cells of its map, from q = p, where the first round is the first-order flow
J^-1 (y - x).

The other way is `OwnMaps.texture` with the deformed mesh, which looks at the picture again, and it is what
our pipeline does. On synthetic faces deformed by 0.8, 2 and 4 mm its error is 0.0057, 0.0060 and 0.0066
(stale: 0.019, 0.032, 0.044), that of the flow 0.0087, 0.011 and 0.013, where it is defined a third to a half
more than the other's; 4, 5 and 8 % of what is seen is undefined. The first-order flow alone errs 0.0097,
0.014 and 0.022. The flow takes a fifth longer; most of both is the fill.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.check import check_shape
from hrnfit.geometry.map_fill import fill
from hrnfit.infer.own_maps import SWEEPS
from hrnfit.infer.texel_view import TexelView
from hrnfit.render.rasterizer import Rasterizer

ROUNDS = 6
"""The 12th round changes the error by less than 1 %."""
STEP = 8.0
"""Largest step of one round, texels: the first ones may run off where the surface is steep."""
MISS = 0.05
"""Largest distance of x(q) from y(p) that counts as found, px."""
TORN = 8.0
"""A cell this many times as long on the screen as most holds two shores of a seam."""


@dataclass(frozen=True)
class ReverseFlow:
    """Where each texel of the deformed mesh finds its colour in the texture of the coarse one."""

    places: Float[Tensor, "S S 2"]
    """q, texels from the corner of the map (column, row); p itself where undefined."""
    defined: Bool[Tensor, "S S"]
    """Seen on the deformed mesh, and q lies between four texels that were seen on the coarse one."""


@torch.no_grad()
def reverse_flow(
    before: TexelView, after: TexelView, rounds: int = ROUNDS, miss: float = MISS
) -> ReverseFlow:
    """The flow from the coarse mesh's view to the deformed one's, both of one crop and chart.

    rounds: of Newton's method. miss: px between x(q) and y(p) from which on q is not found. No gradient. ValueError when the crops or the maps differ in size.
    """
    check_shape("after.pixels", after.pixels, tuple(before.pixels.shape), "take maps of one size")
    if before.side != after.side:
        raise ValueError(
            f"reverse_flow: views of crops of {before.side} and {after.side} px; take one crop"
        )
    own = _centres(before.pixels)
    wanted = after.seen
    target, place = after.pixels[wanted], own[wanted]
    for _ in range(rounds):
        at, jacobian = _cell(before.pixels, place)
        step = _solved(jacobian, target - at)
        length = step.norm(dim=1, keepdim=True)
        place = (place + step * (STEP / length.clamp_min(STEP))).clamp(0.0, float(len(own)))
    at, _ = _cell(before.pixels, place)
    column, row = _first(place, len(own)).unbind(1)
    found = ((target - at).norm(dim=1) < miss) & _sound(before)[row, column]
    places, defined = own.clone(), wanted.clone()
    places[wanted] = torch.where(found[:, None], place, own[wanted])
    defined[wanted] = found
    return ReverseFlow(places, defined)


def realigned(
    texture: Float[Tensor, "C S S"], flow: ReverseFlow, rasterizer: Rasterizer
) -> Float[Tensor, "C S S"]:
    """T' of eq. 4: the texture looked up along the flow, filled in where that is undefined."""
    uv = flow.places[None] / texture.shape[-1]
    warped = rasterizer.sample_texture(texture.movedim(0, -1), uv)[0]
    whole = torch.ones_like(flow.defined)
    return fill(warped, flow.defined, whole, sweeps=SWEEPS).movedim(-1, 0)


def _centres(like: Float[Tensor, "S S 2"]) -> Float[Tensor, "S S 2"]:
    """Column and row of each texel's centre."""
    centre = torch.arange(len(like), dtype=like.dtype, device=like.device) + 0.5
    row, column = torch.meshgrid(centre, centre, indexing="ij")
    return torch.stack([column, row], dim=-1)


def _first(place: Float[Tensor, "P 2"], size: int) -> Int[Tensor, "P 2"]:
    """Column and row of the first of the four texels around a place."""
    return (place - 0.5).floor().long().clamp(0, size - 2)


def _cell(
    pixels: Float[Tensor, "S S 2"], place: Float[Tensor, "P 2"]
) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2 2"]]:
    """x at a place, px, and its derivative by column and row, of the bilinear cell there."""
    first = _first(place, len(pixels))
    column, row = first.unbind(1)
    a, b = pixels[row, column], pixels[row, column + 1]
    c, d = pixels[row + 1, column], pixels[row + 1, column + 1]
    u, v = (place - 0.5 - first).unbind(1)
    u, v = u[:, None], v[:, None]
    across = (b - a) * (1 - v) + (d - c) * v
    down = (c - a) * (1 - u) + (d - b) * u
    at = a * (1 - u) * (1 - v) + b * u * (1 - v) + c * (1 - u) * v + d * u * v
    return at, torch.stack([across, down], dim=-1)


def _solved(jacobian: Float[Tensor, "P 2 2"], miss: Float[Tensor, "P 2"]) -> Float[Tensor, "P 2"]:
    """J^-1 miss by Cramer's rule; 0 where J is singular."""
    (a, b), (c, d) = (row.unbind(-1) for row in jacobian.unbind(-2))
    determinant = a * d - b * c
    scale = jacobian.square().sum((-1, -2))
    singular = determinant.abs() <= 1e-6 * scale
    inverse = torch.where(singular, 0.0, 1.0 / torch.where(singular, 1.0, determinant))
    x, y = miss.unbind(-1)
    return torch.stack([(d * x - b * y) * inverse, (a * y - c * x) * inverse], dim=-1)


def _sound(view: TexelView) -> Bool[Tensor, "T T"]:
    """Cells between texels that are all seen and lie together on the screen; T is S - 1."""
    seen = view.seen
    sound = seen[:-1, :-1] & seen[:-1, 1:] & seen[1:, :-1] & seen[1:, 1:]
    across = (view.pixels[:, 1:] - view.pixels[:, :-1]).norm(dim=-1)
    down = (view.pixels[1:] - view.pixels[:-1]).norm(dim=-1)
    sides = (across[:-1], across[1:], down[:, :-1], down[:, 1:])
    longest = torch.stack(sides).amax(0)
    if not bool(sound.any()):
        return sound
    return sound & (longest < TORN * longest[sound].median())
