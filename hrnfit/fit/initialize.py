"""The start of a fit, from landmarks alone: poses, identity, expressions and focal lengths.

Calibrated views of one instant are triangulated and the mean face is laid onto the points, wherever
the rig's world has the head; single views start from PnP at several focal lengths. One
Levenberg-Marquardt over everything then shares identity among all views.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBlock, WhitenedLandmarkBlock
from hrnfit.fit.focal import profile_focal
from hrnfit.fit.frame_pose import frame_pose, inconsistent_view
from hrnfit.fit.landmark_group import GroupedProblem
from hrnfit.fit.landmark_problem import LandmarkProblem, LandmarkStart, is_measured
from hrnfit.fit.landmark_views import LandmarkView, landmark_views, relinearised
from hrnfit.fit.queued_landmarks import landmark_solution
from hrnfit.fit.sliding_jaw import with_sliding_jaw
from hrnfit.geometry.rotation import rebase
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View
from hrnfit.solve.block import slot_values
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
EXPANSIONS = 2
"""Times that a model with joints is linearised in one solve. On exact landmarks of a jaw open by 15 degrees
and a neck turned by 10, one per solve leaves 0.2 mm, two leave 0.001."""


@dataclass(frozen=True)
class Start:
    """Leaves of `FaceState` that landmarks determine. T frames and V views as given, float32."""

    identity: Float[Tensor, "I"]
    expression: Float[Tensor, "T E"]
    pose_reference: Float[Tensor, "T 4 4"]
    """T_world_head; its tangent is zero. The identity in frames that have no landmarks."""
    log_focal: Float[Tensor, "V"]
    """Zero where the camera is known."""
    errors: dict[str, float]
    """Median landmark error per view, mm at the face; views without landmarks are absent."""
    dropped: tuple[str, ...]
    """Views to leave out: no start for them, or their landmarks contradict the others."""
    warnings: tuple[str, ...]


def initialize(
    views: tuple[View, ...],
    model: FaceModel,
    focal_known: Sequence[bool] | None = None,
    settings: LandmarkStart | None = None,
    found: Sequence[LandmarkView] | None = None,
    device: torch.device = CPU,
) -> Start:
    """Start of all frames of the views on a model.

    focal_known: per view, whether an uncalibrated camera's focal length is trusted (EXIF). found: the views'
    `landmark_views`, where they have been made. device: where the solves run; the start is on the CPU. Raises ValueError when no view has landmarks, or the model
    lacks their scheme.
    """
    settings = settings or LandmarkStart()
    found = landmark_views(views, model) if found is None else found
    if settings.jaw == "outline":
        found = with_sliding_jaw(found, views, model)
    _check_uncalibrated(views)
    deviation = _focal_deviations(views, focal_known, settings)
    frames = 1 + max(view.frame for view in views)
    problem = LandmarkProblem(
        model, settings, deviation, torch.zeros_like(deviation), frames, device
    )
    warnings = _without_landmarks(views, found)
    found = _drop_contradicting(found, warnings)
    fitted = _solved_without_bad_views(problem, found, warnings)
    for text in warnings.values():
        log.warning(text)
    unknown = torch.tensor([not view.camera_known for view in views]).float()
    return Start(
        identity=fitted.leaves["identity"].float(),
        expression=fitted.leaves["expression"].float(),
        pose_reference=fitted.reference.float(),
        log_focal=fitted.leaves["log_focal"][:, 0].float() * unknown,
        errors=fitted.errors,
        dropped=tuple(warnings),
        warnings=tuple(warnings.values()),
    )


@dataclass(frozen=True)
class _Fitted:
    leaves: Leaves
    reference: Float[Tensor, "T 4 4"]
    views: tuple[LandmarkView, ...]
    blocks: tuple[LandmarkBlock | WhitenedLandmarkBlock, ...]
    """One per view."""
    moved: Leaves
    """Where the blocks were solved; the leaves are the same with the pose taken as the new reference."""

    @cached_property
    def errors(self) -> dict[str, float]:
        """Median landmark error per view, mm."""
        errors = {}
        for view, block in zip(self.views, self.blocks, strict=True):
            error = block.error_mm(*slot_values(block, self.moved))
            if isinstance(block, LandmarkBlock):
                error = error[view.weight > 0]
            errors[view.name] = float(error.median())
        return errors


def _solved_without_bad_views(
    problem: LandmarkProblem, found: Sequence[LandmarkView], warnings: dict[str, str]
) -> _Fitted:
    """The fit to all views but those that contradict it, of which each is told in `warnings`."""
    fitted = _solve(problem, found)
    while (worst := _bad_view(fitted.errors, problem.settings)) is not None:
        warnings[worst] = (
            f"view {worst!r} is left out: its landmarks miss the face fitted to all views by "
            f"{fitted.errors[worst]:.1f} mm; check its camera, or whether it shows another face"
        )
        found = tuple(view for view in found if view.name != worst)
        fitted = _solve(problem, found)
    return fitted


def _solve(problem: LandmarkProblem, found: Sequence[LandmarkView]) -> _Fitted:
    """Focal lengths first, then every frame alone, then all frames together."""
    problem = replace(problem, focal_mean=_profiled_focals(problem, found))
    leaves, reference = problem.zeros()
    frames = sorted({view.frame for view in found})
    for frame in frames:
        own = [view for view in found if view.frame == frame]
        single = _frame_alone(problem, own)
        leaves["expression"][frame] = single.leaves["expression"][0]
        leaves["log_focal"][[view.index for view in own]] = single.leaves["log_focal"]
        leaves["identity"] += single.leaves["identity"] / len(frames)
        reference[frame] = single.reference[0]
    for _ in range(2):  # the second time with settled mm per px
        fitted = _refine(problem, problem.settings.solver, found, leaves, reference)
        leaves, reference = fitted.leaves, fitted.reference
    return fitted


def _profiled_focals(problem: LandmarkProblem, found: Sequence[LandmarkView]) -> Tensor:
    """Log focal factor of each given view, from the mean face; 0 where the camera is known."""
    settings, result = problem.settings, torch.zeros_like(problem.focal_deviation)
    profile = replace(settings, evidence=settings.focal_evidence, kernel="cauchy")
    for view in found:
        if view.camera_known or is_measured(settings, view):
            continue
        leaves, reference = problem.zeros()
        reference[view.frame] = frame_pose([view])
        view = view.slid(leaves, reference)
        (block,) = replace(problem, settings=profile).landmark_blocks([view], leaves, reference)
        if isinstance(block, WhitenedLandmarkBlock):
            block = block.block  # the mean face errs by more than the detector; only offsets count
        deviation = float(problem.focal_deviation[view.index])
        result[view.index] = profile_focal(
            view, block, view.basis.mean, deviation, settings.focal_grid
        )
    return result


def _frame_alone(problem: LandmarkProblem, views: Sequence[LandmarkView]) -> _Fitted:
    """Fit of one frame, all else absent; its row is 0."""
    index = [view.index for view in views]
    alone = replace(
        problem,
        focal_deviation=problem.focal_deviation[index],
        focal_mean=problem.focal_mean[index],
        n_frames=1,
    )
    views = [replace(view, frame=0, index=i) for i, view in enumerate(views)]
    leaves, reference = alone.zeros()
    focal = float(alone.focal_mean[0])
    reference[0] = frame_pose(views, focal)
    # the jaw of a turned head misleads the first pose; once on its outline it helps the second
    reference[0] = frame_pose([view.slid(leaves, reference) for view in views], focal)
    return _refine(alone, alone.settings.search, views, leaves, reference)


def _refine(
    problem: LandmarkProblem,
    solver: LevenbergMarquardt,
    views: Sequence[LandmarkView],
    leaves: Leaves,
    reference: Tensor,
) -> _Fitted:
    """Levenberg-Marquardt over all leaves that the views touch, around the face found so far."""
    for _ in range(1 if problem.model.shape_is_linear else EXPANSIONS):
        fitted = _refine_near(problem, solver, views, leaves, reference)
        leaves, reference = fitted.leaves, fitted.reference
    return fitted


def _refine_near(
    problem: LandmarkProblem,
    solver: LevenbergMarquardt,
    views: Sequence[LandmarkView],
    leaves: Leaves,
    reference: Tensor,
) -> _Fitted:
    """The same with the model linearised once, at the given leaves."""
    near = relinearised(views, problem.model, leaves)
    views = [view.slid(leaves, reference) for view in near]
    blocks = problem.landmark_blocks(views, leaves, reference)
    bounds = {"expression": (0.0, 1.0)} if problem.model.expression_is_blendshape else {}
    grouped = GroupedProblem.of([*blocks, *problem.priors(views)])
    solution = landmark_solution(problem.device, solver, grouped, leaves, bounds)
    moved = solution.leaves
    zero, reference = rebase(moved["pose"], reference)
    return _Fitted({**moved, "pose": zero}, reference, tuple(views), tuple(blocks), moved)


def _focal_deviations(
    views: Sequence[View], focal_known: Sequence[bool] | None, settings: LandmarkStart
) -> Tensor:
    """Prior deviation of each view's log focal factor: none to speak of where it is calibrated."""
    known = [False] * len(views) if focal_known is None else list(focal_known)
    if len(known) != len(views):
        raise ValueError(
            f"focal_known: expected {len(views)} values, one per view, got {len(known)}"
        )
    deviations = [
        1e-6 if view.camera_known else settings.exif_deviation if exif else settings.focal_deviation
        for view, exif in zip(views, known, strict=True)
    ]
    return torch.tensor(deviations, dtype=torch.float64)


