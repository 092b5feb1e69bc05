"""Painting in one kernel against the plain formula, in Triton's interpreter or on a device."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.geometry.launched import INTERPRETED
from hrnfit.render.paint_cuda import painted, plain_paint, separated

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")


def given(generator: torch.Generator):
    albedo = torch.rand(3, 5, 5, 3, generator=generator)
    normals = torch.nn.functional.normalize(torch.randn(3, 5, 5, 3, generator=generator), dim=-1)
    light = torch.randn(2, 9, 3, generator=generator)
    triangle = torch.randint(-1, 3, (3, 5, 5), generator=generator, dtype=torch.int32)
    rows = torch.tensor([1, 0, 1], device=DEVICE)
    albedo, normals, light = (x.to(DEVICE).requires_grad_() for x in (albedo, normals, light))
    return albedo, normals, light, rows, triangle.to(DEVICE)


def test_colour_and_gradients_are_those_of_the_formula(generator):
    arguments = given(generator)
    weight = torch.randn(3, 5, 5, 4, generator=generator).to(DEVICE)
    ours, plain = painted(*arguments), plain_paint(*arguments)
    assert torch.allclose(ours, plain, atol=1e-6)
    grads = [torch.autograd.grad((x * weight).sum(), arguments[:3]) for x in (ours, plain)]
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_what_needs_no_gradient_gets_none(generator):
    albedo, normals, light, rows, triangle = given(generator)
    out = painted(albedo.detach(), normals, light.detach(), rows, triangle)
    (grad,) = torch.autograd.grad(out.sum(), normals)
    wanted = torch.autograd.grad(
        plain_paint(albedo, normals, light, rows, triangle).sum(), normals
    )[0]
    assert torch.allclose(grad, wanted, atol=1e-5)


@pytest.mark.parametrize("parts", [("image",), ("coverage",), ("image", "coverage")])
def test_parts_join_their_gradients_again(parts, generator):
    both = torch.rand(2, 3, 3, 4, generator=generator).to(DEVICE).requires_grad_()
    image, coverage = separated(both)
    assert torch.equal(image, both[..., :3])
    assert torch.equal(coverage, both[..., 3])
    weight = torch.rand(2, 3, 3, 4, generator=generator).to(DEVICE)
    terms = {
        "image": (image * weight[..., :3]).sum(),
        "coverage": (coverage * weight[..., 3]).sum(),
    }
    (grad,) = torch.autograd.grad(sum(terms[p] for p in parts), both)
    kept = weight.new_tensor([1.0 if "image" in parts else 0.0] * 3 + [float("coverage" in parts)])
    assert torch.equal(grad, weight * kept)
