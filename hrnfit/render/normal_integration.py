# pyright: basic
# scipy.sparse carries no types that strict mode accepts.
"""The displacement map whose detail normals come closest to wanted ones: the inverse of `detail.py`.

A wanted normal m over a surface of unit normal n asks for the slope g = n - m / (m.n), the gradient of
d that tilts n to m. Few fields of slopes are gradients, so the map is that of least squares (Queau,
Durou and Aujol 2018, "Normal integration: a survey"), held to a prior map (the screened Poisson problem
of Bhat et al. 2008, "Fourier analysis of the 2D screened Poisson equation"), on the curved surface:

    min_d  sum_i  A_i |grad d - g|^2_i  +  A_i |d - prior|^2_i / REACH^2

over the texels of the chart, A their area. grad is the very difference that shades the map: what no
detail normal shows, a constant and a checkerboard, stays as in the prior. The border is free (Neumann).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from hrnfit.check import check_shape
from hrnfit.render.detail import surface_gradient

Array = NDArray[Any]

REACH = 30.0
"""mm over which the prior is forgotten where slopes are known. On an ellipsoid of a head's size 10 and
100 mm leave the same angles between the normals within 3 %; 256 x 256 texels take 0.19 and 0.41 s, 30 mm
0.26 s."""
STEEPEST = 0.5
"""Cosine of the tilt below which a wanted normal is not believed: detail stays below 60 degrees."""
SMALLEST_AREA = 1e-2
"""Least area of a texel in the prior's term, over the mean: it alone decides where a chart collapses."""
RESIDUAL = 1e-6
"""Of conjugate gradients, over the first: heights right to 2e-5 mm; 1e-4 leaves 2e-3 mm and saves 20 % of the time."""
STEPS = 1000
"""Most steps; 300 are taken at 256 x 256 texels of 1 mm, more in proportion to `REACH` over the texel."""


def displacement_from_normals(
    positions: Float[Tensor, "H W 3"],
    normals: Float[Tensor, "H W 3"],
    wanted: Float[Tensor, "H W 3"],
    prior: Float[Tensor, "H W"],
    mask: Bool[Tensor, "H W"],
) -> Float[Tensor, "H W"]:
    """Map in mm along the normals, 0 outside the mask.

    `positions`, mm, and `normals` of the undisplaced surface in UV; `wanted`: detail normals of any
    length, 0 where unknown: there the slope is that of `prior`, mm. Has no gradient; solved on the CPU
    in float64. Raises ValueError for maps of different sizes.
    """
    size = tuple(mask.shape)
    check_shape("prior", prior, size, "give all maps the mask's size")
    for name, vectors in (("positions", positions), ("normals", normals), ("wanted", wanted)):
        check_shape(name, vectors, (*size, 3), "give all maps the mask's size")
    inside = mask.cpu()
    p, n, m, before = (t.detach().double().cpu() for t in (positions, normals, wanted, prior))
    n, before = normalize(n, dim=-1), torch.where(inside, before, 0.0)
    a, b, area = _metric(p, n, inside)
    height = (m * n).sum(-1)
    known = inside & (height > STEEPEST * m.norm(dim=-1))
    slope = n - m / torch.where(known, height, 1.0)[..., None]
    # Only what the prior lacks is solved for: 0 where nothing is known.
    rest = torch.where(known[..., None], slope - surface_gradient(p, before, inside), 0.0)
    change = _least_squares(*(t.numpy() for t in (inside, area, a, b, rest)))
    found = before.clone()
    found[inside] += torch.from_numpy(change)
    return found.to(prior)


def _metric(p: Tensor, n: Tensor, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tangents a, b (H, W, 3), 1/mm, with grad d = d_u a + d_v b at each texel; its area (H, W), mm^2.

    All 0 where `surface_gradient` is.
    """
    rows, columns = (torch.arange(float(side), dtype=p.dtype) for side in inside.shape)
    # The differences of a ramp are 1 along it and 0 across.
    ramps = (columns.expand(inside.shape), rows[:, None].expand(inside.shape))
    a, b = (surface_gradient(p, ramp, inside) for ramp in ramps)
    density = torch.linalg.cross(a, b).norm(dim=-1)
    area = torch.where(density > 0.0, 1.0 / torch.where(density > 0.0, density, 1.0), 0.0)
    a, b = (tangent - (tangent * n).sum(-1, keepdim=True) * n for tangent in (a, b))
    return a, b, area


def _least_squares(inside: Array, area: Array, a: Array, b: Array, rest: Array) -> Array:
    """x of the K texels inside with the least  sum A |x_u a + x_v b - rest|^2 + A x^2 / REACH^2."""
    area, a, b, rest = area[inside], a[inside], b[inside], rest[inside]
    least = SMALLEST_AREA * float(area.mean()) if area.any() else 1.0
    hold = sp.diags(np.maximum(area, least) / REACH**2)
    u, v = _difference(inside, 1), _difference(inside, 0)
    aa, ab, bb = (sp.diags(area * (s * t).sum(-1)) for s, t in ((a, a), (a, b), (b, b)))
    system = u.T @ (aa @ u + ab @ v) + v.T @ (ab @ u + bb @ v) + hold
    right = u.T @ (area * (a * rest).sum(-1)) + v.T @ (area * (b * rest).sum(-1))
    return _conjugate_gradients(sp.csr_matrix(system), right)


def _difference(inside: Array, axis: int) -> sp.csr_matrix:
    """`detail.py`'s difference along an axis, (K, K): the mean of the steps to neighbours inside."""
    n = int(inside.sum())
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(n)
    number = np.moveaxis(number, axis, 0)
    first, second = number[:-1].ravel(), number[1:].ravel()
    both = (first >= 0) & (second >= 0)
    first, second = first[both], second[both]
    ends = np.concatenate([first, second])
    share = 1.0 / np.maximum(np.bincount(ends, minlength=n), 1)[ends]
    rows, columns = np.tile(ends, 2), np.concatenate([second, second, first, first])
    return sp.csr_matrix((np.concatenate([share, -share]), (rows, columns)), shape=(n, n))


def _conjugate_gradients(system: sp.csr_matrix, right: Array) -> Array:
    """Solution of a positive definite system, scaled by its diagonal (Hestenes and Stiefel 1952)."""
    inverse: Array = np.reciprocal(system.diagonal())
    x, residual = np.zeros_like(right), right.copy()
    direction = inverse * residual
    energy = first = float(residual @ direction)
    for _ in range(STEPS):
        if not energy > RESIDUAL**2 * first:
            break
        image = system @ direction
        step = energy / float(direction @ image)
        x += step * direction
        residual -= step * image
        scaled = inverse * residual
        before, energy = energy, float(residual @ scaled)
        direction = scaled + (energy / before) * direction
    return x
