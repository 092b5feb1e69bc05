"""Detail normals as the released code shades them, and which of our displacements shades alike.

Every texel's normal comes from a grid of triangles over the texels. With n0 of the mesh's points, n1
of the points moved by d along the vertex normals N, and S = diag(-1, -1, 1):

    detail normal = N + S (n1 - n0), not normalised.

S turns the tilt round. Let o = 1 where the grid winds outwards (grid normal = rows x columns = N),
-1 where the chart is mirrored (grid normal = -N). Moving by d tilts the outward normal by -grad d, so
n1 - n0 = -o grad d and the released tilt is -o S grad d. Along the surface, averaged over the
directions that grad d may have, the diagonal of S acts as (trace S - N.S N) / 2 = -N_z^2: never with
the other sign. Hence our displacement that shades alike is near -o d, whichever way u and v are turned:
exactly where the skin faces the viewer. Where it is turned away by t, a tilt about the axis of that
turn comes with the factor cos 2t, and sin 2t of it along the normal; other tilts are unchanged. Such
tilts are in general the gradient of no map; the nearest one is found by least squares from -o d.

Measured on an ellipsoid of a head's size turned by 0.5 rad, 256 x 256 texels, with creases of 0.3 mm:
root mean square angle in degrees to the released detail normals, by the turn of the skin in degrees

                       0-15  15-30  30-45  45-60  60-80
    no displacement     7.7    7.5    7.1    8.1    8.6
    -o d                0.7    2.2    5.3    9.1   12.1
    by least squares    0.4    1.2    2.7    4.8    6.1
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

SIDE_COLUMNS, SIDE_ROWS = 2, 5
"""Texels at each border of the map that the grid leaves out: their normals stay as they were."""
SMALLEST = 1e-6
"""Below this length (decimetres squared) a grid normal is not made longer."""
FACING = 0.1
"""Cosine to the viewer below which skin is hardly seen: its shading says nothing of the displacement."""
MIRRORED_SHARE = 0.05
"""Of a chart's area; the folds of a chart at lips and eyelids stay below."""


def detail_normals(
    points: Float[Tensor, "H W 3"],
    normals: Float[Tensor, "H W 3"],
    displacement: Float[Tensor, "H W"],
) -> Float[Tensor, "H W 3"]:
    """Detail normals of UV rasters of posed points and normals; all lengths decimetres."""
    moved = points + displacement[..., None] * normals
    tilt = grid_normals(moved) - grid_normals(points)
    return normals + tilt * tilt.new_tensor([-1.0, -1.0, 1.0])


def grid_normals(points: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 3"]:
    """Unit normals of the grid over the texels, its triangles weighed by area; 0 at the borders.

    Texel p, the one to its right r, below b and across c make the triangles (p, b, r) and (r, b, c).
    """
    rows, columns = (
        slice(side, size - side)
        for side, size in zip((SIDE_ROWS, SIDE_COLUMNS), points.shape[:2], strict=True)
    )
    inner = points[rows, columns]
    p, r, b, c = inner[:-1, :-1], inner[:-1, 1:], inner[1:, :-1], inner[1:, 1:]
    first = torch.linalg.cross(b - p, r - p)
    second = torch.linalg.cross(b - r, c - r)
    # Each texel sums the triangles it is a corner of; padding is (columns, rows): left right top bottom.
    total = _padded(first, 0, 0) + _padded(first + second, 1, 0)
    total = total + _padded(first + second, 0, 1) + _padded(second, 1, 1)
    unit = functional.normalize(total, dim=-1, eps=SMALLEST)
    border = [0, 0, SIDE_COLUMNS, SIDE_COLUMNS, SIDE_ROWS, SIDE_ROWS]
    return functional.pad(unit, border)


def tells_tilt(mask: Bool[Tensor, "H W"], normals: Float[Tensor, "H W 3"]) -> Bool[Tensor, "H W"]:
    """Texels whose detail normals say how the skin tilts, for normals that are 0 outside the mask.

    Not those on skin that is turned away, nor those whose triangles are cut off at the grid's border or
    reach outside the chart, where all points lie at 0.
    """
    rows, columns = (
        slice(side + 1, size - side - 1)
        for side, size in zip((SIDE_ROWS, SIDE_COLUMNS), mask.shape, strict=True)
    )
    told = torch.zeros_like(mask)
    told[rows, columns] = True
    outside = functional.max_pool2d((~mask).float()[None], 3, stride=1, padding=1)[0] > 0
    return told & ~outside & (normals[..., 2] > FACING)


def _padded(quads: Float[Tensor, "h w 3"], column: int, row: int) -> Float[Tensor, "H W 3"]:
    """The quads' values at their corner (column, row), 0 where a texel has no such quad."""
    return functional.pad(quads, [0, 0, column, 1 - column, row, 1 - row])


def equal_normals(points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "N 3"]:
    """Unit vertex normals that weigh the triangles around a vertex equally, as the released code does."""
    corners = points[faces.long()]
    across = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = functional.normalize(across, dim=-1)
    total = torch.zeros_like(points)
    for corner in range(3):
        total = total.index_add(0, faces[:, corner].long(), unit)
    return functional.normalize(total, dim=-1)


def displacement_sign(faces: Int[Tensor, "F 3"], uv: Float[Tensor, "N 2"]) -> float:
    """Factor -o from their displacement to ours, by the chart's handedness (v down).

    The triangles must wind counter-clockwise seen from outside. Raises ValueError when more than 5 % of
    the chart's area is mirrored against the rest: then no one sign is right.
    """
    corners = uv[faces.long()].double()
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    # An outward triangle of negative area (v down) shows its outside to whoever looks at the map,
    # and so does the grid, which winds the way it appears there: o = 1.
    shown, mirrored = float(-area.clamp_max(0.0).sum()), float(area.clamp_min(0.0).sum())
    share = min(shown, mirrored) / max(shown + mirrored, 1e-30)
    if shown + mirrored == 0.0 or share > MIRRORED_SHARE:
        raise ValueError(
            f"uv: {100 * share:.0f} % of the chart's area is mirrored against the rest (5 % allowed), so "
            "a released displacement map has no one sign on it; lay the chart out without folds, and "
            "wind all triangles outwards"
        )
    return -1.0 if shown > mirrored else 1.0
