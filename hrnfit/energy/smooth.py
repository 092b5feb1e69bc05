"""Smoothness of maps in UV: differences, total variation, bending, and their sparse quadratic forms.

The deformation map's L_tv is HRN sec. 3.2 (there squared; here squared or isotropic by the kernel),
the bending energy is the thin plate's Hessian norm, whose null space are affine maps. Differences
are taken per 1/64 of the chart whatever the resolution, so a weight means the same on every map.
What keeps triangles from folding is in `energy/rigidity.py`.
"""

# torch and scipy are untyped in places; strict mode would report them, not this file.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.energy.term import Prediction, Residuals
from hrnfit.geometry.kept import kept_with
from hrnfit.observe.observation import WorkingViews

REFERENCE = 64
"""Texels along the chart to which differences are normalised: the paper's deformation map."""


def differences(
    maps: Float[Tensor, "*B H W C"],
) -> tuple[Float[Tensor, "*B H W C"], Float[Tensor, "*B H W C"]]:
    """Forward differences along u and v per 1/64 of the chart; 0 in the last column or row."""
    height, width = maps.shape[-3:-1]
    along_u = torch.diff(maps, dim=-2, append=maps[..., -1:, :]) * (width / REFERENCE)
    along_v = torch.diff(maps, dim=-3, append=maps[..., -1:, :, :]) * (height / REFERENCE)
    return along_u, along_v


def difference_validity(
    used: Bool[Tensor, "H W"],
) -> tuple[Bool[Tensor, "H W"], Bool[Tensor, "H W"]]:
    """Where both texels of the forward difference along u, and along v, are used."""
    along_u, along_v = torch.zeros_like(used), torch.zeros_like(used)
    along_u[:, :-1] = used[:, :-1] & used[:, 1:]
    along_v[:-1] = used[:-1] & used[1:]
    return along_u, along_v


def total_variation(
    maps: Float[Tensor, "*B H W C"], used: Bool[Tensor, "H W"], scale: float
) -> Residuals:
    """Both differences of every channel over `scale`, the slope that is visibly wrong.

    Shape (2, *B, H, W, C). Kernel `square` makes it HRN's squared L_tv (sec. 3.2; as coded, a mean
    per direction), `abs` the anisotropic total variation.
    """
    along_u, along_v = differences(maps)
    valid_u, valid_v = difference_validity(used)
    values = torch.stack((along_u, along_v)) / scale
    validity = torch.stack((valid_u, valid_v)).to(maps.dtype)
    validity = validity.reshape(2, *(1,) * (maps.ndim - 3), *used.shape, 1)
    return Residuals(values, validity.expand_as(values))


def isotropic_variation(
    maps: Float[Tensor, "*B H W C"], used: Bool[Tensor, "H W"], scale: float, rounding: float = 1e-2
) -> Residuals:
    """Length of the gradient over all channels, over `scale`, rounded at zero: sqrt(|g|^2 + e^2) - e.

    Shape (*B, H, W). Under `abs` this is isotropic total variation (Rudin, Osher & Fatemi 1992, as the Charbonnier
    norm): it does not change when the chart or the channels turn, and lets steps stand.
    """
    along_u, along_v = differences(maps)
    valid_u, valid_v = (v.to(maps.dtype)[..., None] for v in difference_validity(used))
    squared = ((along_u * valid_u).square() + (along_v * valid_v).square()).sum(-1) / scale**2
    values = squared / ((squared + rounding**2).sqrt() + rounding)
    return Residuals(values, used.to(maps.dtype).expand_as(values))


