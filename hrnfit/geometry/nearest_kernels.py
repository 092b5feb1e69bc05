"""Compiled loop: nearest point of a few candidate triangles to each of many points."""

# pyright: basic
# Types of compiled loops are inferred by numba, not written.
from __future__ import annotations

import numpy as np

from hrnfit.geometry.compiled import kernel


@kernel
def nearest_of(points, corners, candidates, triangle, weights, square):
    """For point p the best of `candidates[p]`: its index, barycentrics and squared distance.

    By the region that the point falls into: a corner, an edge or the inside (Ericson 2005, sec. 5.1.5).
    """
    for p in range(points.shape[0]):
        square[p] = np.inf
        for k in range(candidates.shape[1]):
            t = candidates[p, k]
            abx = corners[t, 1, 0] - corners[t, 0, 0]
            aby = corners[t, 1, 1] - corners[t, 0, 1]
            abz = corners[t, 1, 2] - corners[t, 0, 2]
            acx = corners[t, 2, 0] - corners[t, 0, 0]
            acy = corners[t, 2, 1] - corners[t, 0, 1]
            acz = corners[t, 2, 2] - corners[t, 0, 2]
            apx = points[p, 0] - corners[t, 0, 0]
            apy = points[p, 1] - corners[t, 0, 1]
            apz = points[p, 2] - corners[t, 0, 2]
            bb = abx * abx + aby * aby + abz * abz
            bc = abx * acx + aby * acy + abz * acz
            cc = acx * acx + acy * acy + acz * acz
            pb = apx * abx + apy * aby + apz * abz
            pc = apx * acx + apy * acy + apz * acz
            area = bb * cc - bc * bc
            v, w = -1.0, -1.0
            if area > 0.0:
                v, w = (cc * pb - bc * pc) / area, (bb * pc - bc * pb) / area
            if not (v >= 0.0 and w >= 0.0 and v + w <= 1.0):
                v, w = _on_edges(bb, bc, cc, pb, pc)
            dx = apx - v * abx - w * acx
            dy = apy - v * aby - w * acy
            dz = apz - v * abz - w * acz
            found = dx * dx + dy * dy + dz * dz
            if found < square[p]:
                square[p], triangle[p] = found, t
                weights[p, 0], weights[p, 1], weights[p, 2] = 1.0 - v - w, v, w


@kernel
def _on_edges(bb, bc, cc, pb, pc):
    """Barycentrics (v, w) of the nearest point of the three edges, from the scalar products."""
    best, at_v, at_w = np.inf, 0.0, 0.0
    for edge in range(3):
        if edge == 0:
            along, v0, w0, dv, dw = bb, 0.0, 0.0, 1.0, 0.0
        elif edge == 1:
            along, v0, w0, dv, dw = cc, 0.0, 0.0, 0.0, 1.0
        else:
            along, v0, w0, dv, dw = bb - 2.0 * bc + cc, 1.0, 0.0, -1.0, 1.0
        # d/ds |p - (v0 + s dv) b - (w0 + s dw) c|^2 = 0
        rise = dv * (pb - v0 * bb - w0 * bc) + dw * (pc - v0 * bc - w0 * cc)
        s = min(max(rise / along, 0.0), 1.0) if along > 0.0 else 0.0
        v, w = v0 + s * dv, w0 + s * dw
        square = v * v * bb + 2.0 * v * w * bc + w * w * cc - 2.0 * (v * pb + w * pc)
        if square < best:
            best, at_v, at_w = square, v, w
    return at_v, at_w
