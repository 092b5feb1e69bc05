"""Mask edges without the host against those of scipy, in Triton's interpreter or on a device."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.energy.contour import MaskEdges, mask_edges
from hrnfit.energy.mask_edges_cuda import cuda_mask_edges, nearest_marked
from hrnfit.geometry.launched import INTERPRETED
from tests.energy.scene import disc_mask

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")


def test_the_nearest_marked_pixel_by_hand():
    marked = torch.zeros(2, 3, 4, dtype=torch.bool, device=DEVICE)[:, :, :3]
    marked[0, 0, 0] = marked[0, 2, 2] = True
    found = nearest_marked(marked)
    assert found[0].tolist() == [[0, 0, 0], [0, 0, 8], [0, 8, 8]]  # of equals, the first column
    assert (found[1] == -1).all()


@pytest.mark.parametrize("centre", [(0.0, 0.0), (9.0, 3.0)])
def test_edges_are_those_of_the_distance_transform(centre):
    """The second disc runs into the border of the photograph, which is no edge of a face."""
    size = 32
    masks = torch.cat(
        [disc_mask(size, 8.3, centre), disc_mask(size, 5.0), torch.zeros(1, size, size)]
    )
    inside = torch.ones_like(masks, dtype=torch.bool)
    inside[:, :, -3:] = False
    masks = masks * inside
    plain = mask_edges(masks, inside)
    ours = cuda_mask_edges(masks.to(DEVICE), inside.to(DEVICE), 1.0)
    ours = MaskEdges(*(part.cpu() for part in ours))
    row, column = torch.meshgrid(*(torch.arange(size) + 0.5,) * 2, indexing="ij")
    here = torch.stack((column, row), -1)
    away = [(edges.point - here).norm(dim=-1)[:2] for edges in (plain, ours)]
    same = (plain.point - ours.point).norm(dim=-1)[:2] < 1e-4
    assert same.double().mean() > 0.9  # of two equally near pixels either may be taken
    assert (away[0] - away[1]).abs().max() < 1.5
    assert torch.allclose(plain.normal[:2][same], ours.normal[:2][same], atol=1e-4)
    assert torch.equal(plain.valid[:2][same], ours.valid[:2][same])
    assert not ours.valid[2].any()
    assert not ours.point[2].any()