def bending(maps: Float[Tensor, "H W C"], used: Bool[Tensor, "H W"], scale: float) -> Residuals:
    """Second differences (uu, sqrt 2 uv, vv) over `scale`: the integrand of the thin-plate energy
    int f_uu^2 + 2 f_uv^2 + f_vv^2 (Duchon 1977), zero for every affine map.

    Shape (3, H, W, C); each stencil sits at its first texel, invalid where it leaves the used ones.
    """
    height, width = maps.shape[:2]
    ku, kv = width / REFERENCE, height / REFERENCE
    validity = maps.new_zeros(3, height, width)
    uu = maps[:, :-2] - 2 * maps[:, 1:-1] + maps[:, 2:]
    vv = maps[:-2] - 2 * maps[1:-1] + maps[2:]
    uv = maps[:-1, :-1] - maps[:-1, 1:] - maps[1:, :-1] + maps[1:, 1:]
    values = torch.stack(
        (
            torch.nn.functional.pad(uu, (0, 0, 0, 2)) * ku**2,
            torch.nn.functional.pad(uv, (0, 0, 0, 1, 0, 1)) * (math.sqrt(2.0) * ku * kv),
            torch.nn.functional.pad(vv, (0, 0, 0, 0, 0, 2)) * kv**2,
        )
    )
    validity[0, :, :-2] = (used[:, :-2] & used[:, 1:-1] & used[:, 2:]).to(maps)
    validity[1, :-1, :-1] = (used[:-1, :-1] & used[:-1, 1:] & used[1:, :-1] & used[1:, 1:]).to(maps)
    validity[2, :-2] = (used[:-2] & used[1:-1] & used[2:]).to(maps)
    return Residuals(values / scale, validity[..., None].expand_as(values))


def used_texels(uv: Float[Tensor, "N 2"], height: int, width: int) -> Bool[Tensor, "H W"]:
    """Texels that a bilinear look-up at some `uv` reads (texel centres at (i + 0.5) / size)."""
    used = torch.zeros(height, width, dtype=torch.bool, device=uv.device)
    u = (uv[:, 0] * width - 0.5).clamp(0, width - 1)
    v = (uv[:, 1] * height - 0.5).clamp(0, height - 1)
    for column in (u.floor().long(), u.ceil().long()):
        for row in (v.floor().long(), v.ceil().long()):
            used[row, column] = True
    return used


