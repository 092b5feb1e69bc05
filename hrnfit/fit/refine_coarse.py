"""The coarse solve of a `RefineLayer`: a state moved to its landmarks, differentiable in both.

Energy: landmarks of all views under a robust kernel, and a Gaussian prior on every free leaf around the
state that came in, so that the result is a function of that state. Everything that enters keeps its
gradient: the state's leaves (those that are held, too), the weights, and the landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.landmark import VISIBLY_WRONG, LandmarkBasis, LandmarkBlock
from hrnfit.fit.initialize import EXPANSIONS
from hrnfit.fit.landmark_views import LandmarkView, landmark_views, relinearised
from hrnfit.fit.model_landmarks import ModelLandmarks
from hrnfit.fit.refine_settings import CoarseSolve
from hrnfit.fit.sliding_jaw import with_sliding_jaw
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View
from hrnfit.solve.block import Block, QuadraticBlock, Slot
from hrnfit.solve.held_slots import HeldSlots
from hrnfit.solve.implicit import at_minimum
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves, Outcome, Solution
from hrnfit.solve.theseus_lm import TheseusLM
from hrnfit.state import FaceState

POLISH = 8
"""Newton steps on a model with joints, after its expansions. With the default evidence three lead to
gradients good to 1e-6, with a hundred times as much eight; after one they were off by 12 % and more."""


def solve_coarse(
    views: Sequence[View],
    model: FaceModel,
    state: FaceState,
    offsets: Float[Tensor, "N 3"],
    settings: CoarseSolve,
    weights: Mapping[str, Tensor],
) -> tuple[FaceState, Solution]:
    """The state with its free leaves at the minimum, and how the solve ended.

    views: with the state's frames. offsets: what the deformation map adds to the model's vertices, mm.
    weights: of `landmark` and of each free leaf's prior. A model with joints is solved for by expansions; gradients
    at its minimum (`backward: implicit`) are those of the model itself, otherwise of the last expansion.
    """
    model, near = model.to("cpu"), state  # solves are made there; see `CoarseProblem`
    for _ in range(0 if model.shape_is_linear else EXPANSIONS - 1):
        with torch.no_grad():
            near = _solved_near(near, views, model, state, offsets, settings, weights)[0]
    return _solved_near(near, views, model, state, offsets, settings, weights)


def _solved_near(
    near: FaceState,
    views: Sequence[View],
    model: FaceModel,
    state: FaceState,
    offsets: Float[Tensor, "N 3"],
    settings: CoarseSolve,
    weights: Mapping[str, Tensor],
) -> tuple[FaceState, Solution]:
    """The solve with the model linear near a state."""
    problem = CoarseProblem.of(near, views, model, state, offsets, settings, weights)
    solution = _minimum(problem)
    if solution.outcome is Outcome.NON_FINITE:
        return state, solution
    moved = {
        name: leaf.to(state.identity).reshape(getattr(state, name).shape)
        for name, leaf in solution.leaves.items()
    }
    return state.replace(**moved), solution


def _minimum(problem: CoarseProblem) -> Solution:
    """The minimum as a differentiable function of the blocks."""
    blocks, leaves = [*problem.landmark_blocks(), *problem.priors()], problem.leaves()
    settings = problem.settings
    if settings.backward != "implicit":
        return _by_theseus(blocks, leaves, settings)
    with torch.no_grad():
        if settings.solver == "theseus":
            solution = _by_theseus(blocks, leaves, settings)
        else:
            solver = LevenbergMarquardt(settings.max_steps, tolerance=settings.tolerance)
            solution = solver.minimize(blocks, leaves)
    if solution.outcome is Outcome.NON_FINITE:
        return solution
    exact = [*problem.model_blocks(), *problem.priors()]
    polish = 1 if problem.model.shape_is_linear else POLISH
    return replace(solution, leaves=at_minimum(exact, solution.leaves, polish))


def _by_theseus(blocks: Sequence[Block], leaves: Leaves, settings: CoarseSolve) -> Solution:
    """Its solution, with its own gradients where those are enabled."""
    backward = "implicit" if settings.backward == "gauss_newton" else "unroll"
    solver = TheseusLM(settings.max_steps, tolerance=settings.tolerance, backward=backward)
    try:
        return solver.minimize(blocks, leaves)
    except ImportError as error:
        raise ImportError(f"{error}: CoarseSolve(solver='own')") from error


@dataclass(frozen=True)
class CoarseProblem:
    """Landmarks and the state they are compared with. float64 on the CPU, where solves are made."""

    views: tuple[LandmarkView, ...]
    """Cameras corrected as the state says; points carried by its deformation map."""
    camera_known: tuple[bool, ...]
    state: FaceState
    settings: CoarseSolve
    weights: Mapping[str, Tensor]
    model: FaceModel
    on_surface: tuple[Float[Tensor, "L 3"], ...]
    """Landmarks of each view before any slid onto an outline, as the mean of their basis."""

    @staticmethod
    def of(
        near: FaceState,
        views: Sequence[View],
        model: FaceModel,
        state: FaceState,
        offsets: Float[Tensor, "N 3"],
        settings: CoarseSolve,
        weights: Mapping[str, Tensor],
    ) -> CoarseProblem:
        """The landmarks of the views on a model that is linear near a state, which is a constant."""
        double, here = (s.to("cpu", torch.float64) for s in (state, near))
        found = landmark_views(views, model)
        if settings.jaw == "outline":
            found = with_sliding_jaw(found, views, model)
        face = {"identity": here.identity.detach(), "expression": here.expression.detach()}
        reference = pose_matrix(here.pose, here.pose_reference).detach()
        placed, on_surface = [], []
        for view in relinearised(found, model, face):
            T = pose_matrix(double.camera[view.index], view.T_cam_world)
            view = replace(view.carried(offsets.double().cpu()), T_cam_world=T)
            on_surface.append(view.basis.mean)
            placed.append(view.slid(face, reference))
        return CoarseProblem(
            views=tuple(placed),
            camera_known=tuple(view.camera_known for view in views),
            state=double,
            settings=settings,
            weights={name: weight.double().cpu() for name, weight in weights.items()},
            model=model,
            on_surface=tuple(on_surface),
        )

    def leaves(self) -> Leaves:
        """The free leaves where they start."""
        leaves = {name: getattr(self.state, name) for name in self.settings.free}
        if "log_focal" in leaves:
            leaves["log_focal"] = leaves["log_focal"][:, None]
        return leaves

    def landmark_blocks(self) -> list[Block]:
        """One block per view that has landmarks, its residuals in mm at the depth of the head."""
        return [self._holding(self._landmarks(view)) for view in self.views]

    def model_blocks(self) -> list[Block]:
        """The same with points that follow the model wherever it is not linear."""
        if self.model.shape_is_linear:
            return self.landmark_blocks()
        blocks: list[Block] = []
        for view, before in zip(self.views, self.on_surface, strict=True):
            assert view.points is not None
            used, block = view.weight > 0, self._landmarks(view)
            slid = (view.basis.mean != before).any(-1)[used]
            blocks.append(self._holding(ModelLandmarks(block, self.model, view.points, used, slid)))
        return blocks

    def _landmarks(self, view: LandmarkView) -> LandmarkBlock:
        s, frame = self.settings, view.frame
        views_of_frame = sum(other.frame == frame for other in self.views)
        share = s.evidence * views_of_frame**s.view_gain / views_of_frame
        used = view.weight > 0  # the root of a weight of zero has no derivative
        trust = view.weight[used]
        basis = view.basis
        return LandmarkBlock(
            slots=(
                *(("identity", None), ("expression", frame), ("pose", frame)),
                ("log_focal", view.index),
            ),
            basis=LandmarkBasis(
                basis.mean[used], basis.identity[:, used], basis.expression[:, used]
            ),
            pose_reference=self.state.pose_reference[frame],
            T_cam_world=view.T_cam_world,
            K=view.K,
            pixels=view.pixels[used],
            metric=view.direction[used] * (self._mm_per_px(view) / VISIBLY_WRONG),
            weight=trust * (self.weights["landmark"] * share / trust.sum()),
            kernel=s.kernel,
        )

    def _mm_per_px(self, view: LandmarkView) -> Float[Tensor, ""]:
        """Width of a pixel at the depth that the head comes in with."""
        centre = self.state.pose_reference[view.frame, :3, 3] + self.state.pose[view.frame, 3:]
        depth = view.T_cam_world[2, :3] @ centre + view.T_cam_world[2, 3]
        return depth / (view.K[0, 0] * self.state.log_focal[view.index].exp())

    def _holding(self, block: LandmarkBlock | ModelLandmarks) -> Block:
        """The block with the slots that are not free at the state's values."""
        held: dict[Slot, Tensor] = {}
        for name, row in block.slots:
            if not self._is_free(name, row):
                leaf = getattr(self.state, name)
                held[name, row] = (leaf if row is None else leaf[row]).reshape(-1)
        return HeldSlots(block, held) if held else block

    def _is_free(self, name: str, row: int | None) -> bool:
        if name == "log_focal" and row is not None and self.camera_known[row]:
            return False
        return name in self.settings.free

    def priors(self) -> list[Block]:
        """A Gaussian around each free row's start, narrower by the root of its weight; also where no
        landmark reads the row, which then stays."""
        s = self.settings
        expression = s.expression_deviation
        if expression is None:
            expression = 0.2 if self.model.expression_is_blendshape else 1.0
        deviations = {
            "identity": (s.identity_deviation,),
            "expression": (expression,),
            "pose": (s.rotation_deviation,) * 3 + (s.translation_deviation,) * 3,
            "log_focal": (s.focal_deviation,),
        }
        blocks: list[Block] = []
        for name, leaf in self.leaves().items():
            unit = torch.tensor(deviations[name], dtype=torch.float64)
            deviation = unit / self.weights[name].sqrt()
            rows = [None] if name == "identity" else range(len(leaf))
            for row in rows:
                mean = (leaf if row is None else leaf[row]).reshape(-1)
                blocks.append(QuadraticBlock((name, row), mean, deviation.expand(len(mean))))
        return blocks
