"""The map stages of a `RefineLayer`: weighted terms as a function of a stage's leaves, and its steps.

As `first_order_stage.py`, except that weights are tensors and that the result can be differentiated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from hrnfit.energy.term import reduce
from hrnfit.fit.refine_settings import MapStage
from hrnfit.fit.scene import Scene
from hrnfit.fit.terms import make_term
from hrnfit.solve.solver import Leaves
from hrnfit.solve.unrolled import Energy
from hrnfit.state import FaceState


def refine_maps(
    scene: Scene, state: FaceState, stage: MapStage, weights: Mapping[str, Tensor]
) -> FaceState:
    """The state after a stage's steps; leaves that are not free pass through."""
    leaves = {name: getattr(state, name) for name in stage.free}
    energy = stage_energy(scene, state, stage, weights)
    return state.replace(**stage.method.minimize(energy, leaves))


def stage_energy(
    scene: Scene, state: FaceState, stage: MapStage, weights: Mapping[str, Tensor]
) -> Energy:
    """Sum of a stage's reduced terms times their weights, a function of its leaves."""
    windows = scene.windows(stage.size)
    terms = {name: make_term(name, windows.landmark_scheme, {}) for name in stage.terms}
    base = scene.predict(state, stage.size, stage.level)

    def energy(leaves: Leaves) -> Tensor:
        prediction = replace(base, state=state.replace(**leaves))
        parts = [
            weights[name] * reduce(term.residuals(prediction, windows), stage.terms[name].kernel)
            for name, term in terms.items()
        ]
        return torch.stack(parts).sum()

    return energy
