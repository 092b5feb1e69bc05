"""The map as a vector, what its rows mean, and what photographs cannot say about them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.energy.shared_albedo import TexelViews, column_blocks, consensus
from hrnfit.fit.free_map import FreeMap, heights
from hrnfit.fit.map_stage import MapSettings
from hrnfit.fit.shared_skin import SharedSkin
from hrnfit.solve.grid import MapGrid
from hrnfit.state import Sharing
from tests.fit.small_scene import face, truth_scene

DOUBLE = torch.float64
NODES = 8
ZERO = torch.zeros(3, dtype=torch.int64)
EACH = torch.arange(3)


def rows(count: int) -> FreeMap:
    return FreeMap("displacement", MapGrid(NODES, count))


@pytest.mark.parametrize(
    ("name", "shape"), [("deformation", (8, 8, 3)), ("displacement", (1, 8, 8)), ("displacement", (4, 8, 8))]
)  # fmt: skip
def test_a_leaf_is_its_vector_and_back(name, shape, generator):
    leaf = torch.randn(shape, generator=generator)
    free = FreeMap(name, MapGrid(8, shape[-1] if name == "deformation" else shape[0]))
    assert torch.equal(free.leaf(free.vector(leaf), leaf), leaf)


def test_rows_stand_side_by_side_at_every_node():
    leaf = torch.stack([torch.arange(64.0), 100 + torch.arange(64.0)]).view(2, 8, 8)
    assert rows(2).vector(leaf)[:4].tolist() == [0.0, 100.0, 1.0, 101.0]


def test_every_view_reads_its_own_row():
    scene, state = truth_scene()
    values = torch.tensor([1.0, 2.0])[:, None, None].expand(2, NODES, NODES)
    sharing = Sharing(ZERO, ZERO, torch.tensor([0, 1, 0]))
    read = heights(state.replace(displacement=values), sharing, scene.texels(32))
    assert torch.equal(read[:, 0], torch.tensor([1.0, 2.0, 1.0]))
    assert torch.equal(read, read[:, :1].expand_as(read))


def test_a_view_moves_with_its_own_row_only():
    scene, state = truth_scene()
    look = SharedSkin(scene, MapSettings(size=96, texels=32, offset=0.0)).look(state)
    one = rows(1).columns(look, Sharing(ZERO, ZERO, ZERO))
    own = rows(3).columns(look, Sharing(ZERO, ZERO, EACH))
    assert torch.equal(own.sum(-1), one[..., 0])
    for v in range(3):
        assert torch.equal(own[v, ..., v], one[v, ..., 0])
        assert not own[v].index_select(-1, EACH[v != EACH]).any()


WEIGHTS = {"membrane": 1e-3, "bending": 1e-2, "size": 1e-4, "spread": 0.1}


def test_equal_rows_cost_what_one_map_costs(generator):
    one = torch.randn(1, NODES, NODES, generator=generator, dtype=DOUBLE)
    costs = []
    for count in (1, 2, 5):
        x = rows(count).vector(one.expand(count, -1, -1))
        costs.append(x @ (rows(count).regulariser(face(), **WEIGHTS) @ x))
    assert costs[1:] == pytest.approx(costs[:1] * 2)


def test_distance_from_the_mean_costs_spread_per_square_mm():
    """Flat maps of 1 and 3 mm lie 1 mm from their mean of 2."""
    leaf = torch.tensor([1.0, 3.0])[:, None, None].expand(2, NODES, NODES)
    x = rows(2).vector(leaf)
    form = rows(2).regulariser(face(), membrane=1e-3, bending=1e-2, size=0.0, spread=0.1)
    assert x @ (form @ x) == pytest.approx(0.1)


def test_an_unseen_row_takes_the_mean_of_the_others():
    free = rows(3)
    form = free.regulariser(face(), membrane=0.0, bending=0.0, size=1e-6, spread=0.1).toarray()
    unseen = np.arange(NODES**2 * 3) % 3 == 2
    seen = np.where(np.arange(NODES**2 * 3) % 3 == 0, 1.0, 2.0)[~unseen]
    held = -np.linalg.solve(form[np.ix_(unseen, unseen)], form[np.ix_(unseen, ~unseen)] @ seen)
    assert np.allclose(held, 1.5, rtol=1e-4)


def of_one_hue(sharing: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blocks (P, R, R) of texels whose three channels change together, as skin's do."""
    slope = torch.randn(len(sharing), 20, generator=generator, dtype=DOUBLE)
    hue = torch.tensor([1.0, 0.8, 0.7], dtype=DOUBLE)
    own = torch.nn.functional.one_hot(sharing).to(DOUBLE)
    columns = slope[..., None, None] * hue[:, None] * own[:, None, None]
    colour = 0.1 * torch.randn(len(sharing), 20, 3, generator=generator, dtype=DOUBLE)
    seen = TexelViews(colour, torch.zeros(*colour.shape, 3), torch.ones_like(slope))
    blocks, _, _ = column_blocks(columns, consensus(seen, torch.zeros_like(colour), 1.0))
    if len(sharing) == own.shape[-1]:  # all readings slide along the skin together
        slide = 1.0 / slope.T
        assert torch.einsum("prs,ps->pr", blocks, slide).abs().max() < 1e-12
    return blocks / blocks.diagonal(dim1=1, dim2=2).mean(-1)[:, None, None]


def test_a_row_per_view_leaves_one_combination_unseen(generator):
    of_rows = {(0, 1, 2, 3): 3, (0, 0, 1, 2): 3, (0, 0, 1, 1): 2, (0, 0, 0, 1): 2, (0, 0, 0, 0): 1}
    for sharing, rank in of_rows.items():
        values = torch.linalg.eigvalsh(of_one_hue(torch.tensor(sharing), generator))
        assert int((values > 1e-9).sum(-1).min()) == rank
        assert int((values > 1e-9).sum(-1).max()) == rank


def test_rows_that_no_view_reads_are_named():
    _, state = truth_scene()
    three = state.replace(displacement=torch.zeros(3, NODES, NODES))
    with pytest.raises(ValueError, match=r"3 maps, but the views read rows \[0\]; give one map to"):
        FreeMap.of(three, ("displacement",), Sharing(ZERO, ZERO, ZERO))
    assert FreeMap.of(three, ("displacement",), Sharing(ZERO, ZERO, EACH)).rows == 3
    assert FreeMap.of(three, ("deformation",), Sharing(ZERO, ZERO, ZERO)).rows == 1


def test_rows_without_a_tie_are_refused():
    with pytest.raises(ValueError, match="spread: expected a positive weight, got 0"):
        rows(2).regulariser(face(), **{**WEIGHTS, "spread": 0})
    rows(1).regulariser(face(), **{**WEIGHTS, "spread": 0})
