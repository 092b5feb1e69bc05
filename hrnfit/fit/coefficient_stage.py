"""Dense photometric Levenberg-Marquardt over coefficients, poses and focal lengths.

The same shared-albedo residuals as `map_stage`, but the unknowns are few and touch every texel: one
dense column each. A^T A is accumulated view by view; with the albedo eliminated it is
sum_v w_v A_v^T A_v - (sum_v w_v A_v)^T (sum_v w_v A_v) / sum_v w_v per texel, and solved by one Cholesky.
A GPU runs the iterations of a round by itself (`queued_coefficients.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.fit.held_landmarks import HeldLandmarks, SumOfProblems
from hrnfit.fit.landmark_problem import LandmarkStart
from hrnfit.fit.mirror import (
    Linearised,
    MirrorImage,
    MirrorTied,
    mirror_scene,
    mirrored_expressions,
)
from hrnfit.fit.queued_coefficients import SkinRound, queued_round
from hrnfit.fit.queued_skin import SkinConstants, SkinPlan, skin_constants
from hrnfit.fit.scene import Scene
from hrnfit.fit.shared_skin import (
    LocalShape,
    SharedSkin,
    SkinLook,
    focal_columns,
    focal_deviations,
    local_shape,
    neutral_shape,
    pose_columns,
    pose_deviations,
)
from hrnfit.solve.block import Layout, NormalEquations
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves, Solution, joined_rounds
from hrnfit.state import FaceState

POSE_ARM = 100.0
"""Distance at which a turn counts like a move, mm: the head's own size."""


@dataclass(frozen=True)
class CoefficientSettings:
    """One solve."""

    LEAVES: ClassVar[tuple[str, ...]] = ("identity", "expression", "pose", "log_focal")
    size: int = 192
    """Window, px."""
    texels: int = 128
    """Texels per side of the chart at which views are compared."""
    blur: float = 1.0
    """Gaussian on the windows, px."""
    steps: int = 12
    rounds: int = 3
    """Times the light field and the visibility are looked at anew; each solves for `steps`."""
    kernel_scale: float = 0.8
    """Geman-McClure scale, tenths of the gamma range."""
    offset: float = 0.03
    """Width of the smooth light field per view, share of the UV square; 0 switches it off."""
    evidence: float = 3e4
    """What the data energy is multiplied by: an energy of 1e-3 (a hundredth of the gamma range) then
    weighs like 30 coefficients that are one SD away."""
    identity_deviation: float = 1.0
    expression_deviation: float = 0.2
    start_deviation: float = 0.5
    """Prior around the coefficients found so far, standard deviations."""
    pose_deviation: float = 10.0
    """Prior on the head's move, mm and (per `POSE_ARM`) rad."""
    focal_deviation: float = 0.3
    symmetry: bool = False
    """Whether mirror images of the photographs are views too; one photograph is enough then."""
    landmarks: float = 0.0
    """What the landmarks of the start count beside the skin, as a share of what they count there; 0
    leaves them out."""


def solve_coefficients(
    scene: Scene,
    state: FaceState,
    free: tuple[str, ...],
    settings: CoefficientSettings,
    focal_deviation: Float[Tensor, "V"] | None = None,
    start: LandmarkStart | None = None,
) -> tuple[FaceState, Solution]:
    """The state with the free coefficients at a minimum of data and priors.

    start: how landmarks are believed, where the settings hold on to them.
    """
    swap, seen = None, (scene, state)
    if settings.symmetry:
        swap = mirrored_expressions(scene.model.expression_names)
        seen = mirror_scene(scene, state)
        focal_deviation = None if focal_deviation is None else focal_deviation.repeat(2)
    skin = _Problem(*seen, free, settings, focal_deviation)
    held = None
    if settings.landmarks > 0:
        held = HeldLandmarks(scene, state, free, start or LandmarkStart(), settings.landmarks)
    bounds = {}
    leaves = {name: getattr(state, name).double() for name in free}
    if "expression" in free and scene.model.expression_is_blendshape:
        bounds["expression"] = (0.0, 1.0)
        leaves["expression"] = leaves["expression"].clamp(0.0, 1.0)
    solver = LevenbergMarquardt(max_steps=settings.steps, tolerance=1e-4)
    if scene.device.type == "cuda" and scene.model.shape_is_linear:
        solve = queued_round(solver, skin, swap, held, bounds)
    else:
        # few unknowns: they and their normal equations live on the CPU, the texels where the scene is
        leaves = {name: leaf.cpu() for name, leaf in leaves.items()}
        solve = _host_round(solver, skin, swap, held, bounds)
    solutions: list[Solution] = []
    for _ in range(settings.rounds):
        solution = solve(leaves)
        leaves = solution.leaves
        solutions.append(solution)
    found = {name: leaf.detach().to(state.identity) for name, leaf in leaves.items()}
    return state.replace(**found), joined_rounds(solutions, sum(s.seconds for s in solutions))


