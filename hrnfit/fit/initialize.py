"""The start of a fit, from landmarks alone: poses, identity, expressions and focal lengths.

Calibrated views of one instant are triangulated and the mean face is laid onto the points, wherever
the rig's world has the head; single views start from PnP at several focal lengths. One
Levenberg-Marquardt over everything then shares identity among all views.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.landmark import (
    VISIBLY_WRONG,
    LandmarkBasis,
    LandmarkBlock,
    WhitenedLandmarkBlock,
)
from hrnfit.fit.detector_noise import SHRINK, used_points, whitening
from hrnfit.fit.focal import profile_focal
from hrnfit.fit.frame_pose import frame_pose, inconsistent_view
from hrnfit.fit.landmark_views import LandmarkView, landmark_views
from hrnfit.geometry.rotation import rebase
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View
from hrnfit.solve.block import Block, QuadraticBlock, Slot, slot_values
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LandmarkStart:
    """Settings of the start. The priors are what keeps landmark noise out of the shape."""

    evidence: float = 60.0
    """Independent landmarks that one frame's points are worth, at `VISIBLY_WRONG` noise: neighbouring
    points err together, so 478 count for far fewer."""
    view_gain: float = 0.5
    """Evidence of n views of one frame grows as n to this power: detectors err alike in all views."""
    identity_deviation: float = 0.3
    """Prior on identity for one view per frame, in the model's standard deviations. A single view
    cannot tell depth: on one head 1.0 gave 1.02 mm from one view where the mean face has 0.76, 0.4
    gave 0.89 and 0.25 gave 0.83."""
    identity_growth: float = 0.75
    """The prior of n calibrated views per frame is wider by n to this power, up to 1: triangulated
    points do tell depth (0.50 mm from five views with 1.0)."""
    expression_deviation: float = 0.2
    """Prior on activations of blendshapes; other expressions use 1, their own standard deviation."""
    noise: str = "independent"
    """`independent`: every point errs by itself and `evidence` says what all are worth. `measured`: the
    detector's own covariance (`detector_noise.py`), for photographs without a camera; `evidence`,
    `kernel` and the profile of the focal length then have no part, which has the prior alone."""
    noise_inflation: float = 4.0
    """Factor on the measured variance: photographs are harder than the renders it comes from."""
    focal_deviation: float = 0.5
    """Prior on the log focal factor of a guessed camera, while its energy is profiled."""
    focal_grid: tuple[float, ...] = (-0.6, -0.3, 0.0, 0.3, 0.6, 0.9)
    """Log focal factors at which the energy of an unknown camera is profiled."""
    focal_evidence: float = 1000.0
    """`evidence` of the profile: errors there are 0.6 to 1 mm, not `VISIBLY_WRONG`, and a prior of
    equal weight pulled every photo to the guess (on five photos: factors 0.5 to 1.4 of the truth,
    0.7 to 1.1 with this)."""
    focal_trust: float = 0.05
    """Deviation that is left to the profiled focal length in the joint fit; a free one drifts back,
    because identity explains perspective as well."""
    exif_deviation: float = 0.03
    """The same where EXIF gave the focal length."""
    bad_view: float = 8.0
    """Median landmark error at which a view is left out when others remain, mm."""
    kernel: str = "cauchy"
    """On three views of a rig 0.60 mm, against 0.67 with `geman_mcclure`, which loses good points."""
    search: LevenbergMarquardt = field(
        default_factory=lambda: LevenbergMarquardt(max_steps=10, tolerance=1e-3)
    )
    """Solver of one frame alone, before the joint fit."""
    solver: LevenbergMarquardt = field(
        default_factory=lambda: LevenbergMarquardt(max_steps=40, tolerance=1e-5)
    )
    """Solver of everything together."""


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
) -> Start:
    """Start of all frames of the views on a model.

    focal_known: per view, whether an uncalibrated camera's focal length is trusted (EXIF).
    Raises ValueError when no view has landmarks, or the model lacks their scheme.
    """
    settings = settings or LandmarkStart()
    found = landmark_views(views, model)
    _check_uncalibrated(views)
    deviation = _focal_deviations(views, focal_known, settings)
    frames = 1 + max(view.frame for view in views)
    problem = _Problem(model, settings, deviation, torch.zeros_like(deviation), frames)
    warnings = _without_landmarks(views, found)
    found = _drop_contradicting(found, warnings)
    fitted = _solve(problem, found)
    while (worst := _bad_view(fitted.errors, settings)) is not None:
        warnings[worst] = (
            f"view {worst!r} is left out: its landmarks miss the face fitted to all views by "
            f"{fitted.errors[worst]:.1f} mm; check its camera, or whether it shows another face"
        )
        found = tuple(view for view in found if view.name != worst)
        fitted = _solve(problem, found)
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
    energy: float
    errors: dict[str, float]
    """Median landmark error per view, mm."""


def _solve(problem: _Problem, found: Sequence[LandmarkView]) -> _Fitted:
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


def _profiled_focals(problem: _Problem, found: Sequence[LandmarkView]) -> Tensor:
    """Log focal factor of each given view, from the mean face; 0 where the camera is known."""
    settings, result = problem.settings, torch.zeros_like(problem.focal_deviation)
    profile = replace(settings, evidence=settings.focal_evidence, kernel="cauchy")
    for view in found:
        if view.camera_known or _is_measured(settings, view):
            continue
        leaves, reference = problem.zeros()
        reference[view.frame] = frame_pose([view])
        (block,) = replace(problem, settings=profile).landmark_blocks([view], leaves, reference)
        if isinstance(block, WhitenedLandmarkBlock):
            block = block.block  # the mean face errs by more than the detector; only offsets count
        deviation = float(problem.focal_deviation[view.index])
        result[view.index] = profile_focal(
            view, block, view.basis.mean, deviation, settings.focal_grid
        )
    return result


def _frame_alone(problem: _Problem, views: Sequence[LandmarkView]) -> _Fitted:
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
    reference[0] = frame_pose(views, float(alone.focal_mean[0]))
    return _refine(alone, alone.settings.search, views, leaves, reference)


def _refine(
    problem: _Problem,
    solver: LevenbergMarquardt,
    views: Sequence[LandmarkView],
    leaves: Leaves,
    reference: Tensor,
) -> _Fitted:
    """Levenberg-Marquardt over all leaves that the views touch."""
    blocks = problem.landmark_blocks(views, leaves, reference)
    bounds = {"expression": (0.0, 1.0)} if problem.model.expression_is_blendshape else {}
    solution = solver.minimize([*blocks, *problem.priors(views)], leaves, bounds)
    moved = solution.leaves
    errors = {}
    for view, block in zip(views, blocks, strict=True):
        values = slot_values(block, moved)
        error = block.error_mm(*values)
        if isinstance(block, LandmarkBlock):
            error = error[view.weight > 0]
        errors[view.name] = float(error.median())
    zero, reference = rebase(moved["pose"], reference)
    return _Fitted({**moved, "pose": zero}, reference, solution.energies[-1], errors)


@dataclass(frozen=True)
class _Problem:
    """What stays the same over all solves of one start."""

    model: FaceModel
    settings: LandmarkStart
    focal_deviation: Float[Tensor, "V"]
    """Prior on each view's log focal factor."""
    focal_mean: Float[Tensor, "V"]
    """Its profiled value."""
    n_frames: int

    def zeros(self) -> tuple[Leaves, Tensor]:
        """Leaves at the mean face, and unit pose references."""
        views = len(self.focal_deviation)
        sizes = {
            "identity": (self.model.n_identity,),
            "expression": (self.n_frames, self.model.n_expression),
            "pose": (self.n_frames, 6),
            "log_focal": (views, 1),
        }
        leaves = {name: torch.zeros(size, dtype=torch.float64) for name, size in sizes.items()}
        leaves["log_focal"] += self.focal_mean[:, None]
        return leaves, torch.eye(4, dtype=torch.float64).repeat(self.n_frames, 1, 1)

    def landmark_blocks(
        self, views: Sequence[LandmarkView], leaves: Leaves, reference: Tensor
    ) -> list[LandmarkBlock | WhitenedLandmarkBlock]:
        """One block per view, its residuals in mm at the depth that the face has now."""
        count = Counter(view.frame for view in views)
        blocks: list[LandmarkBlock | WhitenedLandmarkBlock] = []
        for view in views:
            if _is_measured(self.settings, view):
                blocks.append(self._measured_block(view, leaves, reference))
                continue
            centre = reference[view.frame, :3, 3]
            depth = float(view.T_cam_world[2, :3] @ centre + view.T_cam_world[2, 3])
            focal = float(view.K[0, 0] * leaves["log_focal"][view.index, 0].exp())
            n = count[view.frame]
            share = self.settings.evidence * n**self.settings.view_gain / n
            blocks.append(
                LandmarkBlock(
                    slots=_slots(view),
                    basis=view.basis,
                    pose_reference=reference[view.frame],
                    T_cam_world=view.T_cam_world,
                    K=view.K,
                    pixels=view.pixels,
                    metric=view.direction * (depth / focal / VISIBLY_WRONG),
                    weight=view.weight * (share / float(view.weight.sum())),
                    kernel=self.settings.kernel,
                )
            )
        return blocks

    def _measured_block(
        self, view: LandmarkView, leaves: Leaves, reference: Tensor
    ) -> WhitenedLandmarkBlock:
        """All points of a photograph with the detector's own correlated noise."""
        points = used_points(view)
        centre = reference[view.frame, :3, 3]
        depth = float(view.T_cam_world[2, :3] @ centre + view.T_cam_world[2, 3])
        focal = float(view.K[0, 0] * leaves["log_focal"][view.index, 0].exp())
        basis, reported = view.basis, 1.0 - SHRINK
        block = LandmarkBlock(
            slots=_slots(view),
            basis=LandmarkBasis(
                basis.mean[points],
                reported * basis.identity[:, points],
                reported * basis.expression[:, points],
            ),
            pose_reference=reference[view.frame],
            T_cam_world=view.T_cam_world,
            K=view.K,
            pixels=view.pixels[points],
            metric=torch.eye(2, dtype=torch.float64).expand(len(points), 2, 2) * (depth / focal),
            weight=torch.ones(len(points), dtype=torch.float64),
            kernel="square",
        )
        return WhitenedLandmarkBlock(block, whitening(view, points, self.settings.noise_inflation))

    def priors(self, views: Sequence[LandmarkView]) -> list[Block]:
        """Gaussian priors on identity, expression and focal lengths; a loose one on pose."""
        s, model = self.settings, self.model

        def prior(slot: Slot, size: int, deviation: float, mean: float = 0.0) -> Block:
            centre = torch.full((size,), mean, dtype=torch.float64)
            return QuadraticBlock(slot, centre, torch.full_like(centre, deviation))

        activation = s.expression_deviation if model.expression_is_blendshape else 1.0
        most = max(Counter(view.frame for view in views).values())
        identity = min(1.0, s.identity_deviation * most**s.identity_growth)
        blocks = [prior(("identity", None), model.n_identity, identity)]
        for frame in range(self.n_frames):
            blocks.append(prior(("expression", frame), model.n_expression, activation))
            # 1e4 rad or mm says nothing; it only keeps frames without landmarks determined
            blocks.append(prior(("pose", frame), 6, 1e4))
        for view, deviation in enumerate(self.focal_deviation.tolist()):
            mean = float(self.focal_mean[view])
            trust = deviation if s.noise == "measured" else min(deviation, s.focal_trust)
            blocks.append(prior(("log_focal", view), 1, trust, mean))
        return blocks


def _is_measured(settings: LandmarkStart, view: LandmarkView) -> bool:
    """Whether the detector's measured noise applies: to its own points, in a photograph."""
    measured = settings.noise == "measured" and not view.camera_known
    return measured and view.scheme == "mediapipe478"


def _slots(view: LandmarkView) -> tuple[Slot, ...]:
    """Leaves that a view's landmarks depend on."""
    frame = view.frame
    own = (("expression", frame), ("pose", frame), ("log_focal", view.index))
    return (("identity", None), *own)


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
