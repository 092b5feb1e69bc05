"""The map that a stage solves for: its values as one vector, its heights, its derivatives, its prior.

The deformation map has 3 channels, displacement one per row. Every view reads the height of its own
row (`Sharing.displacement`). What the photographs say about R rows, with the albedo eliminated:

- Raising a texel moves what a view reads there by its colour slope along the skin times how far off
  the normal it looks; a view that looks along the normal says nothing of its own row.
- Only differences between views count. Skin of one hue gives V views V - 1 equations per texel, so with
  a row per view one combination stays unseen (rank R - 1): all views' readings slide along the skin
  together. A row that two views read from different sides stops the slide, and all rows are seen.
- Where a single view sees a texel, nothing is said at all.

So rows are known only relative to each other's skin, and what makes them unique is the prior: each is
smooth and small, and `spread` holds them to their mean. An unseen row then takes the others' mean, and
a stiff `spread` gives what one shared map gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from hrnfit.energy.smooth import bending_operator, chart_texels, membrane_operator
from hrnfit.energy.texels import Texels
from hrnfit.fit.shared_skin import SkinLook
from hrnfit.model.face_model import FaceModel
from hrnfit.solve.gpu_arrow import solve_arrow_on
from hrnfit.solve.grid import ArrowEquations, MapGrid, Matrix
from hrnfit.solve.tied_maps import solve_tied, tied_hessian
from hrnfit.state import FaceState, Sharing

MAPS = ("deformation", "displacement")
"""Maps that can be solved for."""


@dataclass(frozen=True)
class FreeMap:
    """Which map, and how its values stand in a vector: node by node, channels side by side."""

    name: str
    grid: MapGrid
    """`channels`: the 3 of a deformation map, or one per displacement row."""

    @staticmethod
    def of(state: FaceState, free: tuple[str, ...], sharing: Sharing) -> FreeMap:
        """The map among the free leaves; ValueError when the views do not read all of its rows."""
        name = next(name for name in free if name in MAPS)
        if name == "deformation":
            return FreeMap(name, MapGrid(state.deformation.shape[1], 3))
        rows, read = len(state.displacement), sorted(set(sharing.displacement.tolist()))
        if read != list(range(rows)):
            raise ValueError(
                f"displacement: {rows} maps, but the views read rows {read}; give one map to each row "
                "of sharing.displacement, or share them otherwise (share: {displacement: ...})"
            )
        return FreeMap(name, MapGrid(state.displacement.shape[1], rows))

    @property
    def rows(self) -> int:
        """Maps that are solved together: displacement rows, or the one deformation map."""
        return self.grid.channels if self.name == "displacement" else 1

    def vector(self, leaf: Tensor) -> Float[np.ndarray, "n"]:
        """The values of a leaf, float64 on the CPU."""
        nodewise = leaf.movedim(0, -1) if self.name == "displacement" else leaf
        return nodewise.detach().double().cpu().numpy().ravel()

    def leaf(self, vector: Float[np.ndarray, "n"], like: Tensor) -> Tensor:
        """The leaf that has these values."""
        values = torch.from_numpy(vector).to(like)
        values = values.view(self.grid.nodes, self.grid.nodes, self.grid.channels)
        return values.movedim(-1, 0).contiguous() if self.name == "displacement" else values

    def columns(self, look: SkinLook, sharing: Sharing) -> Float[Tensor, "V P 3 k"]:
        """Derivative of each view's colours in the map's values at the texel; zero in the rows of
        others."""
        by_position = look.seen.jacobian @ look.R_cam_head[:, None]
        if self.name == "deformation":
            return by_position
        # expression bends the surface: every view sees the height along the normal of its own frame
        along = by_position @ look.normals_head[sharing.frame][..., None]
        own = torch.nn.functional.one_hot(sharing.displacement, self.rows).to(along)
        return along * own[:, None, None, :]

    def hessian(self, blocks: Float[Tensor, "S S kk"]) -> Matrix:
        """Sum of the texels' blocks at the nodes."""
        if self.rows > 1:
            return tied_hessian(self.grid.nodes, blocks)
        return self.grid.hessian(blocks)

    def solve(
        self, equations: ArrowEquations, device: torch.device, damping: float
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "q"]]:
        """Newton step of the map and of what moves along; several rows on the CPU, whatever the device."""
        if self.rows > 1:
            return solve_tied(equations, self.rows, damping)
        return solve_arrow_on(equations, device, damping)

    def regulariser(
        self, model: FaceModel, membrane: float, bending: float, size: float, spread: float
    ) -> Matrix:
        """Quadratic form of the prior: mean squared differences over the chart and a whisper on the
        map itself, in the mean of the rows; `spread` on their distance from their mean, mm."""
        n, k = self.grid.nodes, self.grid.channels
        form = self.form(model, membrane, bending, size)
        if self.rows == 1:
            return sparse.kron(form, sparse.eye(k)).tocsr()
        tie = sparse.kron(sparse.eye(n * n), self.tie(spread))
        return (sparse.kron(form, sparse.eye(k) / k) + tie).tocsr()

    def form(self, model: FaceModel, membrane: float, bending: float, size: float) -> Matrix:
        """The part of the prior that each channel has for itself; of rows it counts their mean."""
        n = self.grid.nodes
        used = chart_texels(model.uv.cpu(), model.uv_faces.cpu(), n, n)
        form: Matrix = size * sparse.eye(n * n) / n**2
        operator: Matrix
        for weight, operator in (
            (membrane, membrane_operator(n, used)),
            (bending, bending_operator(n, used)),
        ):
            form = form + weight * (operator.T @ operator) / (3 * max(operator.shape[0], 1))
        return form

    def tie(self, spread: float) -> Float[np.ndarray, "k k"]:
        """The part of the prior between the rows, at every node; ValueError when there is none."""
        n, k = self.grid.nodes, self.grid.channels
        if spread <= 0:
            raise ValueError(
                f"spread: expected a positive weight, got {spread}: photographs show {k} displacement "
                "maps only relative to each other"
            )
        return spread * (np.eye(k) - 1.0 / k) / (k * n**2)


def heights(state: FaceState, sharing: Sharing, texels: Texels) -> Float[Tensor, "V P"]:
    """Displacement of each view's own row at the texels, bilinear, mm."""
    grid = (2.0 * texels.centres() - 1.0).to(state.displacement)[None, None]
    planes = state.displacement[:, None]
    read = torch.nn.functional.grid_sample(
        planes,
        grid.expand(len(planes), -1, -1, -1),
        align_corners=False,
        padding_mode="border",
    )
    return read[:, 0, 0][sharing.displacement]
