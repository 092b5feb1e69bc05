"""What differs between views but is smooth over the skin: light, white balance, travelling highlights.

In logarithmic encoding c = log A + log S_v, so light is a field o_v added to the albedo. First the nine
spherical harmonics of each view's normals, solved in closed form with the albedo eliminated; then
what is left of the views' disagreement, smoothed over the skin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.pieces import by_pieces, pieces
from hrnfit.energy.shared_albedo import Consensus, TexelViews, consensus, smooth_offset
from hrnfit.energy.texels import Texels
from hrnfit.geometry.definite import factor_or_nan
from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.geometry.tall import stretched_product
from hrnfit.render.shade import sh_basis

Agree = Callable[[TexelViews, Tensor, float], Consensus]

MOST_TEXELS = 12_000
"""Texels that the 27 numbers of each view's light are solved from."""
RIDGE = 1e-3
"""On the harmonics, against the mean square of their basis: light common to all views is a gauge."""


def light_field(
    texels: TexelViews,
    normals: Float[Tensor, "V P 3"],
    raster: Texels,
    sigma: float,
    scale: float,
    rounds: int = 2,
    agree: Agree = consensus,
) -> Float[Tensor, "V P 3"]:
    """Field o_v to subtract from each view's colours before the views are compared.

    normals: unit, in each view's camera frame. sigma: width of the smooth remainder, share of the
    UV square. scale: Geman-McClure scale of the comparison. agree: `consensus`, or the same by kernels.
    """
    harmonic = harmonic_field(texels, normals, scale)
    centred = TexelViews(texels.colour - harmonic, texels.jacobian, texels.weight)
    rest = torch.zeros_like(harmonic)
    for _ in range(rounds):
        rest = smooth_offset(centred, agree(centred, rest, scale), raster, sigma)
    return harmonic + rest


def light_of_frames(
    texels: TexelViews,
    normals: Float[Tensor, "F P 3"],
    frame: Int[Tensor, "V"],
    motion: Float[Tensor, "V 3 4"],
    raster: Texels,
    sigma: float,
    scale: float,
    agree: Agree = consensus,
) -> Float[Tensor, "V P 3"]:
    """`light_field` of normals in the head frame of F frames, by kernels on a CUDA device.

    frame: which normals each view shows. motion: camera from head.
    """
    if has_kernels(normals.device):
        from hrnfit.energy.light_cuda import has_light, light_field_cuda  # local: triton

        if has_light(texels):
            numbers = (sigma, scale, RIDGE, MOST_TEXELS)
            return light_field_cuda(texels, normals, frame, motion, raster, *numbers)
    in_cameras = normals[frame] @ motion[:, :, :3].mT
    return light_field(texels, in_cameras, raster, sigma, scale, agree=agree)


def harmonic_field(
    texels: TexelViews, normals: Float[Tensor, "V P 3"], scale: float, rounds: int = 4
) -> Float[Tensor, "V P 3"]:
    """Nine harmonics per view and channel that make the views agree best; the albedo is eliminated."""
    some = slice(None, None, max(1, normals.shape[1] // MOST_TEXELS))
    basis = sh_basis(normals[:, some])  # (V, P, 9)
    colour, plain = texels.colour[:, some], texels.weight[:, some]
    plain = plain * ((plain > 0).sum(0) >= 2)
    weight = plain
    light = colour.new_zeros(len(colour), 9, 3)
    for round_ in range(rounds):
        light = _solve(basis, colour, weight)
        total = weight.sum(0).clamp_min(1e-9)
        against = colour - basis @ light
        against = against - (weight[..., None] * against).sum(0) / total[:, None]
        # the first looks are far off: a wide scale that shrinks to the one of the comparison
        wide = scale * 2.0 ** (rounds - 1 - round_)
        weight = plain / (1.0 + against.square().sum(-1) / wide**2).square()
    views, count = normals.shape[:2]

    def field(at: slice) -> tuple[Tensor]:
        return (sh_basis(normals[:, at]) @ light,)

    return by_pieces(field, pieces(views, count), (1,), count)[0]


def _solve(
    basis: Float[Tensor, "V P 9"], colour: Float[Tensor, "V P 3"], weight: Float[Tensor, "V P"]
) -> Float[Tensor, "V 9 3"]:
    """Least squares with the weighted mean over views projected out."""
    views, _, n = basis.shape
    total = weight.sum(0).clamp_min(1e-9)
    weighted = weight[..., None] * basis  # (V, P, 9)
    share = weighted / total[:, None].sqrt()
    flat = share.movedim(1, 0).flatten(1)  # (P, 9V)
    mean = (weight[..., None] * colour).sum(0) / total[:, None]
    system, own, right = _products(flat, weighted, basis, colour - mean)
    system = -system
    for v in range(views):
        at = slice(v * n, (v + 1) * n)
        system[at, at] += own[v]
    # views that share no skin have no light to compare: the floor then gives none, not a singular system
    evidence = (weight.sum() / views).clamp_min(1e-6)
    ridge = RIDGE * evidence * torch.eye(views * n, dtype=system.dtype, device=system.device)
    solved = _solved((system + ridge).double(), right.double())
    return solved.to(colour).view(views, n, -1)


def _products(
    flat: Float[Tensor, "P q"],
    weighted: Float[Tensor, "V P n"],
    basis: Float[Tensor, "V P n"],
    against: Float[Tensor, "V P c"],
) -> tuple[Float[Tensor, "q q"], Sequence[Float[Tensor, "n n"]], Float[Tensor, "q c"]]:
    """Sums over the texels: all harmonics with each other, those of each view, and with the colours."""
    if flat.device.type == "cpu":
        own = [w.T @ b for w, b in zip(weighted, basis, strict=True)]
        return flat.T @ flat, own, torch.einsum("vpn,vpc->vnc", weighted, against).flatten(0, 1)
    both = stretched_product(weighted, torch.cat([basis, against], dim=-1))
    n = basis.shape[-1]
    return stretched_product(flat, flat), list(both[..., :n]), both[..., n:].flatten(0, 1)


def _solved(system: Float[Tensor, "n n"], right: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Positive definite by its ridge. On a device by Cholesky's factors, which need no word to the host."""
    if system.device.type == "cpu":
        return torch.linalg.solve(system, right)
    factor = factor_or_nan(system)
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)
