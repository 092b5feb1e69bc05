"""The layer as a whole: gradients of everything by finite differences, its laws, and training through it."""

from __future__ import annotations

import builtins
import sys
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

import hrnfit
from hrnfit.fit.first_order_stage import TermWeight
from hrnfit.fit.refine_layer import Refined, RefineLayer
from hrnfit.fit.refine_settings import CoarseSolve, MapStage, RefineSettings
from hrnfit.solve.unrolled import GradientSteps
from hrnfit.state import FaceState
from tests.fit.refine_scene import DOUBLE, UNITS, direction, model, moved, truth, two_views
from tests.fit.small_scene import face, rig

SIZE, STEPS = 32, 2
COARSE = CoarseSolve(jaw="surface", solver="own", tolerance=1e-9, max_steps=100)
SKIN = MapStage(
    "skin",
    {
        "photometric": TermWeight(1.0),
        "deformation_size": TermWeight(0.1),
        "landmark": TermWeight(0.3, "cauchy"),
    },
    GradientSteps({"deformation": 0.3}, steps=STEPS, momentum=0.5),
    size=SIZE,
)
DETAIL = MapStage(
    "detail",
    {"photometric": TermWeight(1.0, "abs"), "displacement_tv": TermWeight(0.3, "abs")},
    GradientSteps({"displacement": 0.01, "light": 0.01}, steps=1),
    free=("displacement", "light"),
    level="fine",
    size=SIZE,
)
START = moved(1, 0.4)
WHOLE = RefineSettings(COARSE, (SKIN, DETAIL), size=SIZE)


def truncated(steps: int | None, coarse: CoarseSolve | None = None) -> RefineSettings:
    skin = replace(SKIN, method=replace(SKIN.method, truncate=steps))
    return RefineSettings(coarse, (skin,), SIZE)


def number(refined: Refined) -> Tensor:
    """A pattern over the whole state, and over what it predicts."""
    generator = torch.Generator().manual_seed(9)

    def against_noise(values: Tensor) -> Tensor:
        return (values * torch.randn(values.shape, generator=generator, **DOUBLE)).mean()

    parts = [against_noise(getattr(refined.state, name)) / u for name, u in UNITS.items()]
    parts += [0.1 * against_noise(refined.landmarks("ibug68"))]
    parts += [against_noise(refined.levels[level].vertices_world) for level in ("coarse", "mid")]
    return torch.stack([*parts, against_noise(refined.levels["fine"].image)]).sum()


def refined(layer: RefineLayer, state: FaceState) -> Refined:
    return layer(two_views(), None, state)


def wanting(state: FaceState, *names: str) -> tuple[FaceState, list[Tensor]]:
    leaves = {name: getattr(state, name).clone().requires_grad_() for name in names}
    return state.replace(**leaves), list(leaves.values())


# Steps this small seldom carry a pixel's centre over an edge of the mesh, where slopes jump.
H = 1e-6


LEAVES = ("identity", "expression", "pose", "deformation", "displacement")


@cache
def gradients() -> dict[str, Tensor]:
    state, leaves = wanting(START, *LEAVES)
    found = torch.autograd.grad(number(refined(RefineLayer(model(), WHOLE), state)), leaves)
    return dict(zip(LEAVES, found, strict=True))


@pytest.mark.parametrize("leaf", LEAVES)
def test_gradients_in_the_state_that_came_in(leaf):
    layer, along = RefineLayer(model(), WHOLE), direction(4)[leaf]
    with torch.no_grad():
        ahead, behind = (
            float(number(refined(layer, START.replace(**{leaf: getattr(START, leaf) + h * along}))))
            for h in (H, -H)
        )
    expected = (ahead - behind) / (2 * H)
    assert abs(expected) > 1e-3
    assert float((gradients()[leaf] * along).sum()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("coarse", [COARSE, None])
def test_gradients_in_every_weight(coarse):
    """Those of the coarse solve one by one in `test_refine_coarse`, here all in one direction."""
    layer = RefineLayer(model(), replace(WHOLE, coarse=coarse))
    number(refined(layer, START)).backward()
    weights = layer.log_weights
    assert all(weight.grad is not None for weight in weights.values())
    along = {f"coarse/{n}": s for n, s in (("landmark", 1.0), ("identity", -1.0), ("pose", 2.0))}
    for shares in [along] if coarse else [{name: 1.0} for name in weights]:
        values = []
        with torch.no_grad():
            for sign in (H, -H):
                for name, share in shares.items():
                    weights[name] += sign * share
                values.append(float(number(refined(layer, START))))
                for name, share in shares.items():
                    weights[name] -= sign * share
        expected = (values[0] - values[1]) / (2 * H)
        assert abs(expected) > 1e-5, shares
        exact = sum(share * float(weights[name].grad) for name, share in shares.items())
        assert exact == pytest.approx(expected, rel=1e-3), shares


def test_truncated_to_as_many_steps_as_there_are_is_full():
    found = []
    for steps in (None, STEPS, STEPS + 5):
        layer = RefineLayer(model(), truncated(steps))
        state, leaves = wanting(START, "deformation", "pose")
        out = number(refined(layer, state))
        found.append(
            torch.autograd.grad(out, [*leaves, *layer.parameters()], materialize_grads=True)
        )
    for full, *others in zip(*found, strict=True):
        assert all(torch.equal(full, other) for other in others)


def test_truncated_to_none_still_refines_and_stops_gradients():
    full, none = (RefineLayer(model(), truncated(steps, COARSE)) for steps in (None, 0))
    state, leaves = wanting(START, "deformation", "pose")
    after, same = refined(none, state).state, refined(full, state).state
    assert torch.allclose(after.deformation, same.deformation, atol=1e-9)
    assert not torch.allclose(after.deformation, state.deformation)
    assert not after.deformation.requires_grad
    by_map, by_pose = torch.autograd.grad(after.pose.sum(), leaves)
    assert by_map.any()  # the coarse solve carries landmarks by the map
    assert by_pose.any()


def test_no_steps_and_no_solve_are_the_identity():
    still = replace(SKIN, method=replace(SKIN.method, steps=0))
    layer = RefineLayer(model(), RefineSettings(None, (still,), SIZE))
    state, leaves = wanting(START, *UNITS)
    out = refined(layer, state)
    assert out.coarse is None
    for name, leaf in zip(UNITS, leaves, strict=True):
        assert getattr(out.state, name) is leaf


def test_without_gradients_the_values_are_the_same():
    layer = RefineLayer(model(), WHOLE)
    with torch.no_grad():
        plain = refined(layer, START)
    full = refined(layer, START)
    for name in UNITS:
        one, other = getattr(plain.state, name), getattr(full.state, name)
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9), name
        assert not one.requires_grad
    assert torch.equal(refined(layer, START).state.deformation, full.state.deformation)


