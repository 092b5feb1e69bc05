"""The landmarks of the start as a problem of its own over the leaves of a later stage.

What compares views knows the surface but not the features on it: two mirrored sides, or two views with
a free albedo, let the mouth drift along the midline. Landmarks hold it. They are those of the start,
with its noise, so a recipe says once how far they are believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBlock, WhitenedLandmarkBlock
from hrnfit.fit.landmark_problem import LandmarkProblem, LandmarkStart
from hrnfit.fit.landmark_views import LandmarkView, landmark_views, relinearised
from hrnfit.fit.mirror import Linearised
from hrnfit.fit.scene import Scene
from hrnfit.fit.sliding_jaw import with_sliding_jaw
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.solve.block import Layout, NormalEquations, energy, normal_equations
from hrnfit.solve.solver import Leaves
from hrnfit.state import FaceState

LEAVES = ("identity", "expression", "pose", "log_focal")
"""What landmarks depend on."""


class HeldLandmarks:
    """Landmark energy around a state, of the leaves that are free; the others stay where they are."""

    def __init__(
        self,
        scene: Scene,
        state: FaceState,
        free: tuple[str, ...],
        settings: LandmarkStart,
        share: float,
    ) -> None:
        self._fixed = {n: getattr(state, n).double().cpu() for n in LEAVES if n not in free}
        self._reference = state.pose_reference.double().cpu()
        found = landmark_views(scene.views, scene.model)
        if settings.jaw == "outline":
            found = with_sliding_jaw(found, scene.views, scene.model)
        cameras = state.camera.double().cpu()
        self._views = tuple(
            replace(
                _displaced(view, scene, state),
                T_cam_world=pose_matrix(cameras[view.index], view.T_cam_world),
            )
            for view in found
        )
        unknown = torch.zeros(len(scene.views), dtype=torch.float64)
        settings = replace(
            settings,
            evidence=settings.evidence * share,
            noise_inflation=settings.noise_inflation / share,
        )
        frames = len(state.expression)
        self._problem = LandmarkProblem(scene.model, settings, unknown, unknown, frames)
        self._blocks: list[LandmarkBlock | WhitenedLandmarkBlock] = []

    def refresh(self, leaves: Leaves) -> None:
        """Slide the contours, take the width of a pixel and what is not linear anew."""
        full = self._full(leaves)
        now = pose_matrix(full["pose"], self._reference)
        views = relinearised(self._views, self._problem.model, full)
        views = [view.slid(full, now) for view in views]
        blocks = self._problem.landmark_blocks(views, full, now)
        self._blocks = [
            _at_reference(block, self._reference[view.frame])
            for view, block in zip(views, blocks, strict=True)
        ]

    @property
    def blocks(self) -> tuple[LandmarkBlock | WhitenedLandmarkBlock, ...]:
        """One per view, as the last `refresh` made them; on the CPU."""
        return tuple(self._blocks)

    @property
    def fixed(self) -> Leaves:
        """Leaves that the blocks read and that are not free; on the CPU."""
        return self._fixed

    def energy(self, leaves: Leaves) -> Float[Tensor, ""]:
        """Half of the squared residuals."""
        return energy(self._blocks, self._full(leaves))

    def linearize(self, leaves: Leaves) -> NormalEquations:
        """Normal equations over the packed leaves."""
        full, layout = self._full(leaves), Layout.of(leaves)
        everything = normal_equations(self._blocks, full)
        whole = Layout.of(full)
        rows = torch.cat(
            [torch.arange(whole.size)[whole.columns((n, None))] for n in layout.shapes]
        )
        return NormalEquations(
            everything.energy, everything.hessian[rows[:, None], rows], everything.gradient[rows]
        )

    def _full(self, leaves: Leaves) -> Leaves:
        """All leaves that landmarks read; focal lengths as rows of one number."""
        full = {n: leaves[n] if n in leaves else self._fixed[n] for n in LEAVES}
        return {**full, "log_focal": full["log_focal"].reshape(-1, 1)}


def _displaced(view: LandmarkView, scene: Scene, state: FaceState) -> LandmarkView:
    """The view with its points carried along by the deformation map of the state."""
    if not bool((state.deformation != 0).any()):
        return view
    return view.carried(scene.operator(len(state.deformation))(state.deformation))


def _at_reference(
    block: LandmarkBlock | WhitenedLandmarkBlock, reference: Float[Tensor, "4 4"]
) -> LandmarkBlock | WhitenedLandmarkBlock:
    """The block for tangents at another reference; its metric stays."""
    if isinstance(block, WhitenedLandmarkBlock):
        return replace(block, block=replace(block.block, pose_reference=reference))
    return replace(block, pose_reference=reference)


@dataclass(frozen=True)
class SumOfProblems:
    """Problems over the same leaves, solved together."""

    parts: Sequence[Linearised]

    def refresh(self, leaves: Leaves) -> None:
        for part in self.parts:
            part.refresh(leaves)

    def energy(self, leaves: Leaves) -> Float[Tensor, ""]:
        return torch.stack([part.energy(leaves) for part in self.parts]).sum()

    def linearize(self, leaves: Leaves) -> NormalEquations:
        found = [part.linearize(leaves) for part in self.parts]
        return NormalEquations(
            torch.stack([f.energy for f in found]).sum(),
            torch.stack([f.hessian for f in found]).sum(0),
            torch.stack([f.gradient for f in found]).sum(0),
        )
