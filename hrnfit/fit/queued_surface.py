"""The normal equations of `surface_stage` as one function of tensors of fixed shapes, for a device.

The law is that of `_Refit`. Texels are padded to a multiple of `STEP` by ones with no normal and no share in
the gap: they add nothing, and fits whose views see different skin share one recording. float64.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.shared_skin import LocalShape
from hrnfit.geometry.rotation import rotation_with_jacobian
from hrnfit.solve.block import Layout
from hrnfit.solve.queued_lm import PackedProblem
from hrnfit.solve.solver import Leaves

STEP = 512
"""Texels are padded to a multiple of this."""


class SurfaceConstants(NamedTuple):
    """What a round holds fixed, of T frames and P texels; S is T, or 1 where one shape serves all frames."""

    across: Float[Tensor, "T P 3"]
    """Normals of the surface at the nearest points."""
    on_surface: Float[Tensor, "T P 3"]
    variance: Float[Tensor, "P"]
    """Of the noise."""
    whitening: Float[Tensor, "P P"]
    """Turns residuals into independent ones of deviation 1."""
    mean: Float[Tensor, "S P 3"]
    identity: Float[Tensor, "S P 3 I"]
    expression: Float[Tensor, "S P 3 E"]


def surface_problem(
    leaves: Leaves,
    deviations: dict[str, float],
    across: Float[Tensor, "T P 3"],
    on_surface: Float[Tensor, "T P 3"],
    variance: Float[Tensor, "P"],
    whitening: Float[Tensor, "P P"],
    shapes: Sequence[LocalShape],
) -> PackedProblem:
    """The problem of a round over identity, expression and motion. deviations: of the priors on leaves."""
    alike = all(s is shapes[0] for s in shapes)
    local = [torch.stack(parts) for parts in zip(*(shapes[:1] if alike else shapes), strict=True)]
    more = -len(variance) % STEP
    fields = [across, on_surface, variance + 0.0, whitening, *local]
    axes = ((1,), (1,), (0,), (0, 1), (1,), (1,), (1,))
    padded = [_padded(f, a, more) for f, a in zip(fields, axes, strict=True)]
    padded[2][len(variance) :] = 1.0
    layout = Layout.of(leaves)

    def linearize(x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return surface_equations(SurfaceConstants(*tensors), layout, x, deviations)

    return PackedProblem(linearize, tuple(padded), surface_key(layout, deviations))


def surface_key(layout: Layout, deviations: dict[str, float]) -> Hashable:
    """Names the equations over leaves of a layout for recordings."""
    return "surface", tuple(layout.shapes.items()), tuple(deviations.items())


def surface_equations(
    c: SurfaceConstants, layout: Layout, x: Float[Tensor, "n"], deviations: dict[str, float]
) -> tuple[Float[Tensor, ""], Float[Tensor, "n n"], Float[Tensor, "n"]]:
    """Energy, Hessian and gradient at packed leaves."""
    leaves = layout.unpack(x)
    identity, expression, motion = (leaves[n] for n in ("identity", "expression", "motion"))
    frames = len(motion)
    R, left = rotation_with_jacobian(motion[:, :3])
    shape = c.mean + c.identity @ identity
    shape = shape + (c.expression * expression[:, None, None]).sum(-1)
    turned = shape @ R.mT  # (T, P, 3)
    r = (c.across * (turned + motion[:, None, 3:] - c.on_surface)).sum(-1)
    along = (c.across @ R)[..., None]  # normals in the model's own frame
    turn = torch.linalg.cross(turned, c.across) @ left
    parts = {
        "identity": (along * c.identity).sum(-2),
        "expression": (along * c.expression).sum(-2),
        "motion": torch.cat([turn, c.across], -1),
    }
    J = r.new_zeros(frames, r.shape[1], layout.size)
    for name, part in parts.items():
        for f in range(frames):
            J[f, :, layout.columns((name, None if name == "identity" else f))] = part[f]
    mean_J, mean = J.mean(0), r.mean(0)
    white = c.whitening @ torch.cat([mean_J, mean[:, None]], 1)
    square = white.T @ white
    energy, hessian, gradient = 0.5 * square[-1, -1], square[:-1, :-1], square[:-1, -1]
    if frames > 1:
        apart, off = (J - mean_J).flatten(0, 1), (r - mean).flatten()
        pulled = apart / c.variance.repeat(frames)[:, None]
        hessian = hessian + pulled.T @ apart
        gradient = gradient + pulled.T @ off
        energy = energy + 0.5 * (off.square() / c.variance.repeat(frames)).sum()
    weight = _prior_weights(leaves, deviations)
    pulled = weight * x
    return energy + 0.5 * pulled @ x, hessian + torch.diag(weight), gradient + pulled


def _prior_weights(leaves: Leaves, deviations: dict[str, float]) -> Float[Tensor, "n"]:
    """One over the squared deviation of each packed number; 0 where there is no prior."""
    each = {n: deviations.get(n, torch.inf) ** -2 for n in leaves}
    return torch.cat([torch.full_like(x.reshape(-1), each[n]) for n, x in leaves.items()])


def _padded(values: Tensor, axes: tuple[int, ...], more: int) -> Tensor:
    """The values with `more` zeros at the end of some axes; a copy."""
    size = [n + more * (i in axes) for i, n in enumerate(values.shape)]
    out = values.new_zeros(size)
    out[tuple(slice(n) for n in values.shape)] = values
    return out
