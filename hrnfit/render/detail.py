"""Displacement maps as detail normals: the normal of the surface p + d n without moving a vertex.

With tangents p_u, p_v and unit normal n of the undisplaced surface, the displaced surface has the
tangents p_u + d_u n + d n_u and p_v + d_v n + d n_v. The curvature parts d n_u, d n_v are of the
size of the displacement over the radius of curvature (1 mm over 80 mm on a cheek) and are dropped
(Blinn 1978, "Simulation of wrinkled surfaces"). What is left is

    n_detail ~ n - grad d,    grad d = (d_u (G p_u - F p_v) + d_v (E p_v - F p_u)) / (E G - F^2)

the surface gradient by the first fundamental form E = p_u.p_u, F = p_u.p_v, G = p_v.p_v. It does
not depend on the stretch, shear or handedness of the chart, and is right-handed with n.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.render.shade import safe_normalize


def detail_normals(
    positions: Float[Tensor, "*B H W 3"],
    normals: Float[Tensor, "*B H W 3"],
    displacement: Float[Tensor, "*B H W"],
    mask: Bool[Tensor, "H W"] | None = None,
) -> Float[Tensor, "*B H W 3"]:
    """Unit normals of the displaced surface per texel, in the frame of the inputs.

    `positions`, mm, and unit `normals` of the undisplaced surface in UV; `displacement`, mm along
    the normal; `mask`: texels inside the chart. Differentiable in all three. Differences are
    central inside, one-sided at the border of the mask; where a chart is degenerate the normal
    stays as it was.
    """
    if positions.shape[:-1] != displacement.shape:
        raise ValueError(
            f"displacement: expected {tuple(positions.shape[:-1])} as the position map, "
            f"got {tuple(displacement.shape)}"
        )
    gradient = surface_gradient(positions, displacement, mask)
    # The finite tangents are not exactly orthogonal to the smooth normal: only the tangential part
    # of the gradient tilts it.
    along = (gradient * normals).sum(-1, keepdim=True)
    return safe_normalize(normals - (gradient - along * normals))


def view_detail(
    positions: Float[Tensor, "T H W 3"],
    normals: Float[Tensor, "T H W 3"],
    displacement: Float[Tensor, "K H W"],
    mask: Bool[Tensor, "H W"],
    frame: Int[Tensor, "V"],
    rows: Int[Tensor, "V"],
) -> Float[Tensor, "V H W 3"]:
    """`detail_normals` of views, each with its own row of the surfaces of frames and of the displacements."""
    if has_kernels(positions.device):
        from hrnfit.render.detail_cuda import cuda_view_detail  # local: triton

        return cuda_view_detail(positions, normals, displacement, mask, frame, rows)
    return detail_normals(positions[frame], normals[frame], displacement[rows], mask)


def surface_gradient(
    positions: Float[Tensor, "*B H W 3"],
    values: Float[Tensor, "*B H W"],
    mask: Bool[Tensor, "H W"] | None = None,
) -> Float[Tensor, "*B H W 3"]:
    """Gradient of a scalar map along the surface, per mm, as a vector in the frame of `positions`.

    Zero where the mask or the chart leaves fewer than two directions.
    """
    fields = torch.cat([positions, values[..., None]], dim=-1)
    u, v = _difference(fields, mask, -2), _difference(fields, mask, -3)
    p_u, d_u, p_v, d_v = u[..., :3], u[..., 3:], v[..., :3], v[..., 3:]
    e = (p_u * p_u).sum(-1, keepdim=True)
    f = (p_u * p_v).sum(-1, keepdim=True)
    g = (p_v * p_v).sum(-1, keepdim=True)
    area = e * g - f * f
    # Below a sine of 1e-3 between the tangents the gradient across them is noise.
    flat = area <= 1e-6 * e * g
    scale = torch.where(flat, 0.0, 1.0 / torch.where(flat, 1.0, area))
    return (d_u * (g * p_u - f * p_v) + d_v * (e * p_v - f * p_u)) * scale


def _difference(fields: Tensor, mask: Tensor | None, axis: int) -> Tensor:
    """Derivative per texel along an axis of (*B, H, W, C): central, one-sided at borders."""
    size = fields.shape[axis]
    if size < 2:
        return torch.zeros_like(fields)
    step = fields.narrow(axis, 1, size - 1) - fields.narrow(axis, 0, size - 1)
    valid = torch.ones(fields.shape[-3:-1], dtype=torch.bool, device=fields.device)
    if mask is not None:
        valid = mask
    both = valid[..., None]
    pair = both.narrow(axis, 1, size - 1) & both.narrow(axis, 0, size - 1)
    step = torch.where(pair, step, 0.0)
    zero = torch.zeros_like(step.narrow(axis, 0, 1))
    none = torch.zeros_like(pair.narrow(axis, 0, 1))
    total = torch.cat([step, zero], axis) + torch.cat([zero, step], axis)
    count = torch.cat([pair, none], axis).int() + torch.cat([none, pair], axis).int()
    return total / count.clamp_min(1)
