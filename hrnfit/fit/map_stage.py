"""Gauss-Newton on a whole map at once: deformation (mid level) or displacement (fine level).

The data term is the shared albedo of `energy/shared_albedo.py`; the regulariser is constant. Head poses
and focal lengths may move along, eliminated by their Schur complement, so photographs from unknown
cameras calibrate themselves on the skin they share.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from scipy import sparse  # type: ignore[import-untyped]
from torch import Tensor

from hrnfit.energy.shared_albedo import column_blocks
from hrnfit.fit.free_map import FreeMap, heights
from hrnfit.fit.map_border import MapBorder
from hrnfit.fit.map_on_device import solve_map_recorded
from hrnfit.fit.map_settings import LIMITS, MapSettings
from hrnfit.fit.recordable import recordable
from hrnfit.fit.scene import Scene
from hrnfit.fit.shared_skin import SharedSkin, SkinLook
from hrnfit.fit.sliding import sliding_blocks, sliding_matrix
from hrnfit.solve.gauss_newton import GaussNewton
from hrnfit.solve.grid import ArrowEquations, Matrix
from hrnfit.solve.loop import Evaluated, Progress
from hrnfit.solve.solver import Leaves, Solution
from hrnfit.state import FaceState


def solve_map(
    scene: Scene,
    state: FaceState,
    free: tuple[str, ...],
    settings: MapSettings,
    focal_deviation: Float[Tensor, "V"] | None = None,
    progress: Progress | None = None,
) -> tuple[FaceState, Solution]:
    """The state with the free map (and `pose`, `log_focal` where free) at the optimum."""
    if recordable(scene):
        return solve_map_recorded(scene, state, free, settings, focal_deviation, progress)
    problem = _Problem(scene, state, free, settings, focal_deviation)
    own = {name: LIMITS[name] for name in problem.leaves}
    s = settings
    solver = GaussNewton(s.steps, own, s.tolerance, slack=s.slack)
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
        self._map = FreeMap.of(state, free, scene.sharing)
        self._border = MapBorder(
            state,
            free,
            scene.sharing,
            settings.pose_deviation,
            settings.focal_deviation,
            focal_deviation,
        )
        self.leaves: Leaves = {
            self._map.name: getattr(state, self._map.name),
            **self._border.leaves,
        }
        self._skin = SharedSkin(scene, settings)
        self._texels = self._skin.texels
        s = settings
        self._regulariser = self._map.regulariser(
            scene.model, s.membrane, s.bending, s.size_prior, s.spread
        )
        self._start = self._map.vector(self.leaves[self._map.name])
        self._sliding: Matrix = sparse.csr_matrix((len(self._start), len(self._start)))
        if self._map.name == "deformation":
            nodes = scene.texels(self._map.grid.nodes)
            vertices = scene.predict(state, settings.size).vertices_head
            self._sliding = sliding_matrix(
                sliding_blocks(vertices, scene.model.faces, nodes, settings.sliding)
            )
        if settings.offset > 0:
            self._skin.relight(self._look(self.leaves))

    def state_with(self, leaves: Leaves) -> FaceState:
        return self._state.replace(**{name: leaf.detach() for name, leaf in leaves.items()})

    def energy(self, leaves: Leaves) -> Evaluated:
        """Data and regulariser without linearising, in the light of the last proposal."""
        with torch.no_grad():
            look = self._look(leaves)
        return self._evaluated(leaves, look)

    def propose(self, leaves: Leaves) -> tuple[Evaluated, Callable[[float], Leaves]]:
        """Energy here with the light field renewed, and the damped Gauss-Newton step from here."""
        look = self._skin.relight(self._look(leaves))
        equations, split = self._equations(leaves, look)
        device = self._scene.device

        def step(damping: float) -> Leaves:
            change, others = self._map.solve(equations, device, damping)
            out = {self._map.name: self._map.leaf(change, leaves[self._map.name])}
            for name, part in split.items():
                out[name] = torch.from_numpy(others[part]).to(leaves[name]).view_as(leaves[name])
            return out

        return self._evaluated(leaves, look), step

    def _look(self, leaves: Leaves) -> SkinLook:
        """Texel positions and what the views read there."""
        state = self.state_with(leaves)
        height = None
        if self._map.name == "displacement":
            height = heights(state, self._scene.sharing, self._texels)
        return self._skin.look(state, height)

    def _evaluated(self, leaves: Leaves, look: SkinLook) -> Evaluated:
        x = self._map.vector(leaves[self._map.name])
        slid = x - self._start
        prior = float(x @ (self._regulariser @ x) + slid @ (self._sliding @ slid))
        smooth = torch.tensor(prior, dtype=torch.float64)
        data = look.agreed.energy.double().cpu()
        terms = {"shared_albedo": data, "smoothness": smooth}
        moved = self._border.moved(leaves)
        if len(moved):
            terms["camera_prior"] = torch.tensor(float((self._border.prior * moved**2).sum()))
        return sum(terms.values(), torch.zeros((), dtype=torch.float64)), terms

    def _equations(self, leaves: Leaves, look: SkinLook) -> tuple[ArrowEquations, dict[str, slice]]:
        """Normal equations of the map, the others, and what couples them."""
        columns = self._map.columns(look, self._scene.sharing)
        blocks, pull, centred = column_blocks(columns, look.agreed)
        square, grid = self._texels.square, self._map.grid
        hessian = self._map.hessian(square(blocks.flatten(1))) + self._regulariser
        hessian = hessian + self._sliding
        x = self._map.vector(leaves[self._map.name])
        gradient = grid.gradient(square(pull)).ravel() + self._regulariser @ x
        gradient = gradient + self._sliding @ (x - self._start)
        border = self._border.equations(leaves, look, centred, grid, self._texels)
        equations = ArrowEquations(
            hessian, gradient, border.coupling, border.corner, border.gradient
        )
        return equations, border.split
