"""Eyeball fronts for a face whose eye openings are holes.

A scan, and every camera, sees an eyeball there. Without one the nearest skin is the inside of a lid,
which faces the other way. Each cap is rings of vertices between the hole's rim and the apex of the sphere
that the rim lies on; in every mode a ring follows its rim, shrunk towards the rim's mean motion, so a
capped model stays linear.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

RINGS = 5
"""Rings from rim to apex; 2.4 mm apart in an opening 24 mm wide, as far as the lids' own vertices."""


@dataclass(frozen=True)
class EyeCap:
    """What to append to a mesh to close one hole."""

    loop: Int[Tensor, "K"]
    """Rim, in the direction of its triangles' edges."""
    share: Float[Tensor, "M"]
    """How far each new vertex follows its own rim vertex; the rest is the rim's mean."""
    own: Int[Tensor, "M"]
    """Place in the loop of the rim vertex that each new one belongs to."""
    points: Float[Tensor, "M 3"]
    """New vertices of the mean, mm."""
    faces: Int[Tensor, "G 3"]
    """Triangles over rim and new vertices, which are counted from `first`."""

    def modes(self, basis: Float[Tensor, "I N 3"]) -> Float[Tensor, "I M 3"]:
        """The bases' motion of the new vertices, from that of the rim."""
        rim = basis[:, self.loop.long()]
        share = self.share[:, None]
        return share * rim[:, self.own.long()] + (1.0 - share) * rim.mean(dim=1, keepdim=True)


def eye_cap(points: Float[Tensor, "N 3"], loop: Int[Tensor, "K"], first: int) -> EyeCap:
    """The cap of a hole whose rim is `loop`; its vertices get the indices from `first` on."""
    rim = points[loop.long()].double()
    centre, radius = fitted_sphere(rim)
    arms = rim - centre
    axis = torch.nn.functional.normalize(arms.mean(dim=0), dim=0) * radius
    n = len(loop)
    rows, shares = [], []
    for ring in range(RINGS - 1, 0, -1):
        s = ring / RINGS
        towards = torch.nn.functional.normalize(s * arms + (1.0 - s) * axis, dim=1)
        reach = radius + s * (arms.norm(dim=1, keepdim=True) - radius)
        rows.append(centre + towards * reach)
        shares.append(torch.full((n,), s))
    rows.append((centre + axis)[None])
    shares.append(torch.zeros(1))
    own = torch.cat([torch.arange(n).repeat(RINGS - 1), torch.zeros(1, dtype=torch.long)])
    return EyeCap(
        loop=loop,
        share=torch.cat(shares),
        own=own.int(),
        points=torch.cat(rows).to(points),
        faces=_faces(loop, first),
    )


def fitted_sphere(points: Float[Tensor, "K 3"]) -> tuple[Float[Tensor, "3"], float]:
    """Centre and radius by linear least squares: |p|^2 = 2 p c + (r^2 - |c|^2).

    The rims of ICT's eye openings lie on one of 15 mm within 0.1 mm.
    """
    middle = points.mean(dim=0)
    local = points - middle
    rows = torch.cat([2.0 * local, torch.ones_like(local[:, :1])], dim=1)
    squares = local.square().sum(dim=1, keepdim=True)
    solved = torch.linalg.lstsq(rows, squares).solution[:, 0]
    centre = solved[:3]
    return middle + centre, float((solved[3] + centre.square().sum()).sqrt())


def eye_openings(
    points: Float[Tensor, "N 3"], loops: list[Int[Tensor, "_"]], eyes: Float[Tensor, "E 3"]
) -> list[Int[Tensor, "_"]]:
    """For each eye (the middle of its corners, mm) the hole around it, if there is one.

    Around it: of all rims its mean is nearest the eye, within half its own width.
    """
    found = []
    for eye in eyes if loops else ():
        rims = [points[loop.long()] for loop in loops]
        gaps = [float((rim.mean(dim=0) - eye).norm()) for rim in rims]
        nearest = min(range(len(loops)), key=gaps.__getitem__)
        width = float((rims[nearest].amax(dim=0) - rims[nearest].amin(dim=0)).max())
        if gaps[nearest] < 0.5 * width:
            found.append(loops[nearest])
    return found


def _faces(loop: Int[Tensor, "K"], first: int) -> Int[Tensor, "G 3"]:
    """Strips from rim to innermost ring, then a fan; wound against the rim, as its neighbours are."""
    n = len(loop)
    inner = torch.arange(first, first + n * (RINGS - 1)).reshape(RINGS - 1, n)
    rings = torch.cat([loop.long()[None], inner])
    strips = []
    for outside, inside in itertools.pairwise(rings):
        after, deeper = outside.roll(-1), inside.roll(-1)
        strips.append(torch.stack([after, outside, inside], dim=1))
        strips.append(torch.stack([after, inside, deeper], dim=1))
    last = rings[-1]
    apex = torch.full_like(last, first + n * (RINGS - 1))
    strips.append(torch.stack([last.roll(-1), last, apex], dim=1))
    return torch.cat(strips).int()
