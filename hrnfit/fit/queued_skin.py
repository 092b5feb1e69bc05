"""The data term of `coefficient_stage` as one function of tensors: normal equations without a Jacobian.

For a linear model the columns of view v are C_v G_f: C_v = dI/dx R_cam_head is 3 x 3 per texel, and
G_f = [identity | expression, pose of frame f] is the same for all views of a frame. The albedo's
elimination only mixes the C_v, so with w_v the weights and W their sum over the views of all frames

    M_fg = [f = g] sum_v w_v C_v^T C_v - (sum_{v in f} w_v C_v)^T (sum_{v in g} w_v C_v) / W

is all that the products G_f^T M_fg G_g need: views cost 3 x 3 products, and nothing of size (V, P, n) is stored.
Per texel it holds 12 (2 i + 2 T k) bytes in float32, i identity coefficients and k other unknowns in each
of T frames, besides some 80 values per view. Every texel of the chart is looked at; those that fewer than
two views see weigh nothing, so shapes are the same in every round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.shared_albedo import (
    Consensus,
    TexelSource,
    TexelViews,
    consensus,
    read_texels,
)
from hrnfit.fit.scene import Scene
from hrnfit.fit.shared_skin import LocalShape, SharedSkin
from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.geometry.kept import kept_for_good
from hrnfit.geometry.rotation import (
    pose_matrix,
    rigid_matrix,
    rotation_with_jacobian,
    skew,
)
from hrnfit.geometry.tall import tall_product
from hrnfit.state import FaceState


class SkinConstants(NamedTuple):
    """What a round holds fixed. float32 where the scene is, small matrices float64."""

    channels: Float[Tensor, "V 10 S S"]
    """Of `TexelSource`."""
    visible: Float[Tensor, "V P"]
    light: Float[Tensor, "V P 3"]
    still: Float[Tensor, "T P 3"]
    """Texels at zero free coefficients, head frame, mm."""
    identity: Float[Tensor, "P 3 I"]
    """Columns of the free coefficients, mm; none where they are not free."""
    expression: Float[Tensor, "P 3 E"]
    of_frame: Float[Tensor, "T V"]
    """1 where a view belongs to a frame."""
    K: Float[Tensor, "V 3 3"]
    """Of the windows, without focal factors."""
    T_cam_world: Float[Tensor, "V 4 4"]
    pose: Float[Tensor, "T 6"]
    """Where it is not free."""
    pose_reference: Float[Tensor, "T 4 4"]
    log_focal: Float[Tensor, "V"]
    """Where it is not free."""


@dataclass(frozen=True)
class SkinPlan:
    """What shapes do not say."""

    frame: tuple[int, ...]
    """Of each view."""
    pose: bool
    """Whether it is free."""
    focal: bool
    scale: float
    """Geman-McClure scale."""
    evidence: float


def skin_constants(
    scene: Scene,
    state: FaceState,
    free: tuple[str, ...],
    size: int,
    skin: SharedSkin,
    shape: LocalShape,
    visible: Float[Tensor, "V P"],
) -> SkinConstants:
    """Of a linear model in windows of `size` px. shape: the model at the texels, from `neutral_shape`."""
    frames, views = len(state.expression), scene.windows(size)
    offset = scene.operator(len(state.deformation))(state.deformation)
    still = (shape.mean + skin.texels.interpolate(offset)).expand(frames, -1, -1)
    identity, expression = shape.identity, shape.expression
    if "identity" not in free:
        still, identity = still + identity @ state.identity, identity[..., :0]
    if "expression" not in free:
        still = still + (expression @ state.expression.T).movedim(-1, 0)
        expression = expression[..., :0]
    frame = scene.sharing.frame.cpu()
    of_frame = (frame == torch.arange(frames)[:, None]).to(still)
    return SkinConstants(
        channels=skin.source.channels,
        visible=visible,
        light=skin.light,
        still=still,
        identity=identity,
        expression=expression,
        of_frame=of_frame,
        K=views.K.double(),
        T_cam_world=pose_matrix(state.camera.double(), views.T_cam_world.double()),
        pose=state.pose.double(),
        pose_reference=state.pose_reference.double(),
        log_focal=state.log_focal.double(),
    )


class SkinEquations(NamedTuple):
    """Evidence times half of the data energy, as blocks. float64."""

    energy: Float[Tensor, ""]
    hessian: Float[Tensor, "m m"]
    """Over identity, then per frame expression and pose, then the focal lengths."""
    gradient: Float[Tensor, "m"]


def skin_equations(
    plan: SkinPlan,
    c: SkinConstants,
    identity: Float[Tensor, "I"],
    expression: Float[Tensor, "T E"],
    pose: Float[Tensor, "T 6"],
    log_focal: Float[Tensor, "V"],
) -> SkinEquations:
    """Normal equations at leaves, float64; leaves that are not free are empty along their last axis, or
    those of the constants."""
    frame = list(plan.frame)
    turned, turn = rotation_with_jacobian(pose[:, :3])
    reference = c.pose_reference
    T_world_head = rigid_matrix(turned @ reference[:, :3, :3], reference[:, :3, 3] + pose[:, 3:])
    T = c.T_cam_world @ torch.stack([T_world_head[f] for f in frame])
    K = torch.cat([c.K[:, :, :2] * log_focal.exp()[:, None, None], c.K[:, :, 2:]], 2)
    like = c.still
    head = like + (c.identity @ identity.to(like))
    head = head + (c.expression @ expression.to(like).T).movedim(-1, 0)
    C, agreed, x_cam = _compared(plan, c, head, T[:, :3].to(like), K.to(like))
    weight = agreed.weight * (plan.evidence / agreed.seen)
    sideways = None
    if plan.focal:
        J = small_product(C, T[:, None, :3, :3].mT.to(like))  # in the camera's frame
        sideways = (J[..., :2] * x_cam[..., None, :2]).sum(-1)
    own = _own_columns(plan, c, head, T_world_head[:, :3, :3].mT, turn)
    moments = _Moments.of(c.of_frame, C, weight, agreed.residual, sideways)
    hessian, gradient = _products(c.identity, own, moments)
    return SkinEquations(
        0.5 * plan.evidence * agreed.energy.double(), hessian.double(), gradient.double()
    )


def _compared(
    plan: SkinPlan,
    c: SkinConstants,
    head: Float[Tensor, "T P 3"],
    motion: Float[Tensor, "V 3 4"],
    K: Float[Tensor, "V 3 3"],
) -> tuple[Float[Tensor, "V P 3 3"], Consensus, Float[Tensor, "V P 3"]]:
    """Derivative of each view's colours in the head frame, what the views agree on, and the texels in the camera
    frames. motion: camera from head."""
    R = motion[:, :, :3]
    x_cam = torch.stack([head[f] for f in plan.frame]) @ R.mT + motion[:, None, :, 3]
    if not has_kernels(head.device) or head.dtype != torch.float32:
        # normals decide on weights alone, and those stand
        seen = read_texels(TexelSource(c.channels), K, x_cam, x_cam, None)
        agreed = consensus(TexelViews(seen.colour, seen.jacobian, c.visible), c.light, plan.scale)
        return small_product(seen.jacobian, R[:, None]), agreed, x_cam
    from hrnfit.energy.skin_cuda import agreement, read_skin  # local: triton

    frame, size = _frames(plan.frame, head.device), head.new_full((), c.channels.shape[-1])
    nothing, all_of_it = torch.zeros_like(c.channels[:, 0]), torch.ones_like(c.visible[0])
    seen = read_skin(c.channels, size, K, motion, frame, head, head, nothing, all_of_it)
    seen = TexelViews(seen.colour, seen.jacobian, c.visible)
    return seen.jacobian, agreement(seen, c.light, plan.scale), x_cam


@kept_for_good
def _frames(frame: tuple[int, ...], device: torch.device) -> Int[Tensor, "V"]:
    return torch.tensor(frame, device=device)


def _own_columns(
    plan: SkinPlan,
    c: SkinConstants,
    head: Float[Tensor, "T P 3"],
    R_head_world: Float[Tensor, "T 3 3"],
    turn: Float[Tensor, "T 3 3"],
) -> Float[Tensor, "T P 3 k"]:
    """Derivative of the head-frame texels in the unknowns of their frame. turn: left Jacobian of the pose."""
    parts = [c.expression.expand(len(head), *c.expression.shape)]
    if plan.pose:
        about = (R_head_world @ turn).to(head)
        parts.append(small_product(skew(-head), about[:, None]))
        parts.append(R_head_world.to(head)[:, None].expand(*head.shape, 3))
    return torch.cat(parts, -1)


class _Moments(NamedTuple):
    """Sums over views, per texel."""

    curvature: Float[Tensor, "T T P 3 3"]
    """M above."""
    slope: Float[Tensor, "T P 3"]
    """sum_v w_v C_v^T r_v."""
    focal: tuple[Tensor, Tensor, Tensor] | None
    """Of the focal lengths: curvature with the texels (T, P, 3, V), among themselves (V, V), slope (V)."""

    @staticmethod
    def of(
        of_frame: Float[Tensor, "T V"],
        C: Float[Tensor, "V P 3 3"],
        weight: Float[Tensor, "V P"],
        residual: Float[Tensor, "V P 3"],
        sideways: Float[Tensor, "V P 3"] | None,
    ) -> _Moments:
        weighted = weight[..., None, None] * C
        total = weight.sum(0).clamp_min(1e-12)
        squares = _by_frame(of_frame, small_product(weighted.mT, C))
        pulled = _by_frame(of_frame, weighted)
        share = pulled / total[:, None, None]
        curvature = -small_product(pulled.mT[:, None], share[None])
        curvature.diagonal(dim1=0, dim2=1).add_(squares.movedim(0, -1))
        slope = _by_frame(of_frame, (weighted * residual[..., None]).sum(-2))
        if sideways is None:
            return _Moments(curvature, slope, None)
        pushed = weight[..., None] * sideways  # (V, P, 3)
        mixed = (weighted * sideways[..., None]).sum(-2)  # (V, P, 3)
        mixed = of_frame[:, None, None] * mixed.movedim(0, -1) - small_product(
            share.mT, pushed.movedim(0, -1)
        )
        flat, root = pushed.flatten(1), total.rsqrt()
        among = torch.diag((flat * sideways.flatten(1)).sum(1))
        flat = (pushed * root[:, None]).flatten(1)
        return _Moments(
            curvature, slope, (mixed, among - flat @ flat.T, (pushed * residual).sum((1, 2)))
        )


def small_product(
    a: Float[Tensor, "*#B m 3"], b: Float[Tensor, "*#B 3 k"]
) -> Float[Tensor, "*B m k"]:
    """a @ b for very many small matrices: three passes over the result, where a batched product of 18,000
    3 x 3 matrices takes 35 us on an H100 and these 10."""
    out = a[..., 0, None] * b[..., None, 0, :]
    out = torch.addcmul(out, a[..., 1, None], b[..., None, 1, :])
    return torch.addcmul(out, a[..., 2, None], b[..., None, 2, :])


def _by_frame(
    of_frame: Float[Tensor, "T V"], values: Float[Tensor, "V *B"]
) -> Float[Tensor, "T *B"]:
    """Sums over the views of each frame."""
    return (of_frame @ values.flatten(1)).view(len(of_frame), *values.shape[1:])


def _products(
    shared: Float[Tensor, "P 3 I"], own: Float[Tensor, "T P 3 k"], moments: _Moments
) -> tuple[Float[Tensor, "m m"], Float[Tensor, "m"]]:
    """The columns on both sides of the moments."""
    frames, M = len(own), moments.curvature
    flat, columns = shared.flatten(0, 1), own.flatten(1, 2)  # (3P, I), (T, 3P, k)
    rows = [[tall_product(flat, small_product(M.sum((0, 1)), shared).flatten(0, 1))]]
    mixed = M.sum(0)  # what identity, in all frames alike, has to do with frame f
    rows[0] += [
        tall_product(flat, small_product(mixed[f], own[f]).flatten(0, 1)) for f in range(frames)
    ]
    for f in range(frames):
        here = [rows[0][1 + f].mT]
        here += [rows[1 + g][1 + f].mT for g in range(f)]
        here += [
            tall_product(columns[f], small_product(M[f, g], own[g]).flatten(0, 1))
            for g in range(f, frames)
        ]
        rows.append(here)
    slopes = [flat.T @ moments.slope.sum(0).flatten()]
    slopes += [columns[f].T @ moments.slope[f].flatten() for f in range(frames)]
    if moments.focal is not None:
        texels, among, slope = moments.focal
        wide = texels.flatten(1, 2)  # (T, 3P, V)
        last = [
            tall_product(flat, wide.sum(0)),
            *(tall_product(columns[f], wide[f]) for f in range(frames)),
        ]
        for row, part in zip(rows, last, strict=True):
            row.append(part)
        rows.append([*(part.mT for part in last), among])
        slopes.append(slope)
    return torch.cat([torch.cat(row, 1) for row in rows]), torch.cat(slopes)