def _check_uncalibrated(views: Sequence[View]) -> None:
    """Views of one instant need known relative poses."""
    for view in views:
        shared = [v.name for v in views if v.frame == view.frame and v.name != view.name]
        if shared and not view.camera_known:
            raise ValueError(
                f"views {view.name!r} and {shared[0]!r} share frame {view.frame}, but the camera of "
                f"{view.name!r} is unknown; pass its camera, or give each photo its own frame"
            )


def _without_landmarks(views: Sequence[View], found: Sequence[LandmarkView]) -> dict[str, str]:
    """Warnings of views that cannot start: no landmarks, and no calibrated view of their instant."""
    frames = {view.frame for view in found}
    return {
        view.name: f"view {view.name!r} is left out: no face was found in it; pass landmarks= for it"
        for view in views
        if view.frame not in frames
    }


def _drop_contradicting(
    found: Sequence[LandmarkView], warnings: dict[str, str]
) -> tuple[LandmarkView, ...]:
    """Calibrated views that triangulate with each other; one at a time is left out."""
    kept = tuple(found)
    for frame in sorted({view.frame for view in found}):
        while (name := inconsistent_view([v for v in kept if v.frame == frame])) is not None:
            kept = tuple(view for view in kept if view.name != name)
            warnings[name] = (
                f"view {name!r} is left out: its landmarks contradict the other calibrated views; "
                "check its camera, or whether its image belongs to it"
            )
    return kept


def _bad_view(errors: dict[str, float], settings: LandmarkStart) -> str | None:
    """The worst view, when it is far worse than the others."""
    if len(errors) < 2:
        return None
    worst = max(errors, key=errors.__getitem__)
    others = sorted(error for name, error in errors.items() if name != worst)
    middle = others[len(others) // 2]
    return worst if errors[worst] > max(settings.bad_view, 3.0 * middle) else None
