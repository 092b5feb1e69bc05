"""Painting from maps in one kernel against the plain formula on the CPU: in the interpreter, or on a device."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.geometry.launched import INTERPRETED
from hrnfit.render.paint_maps_cuda import _PaintMaps, _plain

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

SIZE = 47  # more pixels than a program takes in one of its steps


def given(generator: torch.Generator, dtype: torch.dtype = torch.float64):
    """Two views of three triangles with background between, places beyond the charts' border among them."""

    def rand(*size: int) -> torch.Tensor:
        return torch.rand(size, generator=generator, dtype=dtype)

    triangle = torch.randint(-1, 3, (2, SIZE, SIZE), generator=generator, dtype=torch.int32)
    weights = rand(2, SIZE, SIZE, 3)
    weights = torch.where(triangle[..., None] >= 0, weights / weights.sum(-1, keepdim=True), 0.0)
    detail = torch.randn(2, 4, 7, 3, generator=generator, dtype=dtype)
    detail[0, :2, :2] = 0.0  # no normal there
    leaves = (weights, rand(6, 5, 3), detail, rand(3, 9, 3))
    uv = 1.3 * rand(5, 2) - 0.15
    faces = torch.tensor([[0, 1, 2], [1, 3, 2], [2, 3, 4]], dtype=torch.int32)
    return [x.requires_grad_() for x in leaves], (torch.tensor([2, 0]), triangle, uv, faces)


def there(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Copies on the device, which ask for gradients as these do."""
    return [x.detach().to(DEVICE).requires_grad_(x.requires_grad) for x in tensors]


def test_colour_normals_and_gradients_are_those_of_the_formula(generator):
    leaves, rest = given(generator)
    own = there(leaves)
    ours, normals = _PaintMaps.apply(*own, *there(rest))
    plain = _plain(*leaves, *rest)
    assert torch.allclose(ours.cpu(), plain, atol=1e-12)
    length = normals.cpu().norm(dim=-1)
    seen = rest[1] >= 0
    assert not length[~seen].any()
    assert torch.allclose(length[seen & (length > 0)], torch.ones((), dtype=length.dtype))
    assert not normals.requires_grad
    weight = torch.randn(plain.shape, generator=generator, dtype=plain.dtype)
    weight[:, :10] = 0.0
    mine = torch.autograd.grad((ours * weight.to(DEVICE)).sum(), own)
    theirs = torch.autograd.grad((plain * weight).sum(), leaves)
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a.cpu(), b, atol=1e-10)


def test_what_needs_no_gradient_gets_none(generator):
    leaves, rest = given(generator)
    weight = torch.randn(2, SIZE, SIZE, 4, generator=generator, dtype=torch.float64)
    wanted = torch.autograd.grad((_plain(*leaves, *rest) * weight).sum(), leaves)
    for k in range(len(leaves)):
        held = [x.requires_grad_(i == k) for i, x in enumerate(there(leaves))]
        out, _ = _PaintMaps.apply(*held, *there(rest))
        (grad,) = torch.autograd.grad((out * weight.to(DEVICE)).sum(), held[k])
        assert torch.allclose(grad.cpu(), wanted[k], atol=1e-10)
