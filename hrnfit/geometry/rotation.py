"""SO(3) and rigid poses as tangents: exponential, logarithm, left Jacobian, and re-based poses.

Rotations act on columns: `x_dst = R_dst_src x_src`. Every function is smooth at the zero vector,
where the closed forms divide by the angle: series take over below it. On CUDA, where no derivative is asked
for, exponential, Jacobian and poses are one launch each (`turn_cuda.py`).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.device_kernels import underived

SERIES_BELOW = 1e-2
"""Squared angle (rad^2) under which series replace closed forms. The series are exact to 1e-14 there,
while in float32 the closed form of (a - sin a) / a^3 at 0.01 rad has two digits left."""


def skew(vector: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Cross-product matrix: `skew(a) @ b == cross(a, b)`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(rows, -1).reshape(*vector.shape[:-1], 3, 3)


def _coefficients(squared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin(a)/a, (1 - cos a)/a^2 and (a - sin a)/a^3 of the squared angle, smooth at zero."""
    small = squared < SERIES_BELOW
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sinc, half_angle = angle.sin() / angle, angle / 2
    versine = 0.5 * (half_angle.sin() / half_angle).square()  # no cancellation, unlike 1 - cos
    cubic = (1.0 - sinc) / safe
    q = squared
    return (
        torch.where(
            small, 1.0 - q / 6.0 * (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0))), sinc
        ),
        torch.where(
            small, 0.5 - q / 24.0 * (1.0 - q / 30.0 * (1.0 - q / 56.0 * (1.0 - q / 90.0))), versine
        ),
        torch.where(
            small,
            (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0 * (1.0 - q / 110.0)))) / 6.0,
            cubic,
        ),
    )


def _by_kernels(*tensors: Tensor) -> bool:
    """Whether kernels of our own take these: they have no derivatives, and one dtype."""
    return underived(*tensors) and len({t.dtype for t in tensors}) == 1


def _device_turns(rotvec: Tensor) -> tuple[Tensor, Tensor]:
    from hrnfit.geometry.turn_cuda import device_turns  # local: triton

    return device_turns(rotvec, SERIES_BELOW)


