"""The step inside bounds: conditions of its optimum, and the kernel that holds unknowns."""

from __future__ import annotations

import pytest
import torch

from hrnfit.solve.boxed_step import Box, boxed_step, pushes_plain
from tests.geometry.test_nearest_everywhere import interpreted

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def box_of(n: int, bounded: list[int], low: float, high: float) -> Box:
    lowest, highest = torch.full((n,), -torch.inf).double(), torch.full((n,), torch.inf).double()
    lowest[bounded], highest[bounded] = low, high
    return Box(lowest, highest, torch.tensor(bounded, dtype=torch.int64))


def test_by_hand():
    # H = diag(2, 4), g = (-2, -8): the free step is (1, 2); damping 1 halves it
    H, g, x = torch.diag(torch.tensor([2.0, 4.0])), torch.tensor([-2.0, -8.0]), torch.zeros(2)
    free = Box(torch.full((2,), -9.0), torch.full((2,), 9.0), torch.zeros(0, dtype=torch.int64))
    assert boxed_step(H, g, x, torch.tensor(0.0), free).tolist() == pytest.approx([1.0, 2.0])
    assert boxed_step(H, g, x, torch.tensor(1.0), free).tolist() == pytest.approx([0.5, 1.0])


def test_a_held_unknown_moves_the_others():
    # H = ((2, 1), (1, 2)), g = (-3, -3): free (1, 1); with the first at 0.5 the second is 1.25
    H, g = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double(), torch.tensor([-3.0, -3.0]).double()
    step = boxed_step(
        H, g, torch.zeros(2).double(), torch.tensor(0.0).double(), box_of(2, [0], -1, 0.5)
    )
    assert step.tolist() == pytest.approx([0.5, 1.25])


def test_held_unknowns_stand_and_the_rest_is_optimal(generator):
    n, bounded = 12, [0, 2, 3, 5, 8, 9]
    A = torch.randn(20, n, generator=generator).double()
    H, g = A.T @ A, 3.0 * torch.randn(n, generator=generator).double()
    box = box_of(n, bounded, -0.2, 0.3)
    step = boxed_step(H, g, torch.zeros(n).double(), torch.zeros(()).double(), box)
    stands = (step == box.lowest) | (step == box.highest)
    assert 0 < int(stands.sum()) < len(bounded)
    assert float((H @ step + g)[~stands].abs().max()) < 1e-9


def test_not_positive_definite_is_nan():
    H, x = -torch.eye(2), torch.zeros(2)
    box = Box(x - 1, x + 1, torch.zeros(0, dtype=torch.int64))
    assert bool(boxed_step(H, torch.ones(2), x, torch.tensor(0.0), box).isnan().all())


PROBLEMS = """
import torch

def problems(generator, device):
    for b in (1, 5, 20, 53):
        A = torch.randn(b, 2 * b, generator=generator).double()
        G, step = A @ A.T / b, torch.randn(b, generator=generator).double()
        low, high = (s * (0.5 + torch.rand(b, generator=generator).double()) for s in (-1, 1))
        held = torch.rand(b, generator=generator) < 0.1
        yield tuple(t.to(device) for t in (G, step, low, high, held))
"""
INTERPRETED = (
    PROBLEMS
    + """
from hrnfit.solve.boxed_step import pushes_plain
from hrnfit.solve.pushes_triton import pushes_triton

for problem in problems(torch.Generator().manual_seed(0), "cpu"):
    for ours, theirs in zip(pushes_triton(*problem, 12), pushes_plain(*problem), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-10)
"""
)


def test_the_kernel_in_the_interpreter():
    pytest.importorskip("triton")
    interpreted(INTERPRETED)


@needs_gpu
def test_the_kernel_on_a_gpu(generator):
    from hrnfit.solve.pushes_triton import pushes_triton

    scope: dict = {}
    exec(PROBLEMS, scope)
    for problem in scope["problems"](generator, "cuda"):
        for ours, theirs in zip(pushes_triton(*problem, 12), pushes_plain(*problem), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-10)
