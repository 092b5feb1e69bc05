"""Fused energies against the terms' own residuals: value and gradient, in Triton's interpreter or on a device."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.energy.fused import ROLES, energies
from hrnfit.energy.fused_light import light_group
from hrnfit.energy.fused_total import Group, Weighted, fused_total
from hrnfit.energy.kernel import KERNELS
from hrnfit.energy.term import reduce
from hrnfit.fit.terms import TERMS, make_term
from hrnfit.geometry.kept import held_constants
from hrnfit.geometry.launched import INTERPRETED
from hrnfit.solve import recorded
from hrnfit.solve.recorded import forget_recordings, replayed
from tests.fit.small_scene import truth_on

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

LEAVES = ("deformation", "displacement", "albedo_map", "light", "pose", "camera", "log_focal")
KINDS = ("square", "abs", "huber", "cauchy", "geman_mcclure")
OWN = {"landmark": "cauchy", "contour": "huber", "rigidity": "square", "fold": "square"}
CASES = [
    (name, OWN.get(name, "abs"))
    for name, kind in TERMS.items()
    if kind in ROLES
    and name != "silhouette"  # this sheet has no closed outline: a sphere is tested
]
CASES += [("deformation_size", kernel) for kernel in KINDS if kernel != "abs"]


def prediction(seed: int = 0):
    """A state off the truth on small maps, with every leaf a leaf of autograd."""
    scene, state = truth_on(DEVICE)
    generator = torch.Generator().manual_seed(seed)

    def rough(size: tuple[int, ...], scale: float) -> torch.Tensor:
        return (scale * torch.randn(size, generator=generator)).to(DEVICE).requires_grad_()

    moved = state.replace(
        deformation=rough((12, 12, 3), 3.0),
        displacement=rough((1, 16, 16), 0.3),
        albedo_map=rough((16, 16, 3), 0.02),
        light=(0.8 * state.light).requires_grad_(),
        pose=state.pose.clone().requires_grad_(),
        camera=state.camera.clone().requires_grad_(),
        log_focal=state.log_focal.clone().requires_grad_(),
    )
    return scene.predict(moved, 64, "fine"), scene.windows(64)


def fused_energy(term, seen, views, kernel: str, factor: float = 1.0):
    """The term alone, weighted in the total."""
    return energies([(term, Weighted(term.name, kernel, factor))], seen, views)


@pytest.mark.parametrize(("name", "kernel"), CASES)
def test_energy_and_gradient_are_those_of_the_residuals(name, kernel):
    term = make_term(name, "ibug68", {})
    found = []
    for fused in (False, True):
        seen, views = prediction()
        if fused:
            total, values = fused_energy(term, seen, views, kernel, 3.0)
            value = values[name]
            assert torch.allclose(total, 3.0 * value)
            total = 0.5 * total
        else:
            value = reduce(term.residuals(seen, views), kernel)
            total = 1.5 * value
        leaves = [getattr(seen.state, leaf) for leaf in LEAVES]
        by_leaves = torch.autograd.grad(total, leaves, materialize_grads=True)
        found.append((value.detach(), by_leaves))
    (plain, by_plain), (fused, by_fused) = found
    assert float(plain) > 0
    assert torch.allclose(fused, plain, rtol=2e-5)
    for a, b in zip(by_fused, by_plain, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=2e-5 * float(b.abs().max()) + 1e-12)


def test_every_robust_kernel_has_a_number():
    from hrnfit.energy.robust_kernels import KINDS

    assert set(KINDS) == set(KERNELS)


def test_a_rest_shape_that_moves_is_declined():
    seen, views = prediction()
    moving = seen.state.replace(identity=seen.state.identity.clone().requires_grad_())
    for name in ("rigidity", "fold"):
        term = make_term(name, "ibug68", {})
        assert fused_energy(term, replace(seen, state=moving), views, "square") is None


def test_nothing_valid_is_an_energy_of_zero():
    seen, views = prediction()
    blank = replace(views, landmark_confidence=torch.zeros_like(views.landmark_confidence))
    term = make_term("landmark", "ibug68", {})
    value, _ = fused_energy(term, seen, blank, "square")
    (grad,) = torch.autograd.grad(value, seen.state.deformation)
    assert float(value.detach()) == 0.0
    assert not grad.any()


def test_terms_together_are_the_sum_of_each_alone():
    """Two of one class too, whose settings differ: they are two groups."""
    names = ("deformation_tv", "deformation_bending", "deformation_size", "rigidity", "fold")
    names += ("light_colour", "light_softness")
    terms = [make_term(name, "ibug68", {}) for name in (*names, "displacement_size")]
    terms.append(make_term("deformation_size", "ibug68", {"scale": 2.0, "name": "small"}))
    weighted = [Weighted(t.name, "abs", 0.5 + k) for k, t in enumerate(terms)]
    leaves, seen, views = ("deformation", "displacement", "light"), *prediction()
    total, values = energies(list(zip(terms, weighted, strict=True)), seen, views)
    found = torch.autograd.grad(total, [getattr(seen.state, leaf) for leaf in leaves])
    assert set(values) == {t.name for t in terms}
    seen, views = prediction()
    plain = {t.name: reduce(t.residuals(seen, views), "abs") for t in terms}
    apart = sum(w.factor * plain[w.name] for w in weighted)
    wanted = torch.autograd.grad(apart, [getattr(seen.state, leaf) for leaf in leaves])
    for name, value in plain.items():
        assert torch.allclose(values[name], value.detach(), rtol=2e-5)
    assert torch.allclose(total, apart, rtol=2e-5)
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=2e-5 * float(b.abs().max()))


def annealed(light: torch.Tensor, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """An energy of a light of 2 with a weight, and its gradient."""
    read = light.detach().requires_grad_()
    total, _ = fused_total([light_group(read, (Weighted("colour", "square", factor), 1.0), None)])
    return total.detach(), torch.autograd.grad(total, read)[0]


def test_annealed_weights_are_not_kept_for_good():
    light = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    one, by_one = annealed(light, 1.0)
    with held_constants() as held:
        for step in range(100):
            total, by_light = annealed(light, 1.0 + step)
            assert torch.allclose(total, (1.0 + step) * one)
            assert torch.allclose(by_light, (1.0 + step) * by_one)
    assert len({id(x) for x in held}) == 100
    left = [weakref.ref(x) for x in held]
    held.clear()
    assert 0 < sum(x() is not None for x in left) < 70


def test_only_what_is_asked_for_is_differentiated():
    """Of two groups, each asked for alone; the shares of the second stand behind those of the first."""
    lights = torch.randn(2, 2, 9, 3, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    wanted = [annealed(light, factor)[1] for light, factor in zip(lights, (2.0, 5.0), strict=True)]
    for asked in (0, 1):
        spread: list[int] = []
        reads = [x.detach().requires_grad_(k == asked) for k, x in enumerate(lights)]
        groups = [
            light_group(read, (Weighted(f"{k}", "square", factor), 1.0), None)
            for k, (read, factor) in enumerate(zip(reads, (2.0, 5.0), strict=True))
        ]
        groups = [counted(group, k, spread) for k, group in enumerate(groups)]
        total, _ = fused_total(groups)
        (found,) = torch.autograd.grad(total, reads[asked])
        assert spread == [asked]
        assert torch.allclose(found, wanted[asked])


def counted(group: Group, number: int, spread: list[int]) -> Group:
    """The group, which notes its number when its gradient is spread."""

    def noted(*given: torch.Tensor) -> None:
        spread.append(number)
        group.spread(*given)

    return replace(group, spread=noted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_recording_holds_the_weights_that_it_reads():
    light = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    before = [x.clone() for x in replayed("annealed", lambda x: annealed(x, 3.0), (light,))]
    # on the recording's stream, whose memory alone is given to these when it is given back
    with torch.cuda.stream(recorded._kept.store.side(light.device)):
        for step in range(200):
            annealed(light, 100.0 + step)
    for a, b in zip(
        replayed("annealed", lambda x: annealed(x, 3.0), (light,)), before, strict=True
    ):
        assert torch.allclose(a, b)
    forget_recordings()