def _host_round(
    solver: LevenbergMarquardt,
    skin: _Problem,
    swap: MirrorImage | None,
    held: HeldLandmarks | None,
    bounds: dict[str, tuple[float, float]],
) -> Callable[[Leaves], Solution]:
    """One round of a solve whose decisions are the host's."""
    problem: Linearised = skin if swap is None else MirrorTied(skin, swap)
    if held is not None:
        problem = SumOfProblems((problem, held))

    def solve(leaves: Leaves) -> Solution:
        problem.refresh(leaves)
        return solver.minimize_function(problem.linearize, problem.energy, leaves, bounds)

    return solve


class _Problem:
    """Energy and normal equations, with the light field and who sees what held fixed per round.

    With visibility free, an energy per seen texel falls by hiding skin: on five photographs rounds
    ended with half of the texels, focal lengths 12 % off, and elsewhere with each rounding error.
    """

    def __init__(
        self,
        scene: Scene,
        state: FaceState,
        free: tuple[str, ...],
        settings: CoefficientSettings,
        focal_deviation: Tensor | None,
    ) -> None:
        self._scene, self._state, self._free, self._settings = scene, state, free, settings
        self._skin = SharedSkin(scene, settings)
        self._neutral = neutral_shape(scene.model, self._skin.texels, state.identity)
        self._means, self._precisions = self._priors(focal_deviation)
        self._visible = self._skin.look(state).seen.weight
        self._constants: SkinConstants | None = None

    def _priors(self, focal_deviation: Tensor | None) -> tuple[Leaves, Leaves]:
        """Mean and inverse variance per leaf: the model's prior times one around the start."""
        s, mean, precision = self._settings, {}, {}
        model_deviation = {"identity": s.identity_deviation, "expression": s.expression_deviation}
        for name in self._free:
            start = getattr(self._state, name).double().cpu()
            mean[name] = start
            if name in model_deviation:
                own, near = model_deviation[name] ** -2, s.start_deviation**-2
                if name == "expression":
                    near = (s.start_deviation * s.expression_deviation) ** -2
                precision[name] = torch.full_like(start, own + near)
                mean[name] = start * (near / (own + near))
            elif name == "pose":
                deviation = pose_deviations(s.pose_deviation, POSE_ARM)
                precision[name] = (deviation**-2).expand_as(start)
            else:
                given = focal_deviations(focal_deviation, s.focal_deviation, len(start))
                precision[name] = given**-2
        return mean, precision

    def state_with(self, leaves: Leaves) -> FaceState:
        return self._state.replace(
            **{name: leaf.detach().to(self._state.identity) for name, leaf in leaves.items()}
        )

    def refresh(self, leaves: Leaves) -> None:
        """Look at visibility and the light field anew."""
        self._visible = self._skin.refreshed(self.state_with(leaves))

    def round(self) -> SkinRound:
        """What stands still until the next `refresh`, for a linear model."""
        free, s, skin = self._free, self._settings, self._skin
        if self._constants is None:
            self._constants = skin_constants(
                self._scene, self._state, free, s.size, skin, self._neutral, self._visible
            )
        constants = self._constants._replace(visible=self._visible, light=skin.light)
        frame, focal = tuple(self._scene.sharing.frame.tolist()), "log_focal" in free
        plan = SkinPlan(frame, "pose" in free, focal, s.kernel_scale, s.evidence)
        return SkinRound(plan, constants, self._means, self._precisions)

    def _look(self, leaves: Leaves) -> SkinLook:
        return self._skin.look(self.state_with(leaves), visible=self._visible)

    def energy(self, leaves: Leaves) -> Float[Tensor, ""]:
        """Half of evidence times data, plus half of the squared priors."""
        data = self._look(leaves).agreed.energy.double().cpu()
        return 0.5 * self._settings.evidence * data + self._prior_energy(leaves)

    def _prior_energy(self, leaves: Leaves) -> Tensor:
        parts = [
            (self._precisions[n] * (leaves[n] - self._means[n]).square()).sum() for n in self._free
        ]
        return 0.5 * torch.stack(parts).sum()

    def linearize(self, leaves: Leaves) -> NormalEquations:
        """Normal equations over the packed leaves."""
        look = self._look(leaves)
        agreed = look.agreed
        layout = Layout.of(leaves)
        hessian = torch.zeros(layout.size, layout.size, dtype=torch.float64)
        gradient = torch.zeros(layout.size, dtype=torch.float64)
        # what fewer than two views see says nothing: often half of the texels
        rows = agreed.weight.sum(0).nonzero()[:, 0]
        weight = agreed.weight[:, rows] * (self._settings.evidence / agreed.seen)
        root = weight.sum(0).clamp_min(1e-12).rsqrt()
        pulled = look.x_cam.new_zeros(3 * len(root), layout.size)
        shapes = self._shapes(self.state_with(leaves), rows)
        for v in range(len(look.x_cam)):
            A, place = self._columns(v, rows, leaves, layout, look, shapes)
            weighted = A * weight[v].repeat_interleave(3)[:, None]
            at = torch.tensor(place)
            hessian[at[:, None], at] += (weighted.T @ A).double().cpu()
            gradient[at] += (weighted.T @ agreed.residual[v, rows].flatten()).double().cpu()
            pulled[:, at] += weighted
        shared = pulled * root.repeat_interleave(3)[:, None]
        hessian -= (shared.T @ shared).double().cpu()
        precision = layout.pack(self._precisions)
        off = layout.pack(leaves) - layout.pack(self._means)
        energy = 0.5 * self._settings.evidence * agreed.energy.double().cpu()
        return NormalEquations(
            energy + self._prior_energy(leaves),
            hessian + torch.diag(precision),
            gradient + precision * off,
        )

    def _shapes(self, state: FaceState, rows: Int[Tensor, "P"]) -> list[LocalShape]:
        """The model at some texels near the face of each frame."""
        model = self._scene.model
        if model.shape_is_linear:
            return [self._neutral.only(rows)] * len(state.expression)
        texels = self._skin.texels.only(rows)
        return [local_shape(model, texels, state.identity, e) for e in state.expression]

    def _columns(
        self,
        v: int,
        rows: Int[Tensor, "P"],
        leaves: Leaves,
        layout: Layout,
        look: SkinLook,
        shapes: list[LocalShape],
    ) -> tuple[Float[Tensor, "P3 q"], list[int]]:
        """Derivative of one view's colours at some texels in the leaves it depends on, and their
        packed places."""
        J, x_cam, parts, place = look.seen.jacobian[v, rows], look.x_cam[v, rows], [], []
        frame = int(self._scene.sharing.frame[v])
        for name in self._free:
            row = {"identity": None, "expression": frame, "pose": frame, "log_focal": v}[name]
            if name in ("identity", "expression"):
                part = (J @ look.R_cam_head[v]) @ getattr(shapes[frame], name)
            elif name == "pose":
                T_cam_world = look.prediction.projection.T_cam_world[v]
                T_world_head = look.prediction.T_world_head[frame]
                rotation = leaves["pose"][frame, :3]
                part = pose_columns(J, x_cam, T_cam_world, T_world_head, rotation)
            else:
                part = focal_columns(J, x_cam)
            parts.append(part)
            columns = layout.columns((name, row))
            place.extend(range(columns.start, columns.stop))
        return torch.cat(parts, dim=-1).flatten(0, 1), place
