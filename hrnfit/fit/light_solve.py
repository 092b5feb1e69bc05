"""The light that explains colours of texels of known albedo: robust linear least squares.

I_pv = A_p (Y(n_p) L), nine unknowns per light and channel, each with Cauchy weights of its own residuals.
The CPU solves one after the other; a GPU, to which every small solve is a wait of its host, all at once, by
kernels of our own where they run (`appearance_cuda.py`).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.definite import solve_by_factors
from hrnfit.geometry.device_kernels import has_kernels

LIGHT_TEXELS = 20_000
"""Texels that 27 numbers of light are solved from; up to twice as many are taken."""
ROBUST_ROUNDS = 3
"""Solves; each after the first weighs by the residuals of the one before."""


def solve_light(
    colour: Float[Tensor, "V P 3"],
    weight: Float[Tensor, "V P"],
    basis: Float[Tensor, "V P 9"],
    albedo: Float[Tensor, "P 3"],
    row: Int[Tensor, "V"],
    before: Float[Tensor, "G 9 3"],
    ridge: float,
) -> Float[Tensor, "G 9 3"]:
    """Every light from the views that share it. row: light of each view, on the device of the colours.
    before: for the number of lights only. ridge: on the bands above the constant."""
    step = max(1, len(albedo) // LIGHT_TEXELS)
    if has_kernels(colour.device) and colour.dtype == torch.float32:
        from hrnfit.fit.appearance_cuda import device_light  # local: triton

        given = (colour, weight, basis, albedo, row)
        return device_light(*given, len(before), ridge, step, ROBUST_ROUNDS)
    some = slice(None, None, step)
    colour, weight = colour[:, some], weight[:, some]
    basis, albedo = basis[:, some], albedo[some]
    if colour.device.type == "cpu":
        return light_by_light(colour, weight, basis, albedo, row, before, ridge)
    return all_lights(colour, weight, basis, albedo, row, before, ridge)


def light_by_light(
    colour: Float[Tensor, "V P 3"],
    weight: Float[Tensor, "V P"],
    basis: Float[Tensor, "V P 9"],
    albedo: Float[Tensor, "P 3"],
    row: Int[Tensor, "V"],
    before: Float[Tensor, "G 9 3"],
    ridge: float,
) -> Float[Tensor, "G 9 3"]:
    """Robust 9 x 3 least squares per light over the views that share it."""
    light = before.clone()
    bands = ridge * torch.ones(9).to(colour)
    bands[0] = 0.0
    for g in range(len(before)):
        views = (row == g).nonzero()[:, 0]
        for c in range(3):
            design = (basis[views] * albedo[:, c, None]).flatten(0, 1)
            target, w = colour[views, :, c].flatten(), weight[views].flatten()
            robust = w
            for _ in range(ROBUST_ROUNDS):
                weighted = design * (robust / robust.sum().clamp_min(1e-9))[:, None]
                scale = (weighted * design).sum(0)[0].clamp_min(1e-12)
                system = weighted.T @ design + torch.diag(bands) * scale
                light[g, :, c] = torch.linalg.solve(
                    system + 1e-9 * torch.eye(9).to(system), weighted.T @ target
                )
                residual = (design @ light[g, :, c] - target).abs()
                spread = (w * residual).sum() / w.sum().clamp_min(1e-9) + 1e-6
                robust = w / (1.0 + (residual / (2.0 * spread)).square())
    return light


def all_lights(
    colour: Float[Tensor, "V P 3"],
    weight: Float[Tensor, "V P"],
    basis: Float[Tensor, "V P 9"],
    albedo: Float[Tensor, "P 3"],
    row: Int[Tensor, "V"],
    before: Float[Tensor, "G 9 3"],
    ridge: float,
) -> Float[Tensor, "G 9 3"]:
    """The same for all lights and channels at once, in shapes that depend on no value. Allocates about 60
    numbers per view and texel."""
    lights = torch.arange(len(before), device=row.device)
    member = (row == lights[:, None]).to(colour)  # (G, V)
    design = basis[:, None] * albedo.T[:, :, None]  # (V, 3, P, 9)
    target = colour.mT  # (V, 3, P)
    plain = weight[:, None].expand_as(target)
    identity = torch.eye(9, dtype=colour.dtype, device=colour.device)
    bands = ridge * identity
    bands[0, 0].zero_()
    mass = _summed(member, plain.sum(-1)).clamp_min(1e-9)  # (G, 3)
    light, robust = colour.new_zeros(len(before), 3, 9), plain
    for _ in range(ROBUST_ROUNDS):
        total = _summed(member, robust.sum(-1)).clamp_min(1e-9)
        weighted = (design * (robust / _spread(member, total)[..., None])[..., None]).mT
        system = _summed(member, weighted @ design)  # (G, 3, 9, 9)
        scale = system[..., :1, :1].clamp_min(1e-12)
        right = _summed(member, weighted @ target[..., None])
        light = solve_by_factors(system + bands * scale + 1e-9 * identity, right)[..., 0]
        residual = ((design @ _spread(member, light)[..., None])[..., 0] - target).abs()
        spread = _summed(member, (plain * residual).sum(-1)) / mass + 1e-6
        robust = plain / (1.0 + (residual / (2.0 * _spread(member, spread)[..., None])).square())
    return light.mT


def _summed(member: Float[Tensor, "G V"], values: Float[Tensor, "V *C"]) -> Float[Tensor, "G *C"]:
    """Sums over the views of each light."""
    return torch.tensordot(member, values, 1)


def _spread(member: Float[Tensor, "G V"], values: Float[Tensor, "G *C"]) -> Float[Tensor, "V *C"]:
    """The value of each view's light."""
    return torch.tensordot(member.T, values, 1)
