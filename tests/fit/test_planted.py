"""A fit that starts from networks which know the subject: where it starts, and how soon it ends."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import hrnfit
from hrnfit.fit.recipe import recipe_from
from hrnfit.fit.result import FitResult
from hrnfit.infer.networks import Networks
from hrnfit.synthetic import SyntheticRig
from tests.fit.planted import planted
from tests.fit.small_scene import face

SKIN: dict[str, Any] = {
    "name": "skin", "solver": "map", "free": ["deformation"], "blur": 0.7, "offset": 0, "size": 192,
    "texels": 128, "membrane": 3e-3, "bending": 0.045, "steps": 60, "tolerance": 1e-4,
}  # fmt: skip
RECIPE: dict[str, Any] = {
    "name": "small-rig",
    "share": {"light": "subject"},
    "resolution": {"deformation": 64, "displacement": 64, "albedo": 64},
}


def fit(made: SyntheticRig, networks: Networks | None, stages: list[Any]) -> FitResult:
    by = "landmarks" if networks is None else "networks"
    return hrnfit.fit(
        made.images,
        made.cameras,
        model=face(),
        recipe=recipe_from({**RECIPE, "initialize": by, "stages": stages}),
        masks=made.masks,
        landmarks=made.landmarks,
        device="cpu",
        networks=networks,
    )


def off(vertices: torch.Tensor, truth: torch.Tensor, made: SyntheticRig) -> float:
    """Mean distance of corresponding vertices that a camera sees, as they lie in the rig, mm."""
    return float((vertices - truth).norm(dim=1)[made.seen].mean())


@pytest.mark.slow
def test_networks_start_nearer_and_the_fit_ends_sooner_at_the_same_energy():
    known = planted()
    taken = {"landmarks": 0, "networks": 0}
    for made in known.rigs:
        truth = made.truth
        starts = {by: fit(made, nets, []) for by, nets in by_networks(known.networks)}
        coarse = {
            by: off(r.mesh("coarse").vertices, truth.coarse, made) for by, r in starts.items()
        }
        assert coarse["networks"] < 0.5 * coarse["landmarks"]
        mid = {by: off(r.mesh("mid").vertices, truth.mid, made) for by, r in starts.items()}
        assert mid["networks"] < 0.5 * mid["landmarks"]
        ended = {by: fit(made, nets, [SKIN]) for by, nets in by_networks(known.networks)}
        energies = {by: r.stages[-1].energies for by, r in ended.items()}
        goal = 1.02 * energies["landmarks"][-1]
        assert energies["networks"][-1] <= goal
        for by, trace in energies.items():
            taken[by] += next(step for step, energy in enumerate(trace) if energy <= goal)
        assert ended["networks"].stages[-1].steps < ended["landmarks"].stages[-1].steps
    assert taken["networks"] <= 0.5 * taken["landmarks"], taken


def by_networks(networks: Networks) -> tuple[tuple[str, Networks | None], ...]:
    return (("landmarks", None), ("networks", networks))
