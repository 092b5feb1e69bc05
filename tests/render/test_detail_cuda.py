"""Detail normals by kernels against the plain formula, in Triton's interpreter or on a device."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.geometry.launched import INTERPRETED
from hrnfit.render.detail import detail_normals
from hrnfit.render.detail_cuda import cuda_view_detail

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

FRAME, ROWS = torch.tensor([[0, 1, 1, 0], [2, 0, 1, 2]], device=DEVICE)


def surfaces(generator: torch.Generator, size: int = 9) -> list[torch.Tensor]:
    """Two rough sheets with their normals, and three displacement maps, float64."""
    v, u = torch.meshgrid(*(torch.arange(size).double(),) * 2, indexing="ij")
    sheet = torch.stack([2.0 * u, 1.5 * v, (0.5 * u).sin() + (0.4 * v).cos()], -1)
    normal = torch.tensor([0.0, 0.0, 1.0]).double()
    made = [
        sheet + 0.1 * torch.randn(2, size, size, 3, generator=generator).double(),
        torch.nn.functional.normalize(
            normal + 0.2 * torch.randn(2, size, size, 3, generator=generator).double(), dim=-1
        ),
        0.3 * torch.randn(3, size, size, generator=generator).double(),
    ]
    return [x.to(DEVICE).requires_grad_() for x in made]


@pytest.mark.parametrize("free", [(0, 1, 2), (2,), (0,)])
def test_normals_and_gradients_with_holes_in_the_chart(free, generator):
    given = surfaces(generator)
    mask = torch.rand(9, 9, generator=generator).to(DEVICE) > 0.15
    plain = detail_normals(given[0][FRAME], given[1][FRAME], given[2][ROWS], mask)
    own = [x if k in free else x.detach() for k, x in enumerate(given)]
    ours = cuda_view_detail(*own, mask, FRAME, ROWS)
    assert torch.allclose(ours, plain, atol=1e-9)
    weight = torch.randn(plain.shape, generator=generator).to(plain)
    wanted = torch.autograd.grad((plain * weight).sum(), [given[k] for k in free])
    found = torch.autograd.grad((ours * weight).sum(), [given[k] for k in free])
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-8)
