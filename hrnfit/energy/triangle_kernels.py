"""Triton: energies of triangles against their rest shape (`energy/rigidity.py`) with their gradients.

One lane per triangle; gradients are added to the three corners atomically. Every program writes its parts of the
energy and of the validity.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.energy.robust_kernels import rho
from hrnfit.geometry.launched import kernel
from hrnfit.geometry.mesh_cuda_kernels import add3, cross, load3


@kernel
def _edges(points, i, j, k, inside):
    """The two edges that leave a triangle's first corner."""
    x, y, z = load3(points, i, inside)
    ax, ay, az = load3(points, j, inside)
    bx, by, bz = load3(points, k, inside)
    return ax - x, ay - y, az - z, bx - x, by - y, bz - z


@kernel
def _corners(faces, f, inside):
    i = tl.load(faces + 3 * f, mask=inside, other=0)
    j = tl.load(faces + 3 * f + 1, mask=inside, other=0)
    return i, j, tl.load(faces + 3 * f + 2, mask=inside, other=0)


@kernel
def _strain(
    i, j, k, inside, ax, ay, az, bx, by, bz, ax0, ay0, az0, bx0, by0, bz0, grad, parts, scale, share,
    KIND: tl.constexpr,
):  # fmt: skip
    """Of the Green strain over `scale`; all count, so parts and gradient are those of the mean."""
    length = ax0 * ax0 + ay0 * ay0 + az0 * az0
    along = ax0 * bx0 + ay0 * by0 + az0 * bz0
    nx, ny, nz = cross(ax0, ay0, az0, bx0, by0, bz0)
    double = nx * nx + ny * ny + nz * nz
    solid = inside & (length > 0) & (double > 1e-12 * length * length)
    length, double = tl.where(solid, length, 1.0), tl.where(solid, double, 1.0)
    side, height = 1.0 / tl.sqrt(length), 1.0 / tl.sqrt(double / length)
    lean = along / length
    x, y, z = ax * side, ay * side, az * side
    u, v, w = (bx - lean * ax) * height, (by - lean * ay) * height, (bz - lean * az) * height
    root = 0.7071067811865476
    e1, g1 = rho((x * x + y * y + z * z - 1.0) / (2.0 * scale), KIND)
    e2, g2 = rho((u * u + v * v + w * w - 1.0) / (2.0 * scale), KIND)
    e3, g3 = rho((x * u + y * v + z * w) * root / scale, KIND)
    tl.store(parts, tl.sum(tl.where(solid, e1 + e2 + e3, 0.0), 0) * share)
    t = share / scale
    g1, g2, g3 = g1 * t, g2 * t, g3 * t * root
    px, py, pz = g1 * x + g3 * u, g1 * y + g3 * v, g1 * z + g3 * w
    qx, qy, qz = (g2 * u + g3 * x) * height, (g2 * v + g3 * y) * height, (g2 * w + g3 * z) * height
    px, py, pz = px * side - lean * qx, py * side - lean * qy, pz * side - lean * qz
    add3(grad, i, -px - qx, -py - qy, -pz - qz, solid)
    add3(grad, j, px, py, pz, solid)
    add3(grad, k, qx, qy, qz, solid)


@kernel
def _fold(
    i, j, k, inside, ax, ay, az, bx, by, bz, ax0, ay0, az0, bx0, by0, bz0, grad, parts, counts, allowed,
    KIND: tl.constexpr,
):  # fmt: skip
    """Of the fold barrier; only triangles under it count, so sums are not yet divided."""
    mx, my, mz = cross(ax0, ay0, az0, bx0, by0, bz0)
    nx, ny, nz = cross(ax, ay, az, bx, by, bz)
    squared = mx * mx + my * my + mz * mz
    solid = inside & (squared > 0)
    inverse = 1.0 / tl.where(solid, squared, 1.0)
    ratio = tl.where(solid, (nx * mx + ny * my + nz * mz) * inverse, 1.0)
    under = tl.maximum(allowed - ratio, 0.0) / allowed
    counted = solid & (under > 0)
    value, slope = rho(under, KIND)
    tl.store(parts, tl.sum(tl.where(counted, value, 0.0), 0))
    tl.store(counts, tl.sum(tl.where(counted, 1.0, 0.0), 0))
    s = -slope / allowed * inverse
    mx, my, mz = s * mx, s * my, s * mz
    px, py, pz = cross(bx, by, bz, mx, my, mz)
    qx, qy, qz = cross(mx, my, mz, ax, ay, az)
    add3(grad, i, -px - qx, -py - qy, -pz - qz, counted)
    add3(grad, j, px, py, pz, counted)
    add3(grad, k, qx, qy, qz, counted)


@kernel
def strain_and_fold(
    points, rest, faces, by_strain, by_fold, strains, folds, vertices, triangles, scale, share, allowed,
    STRAIN: tl.constexpr, FOLD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Both energies of the triangles of frame `program_id(1)`; -1 for the kind of one that is not wanted. Parts of the
    energies are (2, programs), the second of the validity."""
    f = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = f < triangles
    start = tl.program_id(1).to(tl.int64) * vertices * 3
    i, j, k = _corners(faces, f, inside)
    ax0, ay0, az0, bx0, by0, bz0 = _edges(rest + start, i, j, k, inside)
    ax, ay, az, bx, by, bz = _edges(points + start, i, j, k, inside)
    part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    if STRAIN >= 0:
        _strain(
            i, j, k, inside, ax, ay, az, bx, by, bz, ax0, ay0, az0, bx0, by0, bz0,
            by_strain + start, strains + part, scale, share, STRAIN,
        )  # fmt: skip
    if FOLD >= 0:
        programs = tl.num_programs(0) * tl.num_programs(1)
        _fold(
            i, j, k, inside, ax, ay, az, bx, by, bz, ax0, ay0, az0, bx0, by0, bz0,
            by_fold + start, folds + part, folds + programs + part, allowed, FOLD,
        )  # fmt: skip
