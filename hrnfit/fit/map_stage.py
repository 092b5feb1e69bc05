"""Gauss-Newton on a whole map at once: deformation (mid level) or displacement (fine level).

The data term is the shared albedo of `energy/shared_albedo.py`; the regulariser is constant. Head poses
and focal lengths may move along, eliminated by their Schur complement, so photographs from unknown
cameras calibrate themselves on the skin they share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from hrnfit.energy.shared_albedo import column_blocks
from hrnfit.energy.smooth import bending_operator, chart_texels, membrane_operator
from hrnfit.fit.map_border import OTHERS, MapBorder
from hrnfit.fit.scene import Scene
from hrnfit.fit.shared_skin import SharedSkin, SkinLook
from hrnfit.solve.gauss_newton import GaussNewton
from hrnfit.solve.gpu_arrow import solve_arrow_on
from hrnfit.solve.grid import ArrowEquations, MapGrid, Matrix
from hrnfit.solve.loop import Evaluated, Progress
from hrnfit.solve.solver import Leaves, Solution
from hrnfit.state import FaceState

MAPS = {"deformation": 3, "displacement": 1}
"""Maps that can be solved for, and their channels."""


@dataclass(frozen=True)
class MapSettings:
    """One level of the coarse-to-fine solve."""

    LEAVES: ClassVar[tuple[str, ...]] = (*MAPS, *OTHERS)
    size: int = 512
    """Window, px."""
    texels: int = 256
    """Texels per side of the chart at which views are compared; an even multiple of the map's."""
    blur: float = 0.7
    """Gaussian on the windows, px."""
    steps: int = 10
    tolerance: float = 2e-3
    """Ends when three steps together lowered the energy by less than this fraction."""
    kernel_scale: float = 0.6
    """Geman-McClure scale of the colour residual, tenths of the gamma range."""
    offset: float = 0.015
    """Width of the smooth light field per view, share of the UV square; 0 switches it off."""
    membrane: float = 1e-3
    bending: float = 1e-2
    size_prior: float = 1e-5
    """Weights of squared first and second differences and of the map itself, mm."""
    pose_deviation: float = 100.0
    """Prior on the head's move within the stage, mm and (per `POSE_ARM`) rad."""
    focal_deviation: float = 0.3
    """Prior on the change of log focal length."""


def solve_map(
    scene: Scene,
    state: FaceState,
    free: tuple[str, ...],
    settings: MapSettings,
    focal_deviation: Float[Tensor, "V"] | None = None,
    progress: Progress | None = None,
) -> tuple[FaceState, Solution]:
    """The state with the free map (and `pose`, `log_focal` where free) at the optimum."""
    problem = _Problem(scene, state, free, settings, focal_deviation)
    limits = {"deformation": 2.0, "displacement": 0.3, "pose": 300.0, "log_focal": 0.2}
    own = {name: limits[name] for name in problem.leaves}
    solver = GaussNewton(settings.steps, own, settings.tolerance)
    solution = solver.minimize(problem.propose, problem.energy, problem.leaves, progress)
    return problem.state_with(solution.leaves), solution


