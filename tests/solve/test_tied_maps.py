"""Several maps in one step: against one factorisation of all of them, and what the tie does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from hrnfit.solve.grid import ArrowEquations, MapGrid, solve_arrow
from hrnfit.solve.tied_maps import solve_tied, tied_hessian

NODES, MAPS = 6, 3


def tie(weight: float) -> sparse.csr_array:
    """Squared distance of the maps from their mean, at every node."""
    apart = weight * (np.eye(MAPS) - 1.0 / MAPS)
    return sparse.csr_array(sparse.kron(sparse.eye_array(NODES**2), apart))


def equations(generator: torch.Generator, q: int = 0, weight: float = 0.1) -> ArrowEquations:
    """What texels say about the differences of three maps, a tie, and a whisper on each."""
    columns = torch.randn(12, 12, 4, MAPS, generator=generator, dtype=torch.float64)
    blocks = columns.mT @ (columns - columns.mean(-2, keepdim=True))
    hessian = MapGrid(NODES, MAPS).hessian(blocks.flatten(2)) + tie(weight)
    n = NODES**2 * MAPS
    random = np.random.default_rng(0)
    return ArrowEquations(
        sparse.csr_array(hessian + 1e-2 * sparse.eye_array(n)),
        random.normal(size=n),
        0.05 * random.normal(size=(n, q)),
        2.0 * np.eye(q),
        random.normal(size=q),
    )


def test_one_pair_at_a_time_makes_the_same_hessian(generator):
    blocks = torch.randn(12, 12, MAPS**2, generator=generator, dtype=torch.float64)
    together = MapGrid(NODES, MAPS).hessian(blocks).toarray()
    assert np.allclose(tied_hessian(NODES, blocks).toarray(), together)


@pytest.mark.parametrize("q", [0, 2])
def test_agrees_with_one_factorisation_of_all_maps(q, generator):
    system = equations(generator, q)
    found = solve_tied(system, MAPS, tolerance=1e-10)
    for got, wanted in zip(found, solve_arrow(system), strict=True):
        assert np.allclose(got, wanted, atol=1e-7)


def test_damping_is_that_of_the_common_map(generator):
    """Under a stiff tie all maps take the damped step of their sum, whatever the tie weighs."""
    system = equations(generator, weight=1e5)
    every = np.kron(np.eye(NODES**2), np.ones((MAPS, 1)))
    body = sparse.csr_array(every.T @ system.hessian.toarray() @ every)
    empty = (np.zeros((NODES**2, 0)), np.zeros((0, 0)), np.zeros(0))
    one, _ = solve_arrow(ArrowEquations(body, every.T @ system.gradient, *empty), 0.3)
    change, _ = solve_tied(system, MAPS, 0.3, tolerance=1e-10)
    assert np.allclose(change.reshape(-1, MAPS), one[:, None], atol=1e-3 * np.abs(one).max())


@pytest.mark.parametrize("weight", [1e-3, 1.0, 1e3, 1e6])
def test_a_stiff_tie_costs_no_more_iterations(weight, generator):
    system = equations(generator, weight=weight)
    change, _ = solve_tied(system, MAPS, tolerance=0.0, most=40)
    wanted, _ = solve_arrow(system)
    assert np.linalg.norm(change - wanted) < 1e-3 * np.linalg.norm(wanted)


def test_a_step_that_ends_early_leads_downhill(generator):
    system = equations(generator, weight=1e-3)
    for most in (1, 2, 5):
        change, _ = solve_tied(system, MAPS, most=most)
        assert system.gradient @ change < 0
        assert system.gradient @ change + 0.5 * change @ (system.hessian @ change) < 0


def test_the_order_of_maps_does_not_matter(generator):
    system = equations(generator)
    order = (np.arange(NODES**2)[:, None] * MAPS + np.array([2, 0, 1])).ravel()
    moved = replace(
        system,
        hessian=system.hessian[order][:, order],
        gradient=system.gradient[order],
        coupling=system.coupling[order],
    )
    change, _ = solve_tied(system, MAPS, tolerance=1e-10)
    assert np.allclose(solve_tied(moved, MAPS, tolerance=1e-10)[0], change[order], atol=1e-7)


def test_at_the_optimum_nothing_moves(generator):
    system = replace(equations(generator), gradient=np.zeros(NODES**2 * MAPS))
    assert np.array_equal(solve_tied(system, MAPS)[0], np.zeros(NODES**2 * MAPS))