def test_weights_are_positive_named_and_survive_a_state_dict():
    layer, other = (RefineLayer(model(), WHOLE) for _ in range(2))
    assert {n: float(w.detach()) for n, w in layer.weights().items()} == pytest.approx(
        WHOLE.first_weights()
    )
    with torch.no_grad():
        for log in layer.parameters():
            log += 0.7
    assert "log_weights.skin/photometric" in layer.state_dict()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(
        refined(other, START).state.deformation, refined(layer, START).state.deformation
    )
    assert "skin/photometric=2.01" in repr(layer)


def test_plain_images_and_float32():
    """Images with cameras are the views they make; another precision has its own model and windows."""
    layer = RefineLayer(face(), WHOLE)
    views = two_views()
    images = torch.stack([view.image for view in views])
    masks = torch.stack([view.mask for view in views])
    marks = [view.landmarks for view in views]
    with torch.no_grad():
        plain = layer(images, [view.camera for view in views], START, None, marks, masks)
        double = refined(layer, START)
        single = refined(layer, START.to(torch.float32))
    assert torch.equal(plain.state.deformation, double.state.deformation)
    assert single.state.deformation.dtype == torch.float32
    assert single.levels["mid"].image.dtype == torch.float32
    error = (single.state.deformation - double.state.deformation).abs().max()
    assert error < 1e-2 * (double.state.deformation - START.deformation).abs().max()


def test_predicted_landmarks_are_in_the_photographs_pixels():
    """At the truth, those of the landmarks that the rig was given."""
    layer = RefineLayer(model(), RefineSettings(None, (), SIZE))
    found = refined(layer, truth()).landmarks("ibug68", "mid")
    given = torch.stack([view.landmarks.points for view in two_views()])
    assert (found - given).norm(dim=-1).mean() < 0.5  # the map of few texels is 2 mm of 2 px off


def test_training_one_weight_lowers_the_error_of_the_vertices():
    settings = RefineSettings(None, (replace(SKIN, terms={
        "photometric": TermWeight(0.1), "deformation_size": TermWeight(0.1),
    }),), SIZE)  # fmt: skip
    goal = rig(size=96).truth.mid.double()
    start = truth().replace(deformation=torch.zeros_like(truth().deformation))

    def trained() -> list[float]:
        layer, losses = RefineLayer(model(), settings), []
        adam = torch.optim.Adam([layer.log_weights["skin/photometric"]], lr=0.5)
        for _ in range(4):
            adam.zero_grad()
            loss = (refined(layer, start).levels["mid"].vertices_world[0] - goal).square().mean()
            loss.backward()
            adam.step()
            losses.append(float(loss.detach()))
        assert layer.weights()["skin/photometric"] > 0.3
        return losses

    losses = trained()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.97 * losses[0]
    assert losses == trained()


def test_without_theseus_the_error_names_the_other_solver(monkeypatch):
    genuine = builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        if name == "theseus":
            raise ImportError("No module named 'theseus'")
        return genuine(name, *rest)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "theseus", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"theseus-ai==0\.2\.3.*CoarseSolve\(solver='own'\)"):
        refined(RefineLayer(model(), RefineSettings(maps=())), START)


def test_it_is_a_name_of_the_package():
    assert hrnfit.RefineLayer is RefineLayer
