"""Triton: energies of lights (`energy/prior.py`) with the gradient of their weighted sum, one program per light."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.energy.robust_kernels import rho
from hrnfit.geometry.launched import kernel


@kernel
def light_energies(
    light, grad, colour_parts, softness_parts, least,
    colour_scale, colour_share, colour_rate, softness_scale, softness_share, softness_rate,
    COLOUR: tl.constexpr, SOFTNESS: tl.constexpr,
):  # fmt: skip
    """`LightColour` and `LightSoftness` of a light (9, 3), relative to its ambient level, which is held.

    COLOUR, SOFTNESS: their robust kernels, -1 for one that is not wanted. Per energy: what residuals are divided by,
    1 over their number in all lights, and that times its factor in the weighted sum. least: ambient level, at least.
    """
    row, c = tl.arange(0, 16)[:, None], tl.arange(0, 4)[None, :]
    inside = (row < 9) & (c < 3)
    own = tl.program_id(0).to(tl.int64) * 27
    place = own + 3 * row + c
    value = tl.load(light + place, mask=inside, other=0.0)
    zeroth = tl.where(row == 0, tl.abs(value), 0.0)
    ambient = tl.maximum(tl.sum(tl.sum(zeroth, 1), 0) / 3.0, least)
    relative = value / ambient
    total = 0.0 * value
    if COLOUR >= 0:
        grey = (tl.sum(relative, 1) / 3.0)[:, None]
        energy, slope = rho((relative - grey) / colour_scale, COLOUR)
        energy, slope = tl.where(inside, energy, 0.0), tl.where(inside, slope, 0.0)
        tl.store(colour_parts + tl.program_id(0), tl.sum(tl.sum(energy, 1), 0) * colour_share)
        mean = (tl.sum(slope, 1) / 3.0)[:, None]
        total += (slope - mean) * (colour_rate / colour_scale)
    if SOFTNESS >= 0:
        second = inside & (row >= 4)
        energy, slope = rho(relative / softness_scale, SOFTNESS)
        energy, slope = tl.where(second, energy, 0.0), tl.where(second, slope, 0.0)
        tl.store(softness_parts + tl.program_id(0), tl.sum(tl.sum(energy, 1), 0) * softness_share)
        total += slope * (softness_rate / softness_scale)
    tl.store(grad + place, total / ambient, mask=inside)
