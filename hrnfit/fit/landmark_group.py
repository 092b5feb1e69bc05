"""Landmarks of several views of one face at once: the energy and the exact normal equations of their blocks.

Every block (`energy/landmark.py`) depends on coefficients and pose only through the world positions of its
points, so what the views say is first summed per point, into 3 x 3 matrices N and forces n, and the basis is
multiplied once. With five views and 478 points that is a quarter of the products of A^T A, and a tenth of the
calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.kernel import robust_scale
from hrnfit.energy.landmark import LandmarkBasis, LandmarkBlock
from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.rotation import left_jacobian, rotation_exp, skew
from hrnfit.geometry.tall import stretched_product
from hrnfit.solve.block import Block, Layout, NormalEquations, energy, normal_equations
from hrnfit.solve.solver import Leaves


@dataclass(frozen=True)
class LandmarkGroup:
    """Blocks of V views that share basis, pose and kernel. Unknowns: C coefficients, pose, V log focals."""

    slots: tuple[tuple[str, int | None], ...]
    """Identity, expression, pose, then the log focal factor of each view."""
    mean: Float[Tensor, "L 3"]
    table: Float[Tensor, "L 3 C"]
    """Identity and expression of the basis."""
    pose_reference: Float[Tensor, "4 4"]
    T_cam_world: Float[Tensor, "V 4 4"]
    K: Float[Tensor, "V 3 3"]
    pixels: Float[Tensor, "V L 2"]
    metric: Float[Tensor, "V L 2 2"]
    root: Float[Tensor, "V L"]
    """Square roots of the weights."""
    kernel: str

    @staticmethod
    def of(blocks: Sequence[LandmarkBlock]) -> LandmarkGroup:
        """Blocks that differ only in camera, detections and their own focal length."""
        first = blocks[0]
        return LandmarkGroup(
            slots=(*first.slots[:3], *(block.slots[3] for block in blocks)),
            mean=first.basis.mean,
            table=_table(first.basis),
            pose_reference=first.pose_reference,
            T_cam_world=torch.stack([block.T_cam_world for block in blocks]),
            K=torch.stack([block.K for block in blocks]),
            pixels=torch.stack([block.pixels for block in blocks]),
            metric=torch.stack([block.metric for block in blocks]),
            root=torch.stack([block.weight for block in blocks]).sqrt(),
            kernel=first.kernel,
        )

    def values(self, leaves: Leaves) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients (C,), pose (6,) and log focals (V,) out of the leaves."""
        found = [
            (leaves[n] if row is None else leaves[n][row]).reshape(-1) for n, row in self.slots
        ]
        return torch.cat(found[:2]), found[2], torch.cat(found[3:])

    def energy(
        self, coefficients: Float[Tensor, "C"], pose: Float[Tensor, "6"], focal: Float[Tensor, "V"]
    ) -> Float[Tensor, ""]:
        """Sum of |e|^2 / 2."""
        raw = self._seen(self._placed(coefficients, pose)[2], focal)[0]
        g, _ = robust_scale(raw.square().sum(-1), self.kernel)
        return 0.5 * ((g * self.root)[..., None] * raw).square().sum()

    def equations(
        self, coefficients: Float[Tensor, "C"], pose: Float[Tensor, "6"], focal: Float[Tensor, "V"]
    ) -> NormalEquations:
        """Over coefficients, pose and focals, in this order."""
        R, turned, x_cam = self._placed(coefficients, pose)
        raw, projected, xy, z = self._seen(x_cam, focal)
        g, a = robust_scale(raw.square().sum(-1), self.kernel)
        e = (g * self.root)[..., None] * raw  # (V, L, 2)
        scale = (a * self.root)[..., None, None] * self.metric
        lens = (focal.exp()[:, None, None] * self.K[:, :2, :2])[:, None]
        flat = scale @ lens / z[..., None]
        # residual by world position, with [I, -xy] as a factor: (V, L, 2, 3)
        D = torch.cat([flat, -(flat @ xy[..., None])], -1) @ self.T_cam_world[:, None, :3, :3]
        by_focal = (scale @ (projected - self.K[:, None, :2, 2])[..., None])[..., 0]
        rows = D.transpose(0, 1).flatten(1, 2)  # (L, 2 V, 3)
        forces = (D.mT @ e[..., None])[..., 0].sum(0)  # n, (L, 3)
        mixed = (D.mT @ by_focal[..., None])[..., 0].permute(1, 2, 0)  # (L, 3, V)
        N = rows.mT @ rows
        turn = -skew(turned) @ left_jacobian(pose[:3])
        P = torch.cat([turn, torch.eye(3, dtype=R.dtype, device=R.device).expand_as(turn)], -1)
        seen = torch.cat([N @ P, mixed, forces[..., None]], -1)  # (L, 3, 6 + V + 1)
        by_pose = P.flatten(0, 1).mT @ seen.flatten(0, 1)  # (6, 6 + V + 1)
        by_table = self.table.flatten(0, 1).mT @ (R.mT @ seen).flatten(0, 1)
        own = (rows if len(self.K) == 1 else _root(N)) @ R @ self.table
        H = torch.block_diag(
            _gram(own.flatten(0, 1)), by_pose[:, :6], by_focal.square().sum((1, 2)).diag()
        )
        c, p = len(coefficients), len(coefficients) + 6
        H[:c, c:], H[c:p, p:] = by_table[:, :-1], by_pose[:, 6:-1]
        H[c:, :c], H[p:, c:p] = by_table[:, :-1].mT, by_pose[:, 6:-1].mT
        downhill = torch.cat([by_table[:, -1], by_pose[:, -1], (by_focal * e).sum((1, 2))])
        return NormalEquations(0.5 * e.square().sum(), H, downhill)

    def _placed(self, coefficients: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation of the head, points turned about its origin, and in every camera (V, L, 3)."""
        x_head = self.mean + (self.table.flatten(0, 1) @ coefficients).view_as(self.mean)
        R = rotation_exp(pose[:3]) @ self.pose_reference[:3, :3]
        turned = x_head @ R.mT
        x_world = turned + (self.pose_reference[:3, 3] + pose[3:])
        T = self.T_cam_world
        return R, turned, x_world @ T[:, :3, :3].mT + T[:, None, :3, 3]

    def _seen(self, x_cam: Tensor, focal: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Dimensionless offsets before robustness, projected pixels, x / z, and depth."""
        # a point at or behind the camera is drawn at 1 mm: far off, so the step is refused
        z = x_cam[..., 2:].clamp_min(1.0)
        xy = x_cam[..., :2] / z
        lens = focal.exp()[:, None, None] * self.K[:, :2, :2]
        projected = xy @ lens.mT + self.K[:, None, :2, 2]
        return (self.metric @ (projected - self.pixels)[..., None])[..., 0], projected, xy, z


@dataclass(frozen=True)
class GroupedProblem:
    """A landmark energy as groups, and blocks for the rest: what `LevenbergMarquardt` minimises."""

    groups: tuple[LandmarkGroup, ...]
    rest: tuple[Block, ...]

    @staticmethod
    def of(blocks: Sequence[Block]) -> GroupedProblem:
        """The blocks, those that can be together in groups."""
        alike: dict[object, list[LandmarkBlock]] = {}
        rest: list[Block] = []
        for block in blocks:
            if isinstance(block, LandmarkBlock):
                alike.setdefault((id(block.basis), block.slots[:3], block.kernel), []).append(block)
            else:
                rest.append(block)
        return GroupedProblem(tuple(map(LandmarkGroup.of, alike.values())), tuple(rest))

    def energy(self, leaves: Leaves) -> Float[Tensor, ""]:
        """Sum of |e|^2 / 2 over everything."""
        parts = [group.energy(*group.values(leaves)) for group in self.groups]
        return torch.stack([*parts, energy(self.rest, leaves)]).sum()

    def equations(self, leaves: Leaves) -> NormalEquations:
        """Normal equations over all leaves."""
        found, layout = normal_equations(self.rest, leaves), Layout.of(leaves)
        total, hessian, gradient = found.energy, found.hessian, found.gradient
        for group in self.groups:
            own = group.equations(*group.values(leaves))
            columns = [layout.columns(slot) for slot in group.slots]
            sizes = [column.stop - column.start for column in columns]
            total = total + own.energy
            for part, there in zip(own.gradient.split(sizes), columns, strict=True):
                gradient[there] += part
            for line, there in zip(own.hessian.split(sizes), columns, strict=True):
                for part, there_too in zip(line.split(sizes, 1), columns, strict=True):
                    hessian[there, there_too] += part
        return NormalEquations(total, hessian, gradient)


def _table(basis: LandmarkBasis) -> Float[Tensor, "L 3 C"]:
    """Identity and expression with the coefficients last; made once per basis."""
    identity, expression = basis.identity, basis.expression

    def made() -> tuple[Tensor, Tensor]:
        # with the expressions, whose identity is the key
        return torch.cat([identity, expression]).permute(1, 2, 0).contiguous(), expression

    return kept_with(identity, ("table", id(expression)), made)[0]


def _root(N: Float[Tensor, "L 3 3"]) -> Float[Tensor, "L 3 3"]:
    """C with C^T C = N (Cholesky), for semidefinite N too: a column without its pivot is left out."""
    floor = 1e-14 * N.diagonal(dim1=-2, dim2=-1).sum(-1)
    rows = []
    for k in range(3):
        pivot = N[:, k, k]
        inverse = torch.where(pivot > floor, pivot.clamp_min(1e-300).rsqrt(), 0.0)
        rows.append(N[:, k] * inverse[:, None])
        N = N - rows[k][:, :, None] * rows[k][:, None, :]
    return torch.stack(rows, 1)


def _gram(A: Float[Tensor, "m n"]) -> Float[Tensor, "n n"]:
    """A^T A; on the host numpy forms half of it and mirrors that, torch all."""
    if A.device.type != "cpu":
        return stretched_product(A, A)
    array = A.numpy()
    return torch.from_numpy(array.T @ array)
