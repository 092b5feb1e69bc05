# pyright: basic, reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# Types of Triton kernels are compiled, not written.
"""Triton kernel: the nearest of all triangles to each of many points.

One program looks at a few points and one share of the triangles, so that few points still fill the
device; the shares are joined by the least of (squared distance, triangle), packed into one integer, so
the answer does not depend on the order in which programs run.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hrnfit.geometry.launched import kernel

POINTS = 32
"""Points per program."""
TRIANGLES = 64
"""Triangles that a program looks at together."""
SHARES = 16
"""Programs that divide the triangles of the same points among them, at most."""


def nearest_triangles_triton(points: Tensor, corners: Tensor) -> Tensor:
    """Index (P,) of the nearest of the triangles (F, 3, 3) to each point (P, 3); float32.

    Allocates 8 bytes per point and share, and a copy of the triangles.
    """
    rows = corners.reshape(-1, 9).T.contiguous()
    blocks = triton.cdiv(len(corners), TRIANGLES)
    shares = min(SHARES, blocks)
    packed = torch.empty(shares, len(points), dtype=torch.int64, device=points.device)
    if len(points) == 0:
        return packed[0]
    grid = (triton.cdiv(len(points), POINTS), shares)
    _nearest[grid](
        points.contiguous(),
        rows,
        packed,
        len(points),
        len(corners),
        triton.cdiv(blocks, shares),
        POINTS=POINTS,
        TRIANGLES=TRIANGLES,
    )
    return packed.amin(0) & 0x7FFFFFFF


@kernel
def _nearest(
    points,
    rows,
    packed,
    n_points,
    n_triangles,
    blocks,
    POINTS: tl.constexpr,
    TRIANGLES: tl.constexpr,
):
    at = tl.program_id(0) * POINTS + tl.arange(0, POINTS)
    asked = at < n_points
    px = tl.load(points + 3 * at, mask=asked, other=0.0)[:, None]
    py = tl.load(points + 3 * at + 1, mask=asked, other=0.0)[:, None]
    pz = tl.load(points + 3 * at + 2, mask=asked, other=0.0)[:, None]
    best = tl.full((POINTS,), float("inf"), tl.float32)
    index = tl.full((POINTS,), 0, tl.int32)
    first = tl.program_id(1) * blocks * TRIANGLES
    block = 0
    while block < blocks:
        t = first + block * TRIANGLES + tl.arange(0, TRIANGLES)
        there = t < n_triangles
        square = _squares(px, py, pz, rows, t, there, n_triangles)
        square = tl.where(there[None, :], square, float("inf"))
        least = tl.min(square, axis=1)
        # the lowest index among equals, whatever the order of the reduction
        which = tl.min(tl.where(square == least[:, None], t[None, :], 0x7FFFFFFF), axis=1)
        nearer = least < best
        best = tl.where(nearer, least, best)
        index = tl.where(nearer, which.to(tl.int32), index)
        block += 1
    bits = best.to(tl.int32, bitcast=True).to(tl.int64)
    out = packed + tl.program_id(1).to(tl.int64) * n_points + at
    tl.store(out, (bits << 32) | index.to(tl.int64), mask=asked)


@kernel
def _squares(px, py, pz, rows, t, there, n):
    """Squared distances of points (P, 1) to triangles t (F,)."""
    ax = tl.load(rows + t, mask=there, other=0.0)[None, :]
    ay = tl.load(rows + n + t, mask=there, other=0.0)[None, :]
    az = tl.load(rows + 2 * n + t, mask=there, other=0.0)[None, :]
    bx = tl.load(rows + 3 * n + t, mask=there, other=0.0)[None, :] - ax
    by = tl.load(rows + 4 * n + t, mask=there, other=0.0)[None, :] - ay
    bz = tl.load(rows + 5 * n + t, mask=there, other=0.0)[None, :] - az
    cx = tl.load(rows + 6 * n + t, mask=there, other=0.0)[None, :] - ax
    cy = tl.load(rows + 7 * n + t, mask=there, other=0.0)[None, :] - ay
    cz = tl.load(rows + 8 * n + t, mask=there, other=0.0)[None, :] - az
    dx, dy, dz = px - ax, py - ay, pz - az
    bb = bx * bx + by * by + bz * bz
    bc = bx * cx + by * cy + bz * cz
    cc = cx * cx + cy * cy + cz * cz
    pb = dx * bx + dy * by + dz * bz
    pc = dx * cx + dy * cy + dz * cz
    area = bb * cc - bc * bc
    over = 1.0 / tl.where(area > 0, area, 1.0)
    v = (cc * pb - bc * pc) * over
    w = (bb * pc - bc * pb) * over
    inside = (area > 0) & (v >= 0) & (w >= 0) & (v + w <= 1)
    along = bb - 2.0 * bc + cc
    at_b = _share(pb, bb)
    at_c = _share(pc, cc)
    far = _share(pc - pb + bb - bc, along)
    ex, ey, ez = dx - at_b * bx, dy - at_b * by, dz - at_b * bz
    best = ex * ex + ey * ey + ez * ez
    ex, ey, ez = dx - at_c * cx, dy - at_c * cy, dz - at_c * cz
    best = tl.minimum(best, ex * ex + ey * ey + ez * ez)
    ex, ey, ez = (
        dx - (1.0 - far) * bx - far * cx,
        dy - (1.0 - far) * by - far * cy,
        dz - (1.0 - far) * bz - far * cz,
    )
    best = tl.minimum(best, ex * ex + ey * ey + ez * ez)
    ex, ey, ez = dx - v * bx - w * cx, dy - v * by - w * cy, dz - v * bz - w * cz
    return tl.where(inside, ex * ex + ey * ey + ez * ez, best)


@kernel
def _share(rise, length):
    """Where along an edge the nearest point lies, 0..1; 0 on an edge without length."""
    return tl.minimum(tl.maximum(rise / tl.where(length > 0, length, 1.0), 0.0), 1.0) * (length > 0)