def rotation_exp(rotvec: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Rotation matrix of a rotation vector, rad (Rodrigues)."""
    if _by_kernels(rotvec):
        return _device_turns(rotvec)[0]
    squared = rotvec.square().sum(-1)[..., None, None]
    first, second, _ = _coefficients(squared)
    K = skew(rotvec)
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return eye + first * K + second * (K @ K)


def left_jacobian(rotvec: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """J with `exp(w + dw) = exp(J dw) exp(w)` to first order; so `d(exp(w) y) = -skew(exp(w) y) J dw`."""
    if _by_kernels(rotvec):
        return _device_turns(rotvec)[1]
    squared = rotvec.square().sum(-1)[..., None, None]
    _, second, third = _coefficients(squared)
    K = skew(rotvec)
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return eye + second * K + third * (K @ K)


def rotation_with_jacobian(
    rotvec: Float[Tensor, "*B 3"],
) -> tuple[Float[Tensor, "*B 3 3"], Float[Tensor, "*B 3 3"]]:
    """`rotation_exp` and `left_jacobian` of one vector, bit for bit, for half the work."""
    if _by_kernels(rotvec):
        return _device_turns(rotvec)
    squared = rotvec.square().sum(-1)[..., None, None]
    first, second, third = _coefficients(squared)
    K = skew(rotvec)
    twice = K @ K
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return eye + first * K + second * twice, eye + second * K + third * twice


def rotation_log(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """Rotation vector of a rotation matrix, rad, of length at most pi.

    Goes through the unit quaternion built from its largest component (Shepperd), so it is accurate
    near zero and near pi; at exactly pi one of the two answers is returned.
    """
    quaternion = _quaternion(rotation)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    w, v = quaternion[..., :1], quaternion[..., 1:]
    squared = v.square().sum(-1, keepdim=True)
    small = squared < SERIES_BELOW
    norm = torch.where(small, torch.ones_like(squared), squared).sqrt()
    safe_w = torch.where(small, w, torch.ones_like(w))
    ratio = squared / safe_w.square()
    arctan = 0.0  # Horner form of atan(x) / x in x^2
    for k in range(8, -1, -1):
        arctan = 1.0 / (2 * k + 1) - ratio * arctan
    series = 2.0 / safe_w * arctan
    return v * torch.where(small, series, 2.0 * torch.atan2(norm, w) / norm)


def _quaternion(rotation: Tensor) -> Tensor:
    """Unit quaternion (w, x, y, z) of a rotation matrix, from the best conditioned of four forms."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in rotation.unbind(-2))
    forms = torch.stack(
        [
            torch.stack([1 + a + e + i, h - f, c - g, d - b], -1),
            torch.stack([h - f, 1 + a - e - i, b + d, c + g], -1),
            torch.stack([c - g, b + d, 1 - a + e - i, f + h], -1),
            torch.stack([d - b, c + g, f + h, 1 - a - e + i], -1),
        ],
        -2,
    )
    best = torch.diagonal(forms, dim1=-2, dim2=-1).argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    row = forms.gather(-2, index).squeeze(-2)
    return row / row.norm(dim=-1, keepdim=True)


def frame_from_axes(
    first: Float[Tensor, "*B 3"], second: Float[Tensor, "*B 3"]
) -> Float[Tensor, "*B 3 3"]:
    """Right-handed frame whose columns are x along `first`, y in the plane of both, z across it."""
    x = first / first.norm(dim=-1, keepdim=True)
    z = torch.linalg.cross(x, second)
    z = z / z.norm(dim=-1, keepdim=True)
    return torch.stack([x, torch.linalg.cross(z, x), z], -1)


def rotation_from_frames(
    frame_src: Float[Tensor, "*B 3 3"], frame_dst: Float[Tensor, "*B 3 3"]
) -> Float[Tensor, "*B 3 3"]:
    """Rotation that turns the axes (columns) of `frame_src` into those of `frame_dst`."""
    return frame_dst @ frame_src.mT


def rigid_matrix(
    rotation: Float[Tensor, "*B 3 3"], translation: Float[Tensor, "*B 3"]
) -> Float[Tensor, "*B 4 4"]:
    """Homogeneous matrix of a rigid motion."""
    top = torch.cat([rotation, translation[..., None]], -1)
    last = torch.eye(4, dtype=top.dtype, device=top.device)[3]  # made where it is needed: no copy
    return torch.cat([top, last.expand(*top.shape[:-2], 1, 4)], -2)


def rigid_inverse(T: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 4 4"]:
    """Inverse of a rigid motion, by transposition."""
    R_inv = T[..., :3, :3].mT
    return rigid_matrix(R_inv, -(R_inv @ T[..., :3, 3:]).squeeze(-1))


def pose_matrix(
    tangent: Float[Tensor, "*#B 6"], reference: Float[Tensor, "*#B 4 4"]
) -> Float[Tensor, "*#B 4 4"]:
    """Pose at a tangent (rotation vector rad, translation mm): R = exp(w) R_ref, t = t_ref + v."""
    if _by_kernels(tangent, reference):
        from hrnfit.geometry.turn_cuda import device_poses  # local: triton

        return device_poses(tangent, reference, SERIES_BELOW)
    rotation = rotation_exp(tangent[..., :3]) @ reference[..., :3, :3]
    return rigid_matrix(rotation, reference[..., :3, 3] + tangent[..., 3:])


def pose_tangent(
    pose: Float[Tensor, "*B 4 4"], reference: Float[Tensor, "*B 4 4"]
) -> Float[Tensor, "*B 6"]:
    """Inverse of `pose_matrix`: the tangent at `reference` that gives `pose`."""
    rotation = pose[..., :3, :3] @ reference[..., :3, :3].mT
    return torch.cat([rotation_log(rotation), pose[..., :3, 3] - reference[..., :3, 3]], -1)


def rebase(
    tangent: Float[Tensor, "*B 6"], reference: Float[Tensor, "*B 4 4"]
) -> tuple[Float[Tensor, "*B 6"], Float[Tensor, "*B 4 4"]]:
    """The same pose with a zero tangent: (zeros, new reference), its rotation made orthonormal."""
    pose = pose_matrix(tangent, reference)
    rotation = _orthonormal(pose[..., :3, :3])  # removes drift over many re-basings
    return torch.zeros_like(tangent), rigid_matrix(rotation, pose[..., :3, 3])


def _orthonormal(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3 3"]:
    """The nearest rotation to what is almost one. On a device without a decomposition, which waits for the host."""
    if rotation.device.type == "cpu":
        U, _, Vh = torch.linalg.svd(rotation)
        return U @ Vh
    return polar_factor(rotation)


def polar_factor(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3 3"]:
    """The nearest rotation to what is almost one, by Newton's iteration for the polar factor in its form without
    inverses (Higham 1986), of which three steps take an error of 0.01 to 2e-15."""
    for _ in range(3):
        rotation = 1.5 * rotation - 0.5 * rotation @ (rotation.mT @ rotation)
    return rotation