class _Problem:
    """Linearisation of one stage. Keeps the light field of the last look for the next."""

    def __init__(
        self,
        scene: Scene,
        state: FaceState,
        free: tuple[str, ...],
        settings: MapSettings,
        focal_deviation: Tensor | None,
    ) -> None:
        self._scene, self._state, self._settings = scene, state, settings
        self._map = next(name for name in free if name in MAPS)
        self._border = MapBorder(
            state,
            free,
            scene.sharing,
            settings.pose_deviation,
            settings.focal_deviation,
            focal_deviation,
        )
        self.leaves: Leaves = {self._map: getattr(state, self._map), **self._border.leaves}
        if self._map == "displacement" and len(state.displacement) != 1:
            raise ValueError(
                "displacement: Gauss-Newton solves one shared map; share it by subject"
            )
        self._skin = SharedSkin(scene, settings)
        self._texels = self._skin.texels
        self._nodes = self.leaves[self._map].shape[1]
        self._grid = MapGrid(self._nodes, MAPS[self._map])
        self._regulariser = self._make_regulariser()
        if settings.offset > 0:
            self._skin.relight(self._look(self.leaves))

    def _make_regulariser(self) -> Matrix:
        """Mean squared differences over the chart, and a whisper on the map itself."""
        n, k, s = self._nodes, MAPS[self._map], self._settings
        model = self._scene.model
        used = chart_texels(model.uv.cpu(), model.uv_faces.cpu(), n, n)
        form: Matrix = s.size_prior * sparse.eye(n * n) / n**2
        operator: Matrix
        for weight, operator in (
            (s.membrane, membrane_operator(n, used)),
            (s.bending, bending_operator(n, used)),
        ):
            form = form + weight * (operator.T @ operator) / (3 * max(operator.shape[0], 1))
        return sparse.kron(form, sparse.eye(k)).tocsr()

    def state_with(self, leaves: Leaves) -> FaceState:
        return self._state.replace(**{name: leaf.detach() for name, leaf in leaves.items()})

    def energy(self, leaves: Leaves) -> Evaluated:
        """Data and regulariser without linearising."""
        with torch.no_grad():
            look = self._look(leaves)
        return self._evaluated(leaves, look)

    def propose(self, leaves: Leaves) -> tuple[Evaluated, Callable[[float], Leaves]]:
        """Energy here with the light field renewed, and the damped Gauss-Newton step from here."""
        look = self._skin.relight(self._look(leaves))
        equations, split = self._equations(leaves, look)

        def step(damping: float) -> Leaves:
            change, others = solve_arrow_on(equations, self._scene.device, damping)
            like = leaves[self._map]
            out = {self._map: torch.from_numpy(change).to(like).view_as(like)}
            for name, part in split.items():
                out[name] = torch.from_numpy(others[part]).to(leaves[name]).view_as(leaves[name])
            return out

        return self._evaluated(leaves, look), step

    def _look(self, leaves: Leaves) -> SkinLook:
        """Texel positions and what the views read there."""
        state = self.state_with(leaves)
        height = self._displacement(state) if self._map == "displacement" else None
        return self._skin.look(state, height)

    def _displacement(self, state: FaceState) -> Float[Tensor, "P"]:
        """Displacement at the texels, bilinear, mm."""
        grid = (2.0 * self._texels.centres() - 1.0).to(state.displacement)[None, None]
        plane = state.displacement[:1, None]
        read = torch.nn.functional.grid_sample(
            plane, grid, align_corners=False, padding_mode="border"
        )
        return read[0, 0, 0]

    def _evaluated(self, leaves: Leaves, look: SkinLook) -> Evaluated:
        x = leaves[self._map].detach().double().cpu().numpy().ravel()
        smooth = torch.tensor(float(x @ (self._regulariser @ x)), dtype=torch.float64)
        data = look.agreed.energy.double().cpu()
        terms = {"shared_albedo": data, "smoothness": smooth}
        moved = self._border.moved(leaves)
        if len(moved):
            terms["camera_prior"] = torch.tensor(float((self._border.prior * moved**2).sum()))
        return sum(terms.values(), torch.zeros((), dtype=torch.float64)), terms

    def _equations(self, leaves: Leaves, look: SkinLook) -> tuple[ArrowEquations, dict[str, slice]]:
        """Normal equations of the map, the others, and what couples them."""
        blocks, pull, centred = column_blocks(self._map_columns(look), look.agreed)
        square = self._texels.square
        hessian = self._grid.hessian(square(blocks.flatten(1))) + self._regulariser
        x = leaves[self._map].detach().double().cpu().numpy().ravel()
        gradient = self._grid.gradient(square(pull)).ravel() + self._regulariser @ x
        border = self._border.equations(leaves, look, centred, self._grid, self._texels)
        equations = ArrowEquations(
            hessian, gradient, border.coupling, border.corner, border.gradient
        )
        return equations, border.split

    def _map_columns(self, look: SkinLook) -> Float[Tensor, "V P 3 k"]:
        """Derivative of each view's colours in the map's value at the texel."""
        by_position = look.seen.jacobian @ look.R_cam_head[:, None]
        if self._map == "deformation":
            return by_position
        # expression bends the surface: every view sees the height along the normal of its own frame
        along = look.normals_head[self._scene.sharing.frame]
        return by_position @ along[..., None]
