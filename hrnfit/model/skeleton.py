"""Linear blend skinning: joints that turn a surface, with pose correctives, and how it moves with them.

A vertex v of the unposed surface goes to sum_j w_j (W_j (v + c - J_j) + t_j). W_j and t_j are rotation
and place of joint j after all turns up the chain, J = regressor . surface its place before them, and
c = basis . (R - I) corrects what bending alone does wrong (Loper et al., SMPL, 2015, eqs. 2 to 10). The
root does not turn: where the head is in the world is no part of a model.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.brief import brief
from hrnfit.geometry.rotation import left_jacobian, rotation_exp, skew


class Turned(NamedTuple):
    """The chain of J joints at some turns."""

    relative: Float[Tensor, "*B J 3 3"]
    """Rotation of each joint against its parent."""
    rotation: Float[Tensor, "*B J 3 3"]
    """Rotation of each joint in the head frame."""
    place: Float[Tensor, "*B J 3"]
    """Where each joint is, head frame, mm."""
    offset: Float[Tensor, "*B J 3"]
    """place - rotation . place before the turns: joint j carries v to rotation v + offset."""


@dataclass(frozen=True)
class Skeleton:
    """J joints of a surface of N vertices, K of which have unknowns: axis-angle vectors in units of
    their standard deviations, joint after joint."""

    pose_basis: Float[Tensor, "C N3"]
    """Correctives, flat; mm per unit of each element of R - I of joints 1..J-1, row by row."""
    joint_regressor: Float[Tensor, "J N"]
    """Places of the joints as means of vertices."""
    weights: Float[Tensor, "N J"]
    """Share of each joint in each vertex, rows sum to 1."""
    parents: tuple[int, ...]
    """Parent of each joint, -1 for the first; always of a smaller number."""
    turning: tuple[int, ...]
    """Joints with unknowns, rising; never the root."""
    deviation: Float[Tensor, "K 3"]
    """Standard deviation of each unknown, rad."""

    __repr__ = brief

    @property
    def n_turns(self) -> int:
        """Unknowns: three for each joint that turns."""
        return 3 * len(self.turning)

    def to(self, target: torch.dtype | torch.device | str) -> Skeleton:
        """A copy on another device, or with its constants in another dtype."""
        tensors = {
            f.name: value.to(target)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **tensors)

    def turned(self, surface: Float[Tensor, "*#B N 3"], turns: Float[Tensor, "*#B T"]) -> Turned:
        """The chain of an unposed surface, mm, at turns in standard deviations."""
        relative = rotation_exp(self.rotvecs(turns))
        joints = self.joint_regressor @ surface
        rotation, place = [relative[..., 0, :, :]], [joints[..., 0, :]]
        for j, parent in enumerate(self.parents[1:], start=1):
            arm = (joints[..., j, :] - joints[..., parent, :])[..., None]
            place.append(place[parent] + (rotation[parent] @ arm)[..., 0])
            rotation.append(rotation[parent] @ relative[..., j, :, :])
        shape = torch.broadcast_shapes(*(p.shape for p in place))
        world, places = torch.stack(rotation, -3), torch.stack([p.expand(shape) for p in place], -2)
        offset = places - (world @ joints[..., None])[..., 0]
        return Turned(relative, world, places, offset)

    def rotvecs(self, turns: Float[Tensor, "*B T"]) -> Float[Tensor, "*B J 3"]:
        """Axis-angle vector of every joint, rad; zero where a joint has no unknowns."""
        given = turns.unflatten(-1, (len(self.turning), 3)) * self.deviation
        still = turns.new_zeros(*turns.shape[:-1], 3)
        return torch.stack(
            [
                given[..., self.turning.index(j), :] if j in self.turning else still
                for j in range(len(self.parents))
            ],
            dim=-2,
        )

    def posed(
        self, surface: Float[Tensor, "*#B N 3"], turns: Float[Tensor, "*#B T"]
    ) -> Float[Tensor, "*#B N 3"]:
        """The surface after the turns, mm."""
        chain = self.turned(surface, turns)
        corrected = surface + self._corrective(chain.relative)
        parts = [
            self.weights[:, j, None]
            * (corrected @ chain.rotation[..., j, :, :].mT + chain.offset[..., None, j, :])
            for j in range(len(self.parents))
        ]
        return sum(parts[1:], parts[0])

    def _corrective(self, relative: Float[Tensor, "*B J 3 3"]) -> Float[Tensor, "*B N 3"]:
        eye = torch.eye(3, dtype=relative.dtype, device=relative.device)
        bend = (relative[..., 1:, :, :] - eye).flatten(-3)
        return (bend @ self.pose_basis).unflatten(-1, (-1, 3))

    def posed_modes(
        self,
        chain: Turned,
        by_vertex: Float[Tensor, "N 3 M"],
        of_joints: Float[Tensor, "J 3 M"],
    ) -> Float[Tensor, "N 3 M"]:
        """How modes of the unposed surface move the posed one, mm: they turn with it, and shift joints.

        by_vertex: the modes, the mode last. of_joints: what they do to the joints' places.
        """
        # of joint j: place moves by that of its parent and the turned arm, as in `turned`
        moved = [of_joints[0]]
        for j, parent in enumerate(self.parents[1:], start=1):
            arm = of_joints[j] - of_joints[parent]
            moved.append(moved[parent] + chain.rotation[parent] @ arm)
        shift = torch.stack(moved) - chain.rotation @ of_joints
        blend = torch.tensordot(self.weights, chain.rotation, 1)
        shared = (self.weights @ shift.flatten(1)).unflatten(1, (3, -1))
        return torch.baddbmm(shared, blend, by_vertex)

    def turn_columns(
        self, surface: Float[Tensor, "N 3"], turns: Float[Tensor, "T"], chain: Turned
    ) -> Float[Tensor, "T N 3"]:
        """Derivative of the posed surface in its turns, mm per standard deviation.

        A joint i that turns by w carries what hangs on it: w x (x - place_i); and the correctives
        change with its own rotation.
        """
        corrected = surface + self._corrective(chain.relative)
        carried = corrected @ chain.rotation.mT + chain.offset[:, None]  # (J, N, 3)
        blend = torch.tensordot(self.weights, chain.rotation, 1)
        rotvecs, columns = self.rotvecs(turns), []
        for k, i in enumerate(self.turning):
            below = [j for j in range(len(self.parents)) if self._hangs_on(j, i)]
            arm = (carried[below] - chain.place[i]) * self.weights.T[below][..., None]
            axes = left_jacobian(rotvecs[i]) * self.deviation[k]  # columns: one per unknown
            world = chain.rotation[self.parents[i]] @ axes
            swept = torch.linalg.cross(world.T[:, None], arm.sum(0)[None])
            bend = (skew(axes.T) @ chain.relative[i]).flatten(1)
            corrective = (bend @ self.pose_basis[9 * (i - 1) : 9 * i]).unflatten(1, (-1, 3))
            columns.append(swept + torch.einsum("nrc,anc->anr", blend, corrective))
        return torch.cat(columns) if columns else surface.new_zeros(0, *surface.shape)

    def _hangs_on(self, joint: int, other: int) -> bool:
        """Whether `other` is the joint or one of its ancestors."""
        while joint > other:
            joint = self.parents[joint]
        return joint == other
