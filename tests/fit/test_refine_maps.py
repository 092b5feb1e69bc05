"""Every term whose slope a refinement differentiates: against finite differences of that slope."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.first_order_stage import TermWeight
from hrnfit.fit.refine_maps import refine_maps, stage_energy
from hrnfit.fit.refine_settings import TWICE, MapStage
from hrnfit.fit.refine_views import framed, sharing_of
from hrnfit.fit.scene import Scene
from hrnfit.fit.terms import TERMS
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.reference import ReferenceRasterizer
from hrnfit.solve.solver import Leaves
from hrnfit.solve.unrolled import AdamSteps, GradientSteps, slopes
from hrnfit.state import FaceState
from tests.fit.refine_scene import UNITS, direction, model, moved, truth, two_views

ONE = torch.ones((), dtype=torch.float64)
SIZE = 64
SCENES: dict[type, Scene] = {}


def scene(backend: type = CpuRasterizer) -> Scene:
    if backend not in SCENES:
        views = two_views()
        made = Scene(views, model(), sharing_of(views, truth()), backend(), torch.device("cpu"))
        SCENES[backend] = framed(made, truth())
    return SCENES[backend]


def stage(term: str, level: str = "mid", kernel: str = "square") -> MapStage:
    steps = GradientSteps(UNITS, steps=1)
    return MapStage("one", {term: TermWeight(1.0, kernel)}, steps, tuple(UNITS), level, SIZE)


def acting(term: str) -> FaceState:
    """A state at which a term has a slope: one-sided terms and outlines need a push."""
    state = moved(1)
    if term == "silhouette":  # in profile, where the nose stands out against the background
        return state.replace(pose=state.pose + torch.tensor([[0.0, 0.0, -1.2, 0.0, 0.0, 0.0]]))
    if term == "fold":
        return moved(1, 60.0, ("deformation",))
    if term == "expression_bounds":
        return state.replace(expression=state.expression * 30.0)
    if term == "light_positivity":
        return state.replace(light=state.light - 1.2)
    return state


def second_derivative(term: MapStage, backend: type = CpuRasterizer) -> tuple[float, float]:
    """Of the energy along two directions: by autograd, and by differences of slopes."""
    energy = stage_energy(scene(backend), truth(), term, dict.fromkeys(term.terms, ONE))
    start, along, across = acting(*term.terms), direction(2), direction(3)

    def at(h: float, wanted: bool = False) -> Leaves:
        leaves = {n: getattr(start, n) + h * d for n, d in along.items()}
        return {n: leaf.requires_grad_(wanted) for n, leaf in leaves.items()}

    def product(leaves: Leaves, tracked: bool) -> torch.Tensor:
        found = slopes(energy, leaves, tracked)
        return torch.stack([(found[n] * across[n]).sum() for n in found]).sum()

    leaves = at(0.0, wanted=True)
    found = torch.autograd.grad(product(leaves, True), [*leaves.values()], materialize_grads=True)
    exact = sum(float((g * along[n]).sum()) for g, n in zip(found, leaves, strict=True))
    h = 1e-6
    difference = product(at(h), False) - product(at(-h), False)
    return exact, float(difference) / (2 * h)


@pytest.mark.parametrize("term", TWICE)
def test_slope_of_every_term_is_differentiated(term):
    exact, difference = second_derivative(stage(term))
    assert abs(difference) > 1e-6
    assert exact == pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize(
    ("term", "level", "kernel"),
    [
        ("photometric", "fine", "abs"),
        ("photometric", "coarse", "cauchy"),
        ("displacement_tv", "fine", "abs"),
        ("deformation_tv", "mid", "charbonnier"),
        ("landmark", "mid", "geman_mcclure"),
        ("contour", "mid", "huber"),
    ],
)
def test_at_other_levels_and_under_other_kernels(term, level, kernel):
    exact, difference = second_derivative(stage(term, level, kernel))
    assert exact == pytest.approx(difference, rel=1e-4)


def test_the_reference_renderer_has_the_same_second_derivative():
    """It differentiates plain torch; the compiled one the same formulas at what its loops found."""
    term = replace(stage("photometric"), size=24)
    exact, _ = second_derivative(term)
    assert exact == pytest.approx(second_derivative(term, ReferenceRasterizer)[0], rel=1e-8)


@pytest.mark.parametrize(
    "method",
    [
        GradientSteps({"deformation": 0.3}, steps=4, momentum=0.5),
        AdamSteps({"deformation": 0.1}, steps=4),
    ],
)
def test_steps_lower_the_energy_and_move_only_what_is_free(method):
    terms = {"photometric": TermWeight(1.0), "deformation_size": TermWeight(0.1)}
    one = MapStage("one", terms, method, size=SIZE)
    weights = {name: term.weight * ONE for name, term in terms.items()}
    start = moved(1, 2.0, ("deformation",)).replace(
        identity=truth().identity.clone().requires_grad_()
    )
    after = refine_maps(scene(), start, one, weights)
    energy = stage_energy(scene(), start, one, weights)
    energies = [energy({"deformation": s.deformation}).detach() for s in (start, after)]
    assert energies[1] < 0.95 * energies[0]
    for name in UNITS:
        assert (getattr(after, name) is getattr(start, name)) == (name != "deformation")


def test_weights_are_linear_in_the_energy():
    names = ("deformation_size", "identity_prior")
    one = MapStage("one", dict.fromkeys(names, TermWeight(1.0)), GradientSteps(UNITS))
    state = moved(1)
    parts = [
        float(stage_energy(scene(), state, one, dict(zip(names, w, strict=True)))({}))
        for w in ((ONE, 0 * ONE), (0 * ONE, ONE), (2 * ONE, 3 * ONE))
    ]
    assert parts[1] == pytest.approx(float(state.identity.square().mean()))
    assert parts[2] == pytest.approx(2 * parts[0] + 3 * parts[1])


def test_every_term_of_a_recipe_is_known_here():
    """A term that is added to the recipes' must be tested above before steps may be taken under it."""
    assert set(TWICE) <= set(TERMS)
