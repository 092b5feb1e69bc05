"""The border of a map's normal equations: head poses and focal lengths that move along with it.

They are few, so the map is eliminated and their Schur complement solved. What one of them does to the
colours of the skin stands in `shared_skin.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.texels import Texels
from hrnfit.fit.shared_skin import (
    SkinLook,
    focal_columns,
    focal_deviations,
    pose_columns,
    pose_deviations,
)
from hrnfit.solve.grid import MapGrid
from hrnfit.solve.solver import Leaves
from hrnfit.state import FaceState, Sharing

OTHERS = ("pose", "log_focal")
"""Leaves that may move along."""
PRIOR_WEIGHT = 1e-5
"""Energy of one deviation: the data's noise, about 0.006, over some 1000 independent texels."""
POSE_ARM = 500.0
"""Distance at which a turn counts like a move, mm."""


@dataclass(frozen=True)
class Border:
    """What q further unknowns add to the equations of a map of n values."""

    coupling: Float[np.ndarray, "n q"]
    corner: Float[np.ndarray, "q q"]
    gradient: Float[np.ndarray, "q"]
    split: dict[str, slice]
    """Where each leaf stands among the q."""


class MapBorder:
    """The free ones of `OTHERS`: where they started, how far they may go, and their equations."""

    def __init__(
        self,
        state: FaceState,
        free: tuple[str, ...],
        sharing: Sharing,
        pose_deviation: float,
        focal_deviation: float,
        known_focal: Float[Tensor, "V"] | None,
    ) -> None:
        self._frame = sharing.frame
        self.leaves: Leaves = {name: getattr(state, name) for name in OTHERS if name in free}
        self._start = {name: leaf.detach().clone() for name, leaf in self.leaves.items()}
        parts = []
        if "pose" in self.leaves:
            deviation = pose_deviations(pose_deviation, POSE_ARM).numpy()
            parts.append(np.tile(deviation, len(state.pose)))
        if "log_focal" in self.leaves:
            views = len(state.log_focal)
            parts.append(focal_deviations(known_focal, focal_deviation, views).numpy())
        self.prior: Float[np.ndarray, "q"] = (
            PRIOR_WEIGHT / np.concatenate(parts) ** 2 if parts else np.zeros(0)
        )
        """Diagonal of the prior, in packed order."""

    def moved(self, leaves: Leaves) -> Float[np.ndarray, "q"]:
        """How far the leaves are from where the stage found them."""
        parts = [(leaves[name] - at).reshape(-1) for name, at in self._start.items()]
        return torch.cat(parts).double().cpu().numpy() if parts else np.zeros(0)

    def columns(self, leaves: Leaves, look: SkinLook) -> dict[str, Float[Tensor, "V P 3 q"]]:
        """Derivative of each view's colours in its own rows of the leaves."""
        J, frame, out = look.seen.jacobian, self._frame, {}
        if "pose" in self.leaves:
            pose, T = look.prediction.T_world_head, look.prediction.projection.T_cam_world
            rotation = leaves["pose"][frame, :3]
            out["pose"] = pose_columns(J, look.x_cam, T, pose[frame], rotation)
        if "log_focal" in self.leaves:
            out["log_focal"] = focal_columns(J, look.x_cam)
        return out

    def equations(
        self,
        leaves: Leaves,
        look: SkinLook,
        centred: Float[Tensor, "V P 3 k"],
        grid: MapGrid,
        texels: Texels,
    ) -> Border:
        """Coupling, corner and gradient, prior included. Row r of a leaf belongs to the views that
        share it; A^T Pi A with Pi = diag(w) - w w^T / sum(w) because the albedo is eliminated."""
        columns = self.columns(leaves, look)
        n = grid.nodes**2 * grid.channels
        if not columns:
            return Border(np.zeros((n, 0)), np.zeros((0, 0)), np.zeros(0), {})
        weight = look.agreed.weight / look.agreed.seen
        total = weight.sum(0).clamp_min(1e-12)
        place, q, split = self._layout(columns)
        coupling, corner, gradient = np.zeros((n, q)), np.zeros((q, q)), np.zeros(q)
        views = range(len(weight))
        own = [torch.cat([c[v] for c in columns.values()], dim=-1) for v in views]
        for v in views:
            weighted, at = weight[v, :, None, None] * own[v], place[v]
            coupling[:, at] += _spread(centred[v], weighted, grid, texels)
            pull = torch.einsum("pcq,pc->q", weighted, look.agreed.residual[v])
            gradient[at] += pull.cpu().numpy()
            for u in views:
                share = -weight[u] / total + (1.0 if u == v else 0.0)
                product = torch.einsum("pcq,p,pcr->qr", weighted, share, own[u])
                corner[np.ix_(at, place[u])] += product.double().cpu().numpy()
        corner = corner + np.diag(self.prior)
        gradient = gradient + self.prior * self.moved(leaves)
        return Border(coupling, corner, gradient, split)

    def _layout(self, columns: dict[str, Tensor]) -> tuple[list[np.ndarray], int, dict[str, slice]]:
        """Packed position of each view's columns, their number, and the slice of each leaf."""
        frame = self._frame.cpu().numpy()
        row_of: dict[str, Callable[[int], int]] = {
            "pose": lambda v: int(frame[v]),
            "log_focal": lambda v: v,
        }
        place: list[list[int]] = [[] for _ in frame]
        start, split = 0, {}
        for name, block in columns.items():
            width = block.shape[-1]
            for v, entries in enumerate(place):
                first = start + row_of[name](v) * width
                entries.extend(range(first, first + width))
            length = math.prod(self.leaves[name].shape)
            split[name] = slice(start, start + length)
            start += length
        return [np.array(p) for p in place], start, split


def _spread(
    centred: Float[Tensor, "P 3 k"],
    weighted: Float[Tensor, "P 3 q"],
    grid: MapGrid,
    texels: Texels,
) -> Float[np.ndarray, "n q"]:
    """One view's product of map and border columns, gathered at the nodes."""
    q = weighted.shape[-1]
    cross = torch.einsum("pci,pcq->piq", centred, weighted)
    flat = texels.square(cross.movedim(1, 2).flatten(1))
    spread = grid.gradient(flat)  # (D D, q k)
    return spread.reshape(len(spread), q, -1).transpose(0, 2, 1).reshape(-1, q)
