"""A stage's energy as a recordable function: the same values from named tensors alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.energy.contour import edges_of_views
from hrnfit.energy.term import Weight
from hrnfit.fit.first_order_stage import FirstOrderSettings, TermWeight, solve_first_order
from hrnfit.fit.recorded_stage import StageTerms, named_energy
from hrnfit.fit.terms import TERMS, make_term
from hrnfit.solve.first_order import Adam
from hrnfit.solve.loop import Loop
from tests.fit.small_scene import truth_on, truth_scene

NAMES = tuple(name for name in TERMS if name != "perceptual")
KERNELS_OF = ("photometric", "landmark", "contour", "silhouette", "rigidity", "displacement_tv")
"""Terms that read all that a prediction computes by kernels; each term's own kernel is tested with it."""
FREE = {
    "detail": ("displacement",),
    "maps": ("deformation", "displacement", "light", "albedo_map"),
    "cameras": ("pose", "camera", "log_focal", "identity"),
}


def stage_terms(names=NAMES) -> StageTerms:
    terms = tuple(make_term(name, "ibug68", {}) for name in names)
    kernels = dict.fromkeys(names, "abs")
    return StageTerms(terms, dict.fromkeys(names, Weight(1.0)), kernels)


@pytest.mark.parametrize("free", FREE.values(), ids=FREE)
def test_energy_and_gradient_are_those_of_the_prediction_to_the_bit(free):
    scene, state = truth_scene()
    state = state.replace(displacement=0.1 * torch.rand_like(state.displacement))
    terms = stage_terms()
    named = named_energy(scene, state, free, terms, 64, "fine")
    base = scene.predict(state, 64, "fine")
    found = []
    for energy in (named, lambda x: terms(replace(base, state=state.replace(**x)), base.views)):
        leaves = {n: getattr(state, n).clone().requires_grad_() for n in free}
        total, parts = energy(leaves)
        found.append((total, *parts.values(), *torch.autograd.grad(total, list(leaves.values()))))
    assert named.terms == NAMES
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_terms_of_equal_settings_have_one_key_and_a_network_is_not_recorded():
    first, second = (stage_terms(("contour", "landmark")) for _ in range(2))
    assert first.key == second.key
    near = replace(first.terms[0], reach=3.0)
    assert replace(first, terms=(near, first.terms[1])).key != first.key
    perceptual = make_term("perceptual", "ibug68", {}, lambda images: images[:, 0, 0])
    assert first.recordable
    assert not replace(first, terms=(*first.terms, perceptual)).recordable


def test_the_function_holds_nothing_of_one_fit():
    """Another scene's tensors under the same key give that scene's energy."""
    scene, state = truth_scene()
    darker = replace(scene.windows(64), images=0.5 * scene.windows(64).images)
    other = replace(scene, _windows={darker.size: darker})
    terms = stage_terms(("photometric", "contour"))
    first, second = (named_energy(s, state, ("light",), terms, 64, "mid") for s in (scene, other))
    assert first.key == second.key
    leaves = {"light": state.light}
    crossed = first.function(leaves, second.inputs)[0]
    assert torch.equal(crossed, second(leaves)[0])
    assert not torch.equal(crossed, first(leaves)[0])


def test_adam_takes_the_named_energy_as_any_other():
    scene, state = truth_scene()
    terms = {"landmark": TermWeight(1.0), "deformation_size": TermWeight(1.0)}
    settings = FirstOrderSettings(terms=terms, size=64, steps=5)
    plain, _ = solve_first_order(scene, state, ("deformation",), settings, "mid", "adam")
    made = replace(stage_terms(tuple(terms)), kernels=dict.fromkeys(terms, "square"))
    named = named_energy(scene, state, ("deformation",), made, 64, "mid")
    adam = Adam({"deformation": 0.1}, loop=Loop(5, tolerance=1e-3))
    solved = adam.minimize(named, {"deformation": state.deformation})
    assert torch.equal(solved.leaves["deformation"], plain.deformation)


def test_kernels_of_a_device_give_the_energy_and_gradient_of_plain_torch(monkeypatch):
    """Everything between the renderer and the total, with the kernels in their interpreter or on a device."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from hrnfit.geometry import device_kernels, launched

    device = torch.device("cpu" if launched.INTERPRETED else "cuda")
    scene, state = truth_on(device)
    generator = torch.Generator().manual_seed(3)
    rough = torch.randn(12, 12, 3, generator=generator)
    ripple = 0.2 * torch.randn(1, 16, 16, generator=generator)
    offset = 0.05 * torch.randn(16, 16, 3, generator=generator)
    state = state.replace(
        deformation=rough.to(device), displacement=ripple.to(device), albedo_map=offset.to(device)
    )
    free, terms, found = FREE["maps"], stage_terms(KERNELS_OF), []
    edges_of_views(scene.windows(16))  # by scipy: their kernel has its own test
    for devices in ({"cuda"} - {device.type}, {"cuda", device.type}):
        monkeypatch.setattr(device_kernels, "DEVICES", frozenset(devices))
        named = named_energy(scene, state, free, terms, 16, "fine")
        leaves = {n: getattr(state, n).clone().requires_grad_() for n in free}
        total, parts = named(leaves)
        found.append((parts, torch.autograd.grad(total, list(leaves.values()))))
    (plain, by_plain), (ours, by_ours) = found
    for name, value in plain.items():
        assert torch.allclose(ours[name], value, rtol=2e-3, atol=1e-7), name
    for a, b in zip(by_ours, by_plain, strict=True):
        assert (a - b).norm() < 5e-3 * b.norm()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_recorded_stage_on_cuda_ends_where_the_cpu_does():
    scene, state = truth_scene()
    device = torch.device("cuda")
    there, _ = truth_on(device)
    start = state.replace(deformation=torch.zeros_like(state.deformation))
    names = ("photometric", "landmark", "contour", "silhouette", "deformation_bending", "rigidity")
    terms = {name: TermWeight(1.0, "abs") for name in names}
    settings = FirstOrderSettings(terms=terms, size=96, steps=25)
    free = ("deformation", "displacement", "light")
    cpu, told = solve_first_order(scene, start, free, settings, "fine", "adam")
    for _ in range(2):  # recorded, then replayed
        gpu, solution = solve_first_order(there, start.to(device), free, settings, "fine", "adam")
        assert solution.energies == pytest.approx(told.energies, rel=2e-2)
        moved = (scene.world(cpu) - scene.world(gpu.to("cpu"))).norm(dim=-1)
        assert float(moved.median()) < 0.01  # mm