def chart_texels(
    uv: Float[Tensor, "Nuv 2"], uv_faces: Int[Tensor, "F 3"], height: int, width: int
) -> Bool[Tensor, "H W"]:
    """Texels that a bilinear look-up anywhere in the chart reads: each triangle is sampled at most one
    texel apart."""
    corners = uv[uv_faces.long()]
    texels = corners * torch.tensor([width, height], dtype=uv.dtype, device=uv.device)
    longest = (texels - texels.roll(1, dims=1)).norm(dim=-1).amax(1)
    level = longest.clamp_min(1.0).log2().ceil().long()
    used = torch.zeros(height, width, dtype=torch.bool, device=uv.device)
    for k in level.unique().tolist():
        count = 2**k
        i, j = torch.meshgrid(torch.arange(count + 1), torch.arange(count + 1), indexing="ij")
        inside = (i + j) <= count
        a, b = i[inside].to(uv) / count, j[inside].to(uv) / count
        weights = torch.stack((1.0 - a - b, a, b), -1)
        for chunk in corners[level == k].split(max(1, 2_000_000 // len(weights))):
            used |= used_texels((weights @ chunk).reshape(-1, 2), height, width)
    return used


def membrane_operator(
    size: int, used: Bool[Tensor, "D D"] | None = None
) -> scipy.sparse.csr_matrix:
    """Rows of the valid forward differences of one channel, (R, D*D): `total_variation` unscaled."""
    index = np.arange(size * size).reshape(size, size)
    pairs = [(index[:, :-1], index[:, 1:]), (index[:-1], index[1:])]
    blocks = [_stencil(pair, (-1.0, 1.0), size, used) for pair in pairs]
    return scipy.sparse.csr_matrix(scipy.sparse.vstack(blocks) * (size / REFERENCE))


def bending_operator(size: int, used: Bool[Tensor, "D D"] | None = None) -> scipy.sparse.csr_matrix:
    """Rows of the valid second differences of one channel, (R, D*D): `bending` unscaled."""
    index = np.arange(size * size).reshape(size, size)
    corners = (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
    root = math.sqrt(2.0)
    blocks = [
        _stencil((index[:, :-2], index[:, 1:-1], index[:, 2:]), (1.0, -2.0, 1.0), size, used),
        _stencil(corners, (root, -root, -root, root), size, used),
        _stencil((index[:-2], index[1:-1], index[2:]), (1.0, -2.0, 1.0), size, used),
    ]
    return scipy.sparse.csr_matrix(scipy.sparse.vstack(blocks) * (size / REFERENCE) ** 2)


def membrane_matrix(size: int, used: Bool[Tensor, "D D"] | None = None) -> scipy.sparse.csr_matrix:
    """Q (3*D*D, 3*D*D) with x^T Q x = mean squared `total_variation` residual at scale 1.

    x is the deformation map (D, D, 3), raveled: channels vary fastest. Divide by scale^2.
    """
    return _quadratic_form(membrane_operator(size, used))


def bending_matrix(size: int, used: Bool[Tensor, "D D"] | None = None) -> scipy.sparse.csr_matrix:
    """Q (3*D*D, 3*D*D) with x^T Q x = mean squared `bending` residual at scale 1; x as above."""
    return _quadratic_form(bending_operator(size, used))


def _stencil(
    texels: tuple[np.ndarray, ...],
    weights: tuple[float, ...],
    size: int,
    used: Tensor | None,
) -> scipy.sparse.csr_matrix:
    """One row per placement of a stencil, where all its texels are used."""
    columns = np.stack([t.ravel() for t in texels], axis=1)
    if used is not None:
        columns = columns[used.cpu().numpy().ravel()[columns].all(axis=1)]
    rows = np.repeat(np.arange(len(columns)), len(weights))
    data = np.tile(np.asarray(weights), len(columns))
    shape = (len(columns), size * size)
    return scipy.sparse.csr_matrix((data, (rows, columns.ravel())), shape=shape)


def _quadratic_form(operator: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """Mean square over rows and the three channels."""
    count = 3 * max(len(operator.indptr) - 1, 1)
    per_channel = (operator.T @ operator) / count
    return scipy.sparse.csr_matrix(scipy.sparse.kron(per_channel, scipy.sparse.eye(3)))


def used_by_model(prediction: Prediction, height: int, width: int) -> Bool[Tensor, "H W"]:
    """`chart_texels` of the predicted model, computed once per model and size."""
    uv, uv_faces = prediction.model.uv, prediction.model.uv_faces
    # what is named by its `id` is held, so that nothing else gets it
    texels, _ = kept_with(
        uv,
        ("used texels", height, width, id(uv_faces)),
        lambda: (chart_texels(uv, uv_faces, height, width), uv_faces),
    )
    return texels


@dataclass(frozen=True)
class DeformationVariation:
    """L_tv of the deformation map (HRN sec. 3.2), squared under kernel `square`."""

    scale: float = 0.5
    """Offset change, mm per 1/64 of the chart (about 3 mm of skin), that is visibly wrong."""
    name: str = "deformation_tv"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        deformation = prediction.state.deformation
        used = used_by_model(prediction, *deformation.shape[:2])
        return total_variation(deformation, used, self.scale)


@dataclass(frozen=True)
class DeformationBending:
    """Thin-plate energy of the deformation map: smooth offsets are free, kinks are not."""

    scale: float = 0.25
    """Second difference, mm per (1/64 of the chart)^2, that is visibly wrong."""
    name: str = "deformation_bending"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        deformation = prediction.state.deformation
        used = used_by_model(prediction, *deformation.shape[:2])
        return bending(deformation, used, self.scale)


@dataclass(frozen=True)
class DeformationSize:
    """Length of the offset itself, so that what no view sees stays on the coarse face."""

    scale: float = 5.0
    """Offset, mm, that is visibly wrong: the coarse face is 1 to 2 mm off a real one."""
    name: str = "deformation_size"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        deformation = prediction.state.deformation
        used = used_by_model(prediction, *deformation.shape[:2]).to(deformation.dtype)
        return Residuals(deformation / self.scale, used[..., None].expand_as(deformation))


@dataclass(frozen=True)
class DisplacementSize:
    """L_reg of the displacement maps (HRN sec. 3.2): L1 under kernel `abs`."""

    scale: float = 0.5
    """Displacement, mm, that is visibly wrong; a deep wrinkle has about 1."""
    name: str = "displacement_size"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        maps = prediction.state.displacement
        used = used_by_model(prediction, *maps.shape[1:]).to(maps.dtype)
        return Residuals(maps / self.scale, used.expand_as(maps))


@dataclass(frozen=True)
class DisplacementVariation:
    """Isotropic total variation of the displacement maps."""

    scale: float = 0.5
    """Change, mm per 1/64 of the chart, that is visibly wrong."""
    name: str = "displacement_tv"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        maps = prediction.state.displacement
        used = used_by_model(prediction, *maps.shape[1:])
        return isotropic_variation(maps[..., None], used, self.scale)
