"""The landmark energy of a start: which blocks and priors hold coefficients, poses and focal lengths.

What stays the same over all solves of one start; `initialize.py` says in which order they are solved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

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
from hrnfit.fit.landmark_views import LandmarkView
from hrnfit.model.face_model import FaceModel
from hrnfit.solve.block import Block, QuadraticBlock, Slot
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves


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
    jaw: str = "outline"
    """What the jaw of given 68 points marks: the `outline` of the face in the picture, as annotators and
    most detectors do, or the `surface`, as the projected points of a 3D model do."""
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
class LandmarkProblem:
    """What stays the same over all solves of one start."""

    model: FaceModel
    """Gives the numbers of coefficients; the landmarks' bases come with the views."""
    settings: LandmarkStart
    focal_deviation: Float[Tensor, "V"]
    """Prior on each view's log focal factor."""
    focal_mean: Float[Tensor, "V"]
    """Its profiled value."""
    n_frames: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where solves run; everything here is on the CPU."""

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
            if is_measured(self.settings, view):
                blocks.append(self._measured_block(view, leaves, reference))
                continue
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
                    metric=view.direction * (_mm_per_px(view, leaves, reference) / VISIBLY_WRONG),
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
        mm_per_px = _mm_per_px(view, leaves, reference)
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
            metric=torch.eye(2, dtype=torch.float64).expand(len(points), 2, 2) * mm_per_px,
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


def is_measured(settings: LandmarkStart, view: LandmarkView) -> bool:
    """Whether the detector's measured noise applies: to its own points, in a photograph."""
    measured = settings.noise == "measured" and not view.camera_known
    return measured and view.scheme == "mediapipe478"


def _mm_per_px(view: LandmarkView, leaves: Leaves, reference: Float[Tensor, "T 4 4"]) -> float:
    """Width of a pixel at the depth that the head has in a view now."""
    centre = reference[view.frame, :3, 3]
    depth = float(view.T_cam_world[2, :3] @ centre + view.T_cam_world[2, 3])
    return depth / float(view.K[0, 0] * leaves["log_focal"][view.index, 0].exp())


def _slots(view: LandmarkView) -> tuple[Slot, ...]:
    """Leaves that a view's landmarks depend on."""
    frame = view.frame
    own = (("expression", frame), ("pose", frame), ("log_focal", view.index))
    return (("identity", None), *own)
