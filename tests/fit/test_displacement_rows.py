"""A displacement map per view: derivatives, limits, invariance, and what different wrinkles gain."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrnfit.fit.fuse import fuse
from hrnfit.fit.map_stage import MapSettings, _Problem, solve_map
from hrnfit.fit.scene import Scene
from hrnfit.solve.solver import Solution
from hrnfit.state import FaceState
from tests.fit.small_scene import SMILES, truth_scene, wrinkled_scene
from tests.fit.test_map_stage import SETTINGS, held_energy, own_frames

NODES = 32
SOLVE = MapSettings(
    size=256, texels=128, offset=0.0, membrane=1e-3, bending=3e-3, size_prior=1e-3,
    kernel_scale=1.0, spread=1e-2, steps=6,
)  # fmt: skip


def shared(scene: Scene, rows: tuple[int, ...]) -> Scene:
    """The scene whose views read these displacement rows."""
    sharing = replace(scene.sharing, displacement=torch.tensor(rows))
    return replace(scene, sharing=sharing)


def flat(state: FaceState, count: int, nodes: int = NODES) -> FaceState:
    return state.replace(displacement=torch.zeros(count, nodes, nodes).to(state.displacement))


def problem(**changes: Any) -> _Problem:
    """Float64: three views, frames and displacement rows, expressions and heights of their own."""
    scene, state = truth_scene(torch.float64)
    state, sharing = own_frames(state)
    expression = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, -2.0], [0.0, 4.0, 0.0]])
    state = state.replace(
        expression=expression.double(),
        displacement=0.3 * torch.arange(48.0).sin().view(3, 4, 4).double(),
    )
    scene = replace(scene, sharing=replace(sharing, displacement=torch.arange(3)))
    settings = replace(SETTINGS, **{"texels": 16, "blur": 2.0, **changes})
    free = ("displacement", "pose", "log_focal")
    return _Problem(replace(scene), state, free, settings, None)


def test_gradient_is_that_of_the_energy_in_every_row():
    p = problem(texels=64)
    look, here = p._look(p.leaves), p.leaves["displacement"]
    equations, _ = p._equations(p.leaves, look)
    vector = equations.gradient - p._regulariser @ p._map.vector(here)
    slope = p._map.leaf(vector, here)
    weight = look.agreed.weight / look.agreed.seen
    ours, theirs = [], []
    for row in range(3):
        for node in (5, 6, 9, 10):
            step = torch.zeros_like(here)
            step[row].view(-1)[node] = 0.01
            moved = [{**p.leaves, "displacement": here + h} for h in (step, -step)]
            up, down = (held_energy(p, weight, leaves) for leaves in moved)
            ours.append(float(slope[row].flatten()[node]))
            theirs.append(float(up - down) / 0.02)
    assert np.linalg.norm(np.subtract(ours, theirs)) < 0.08 * np.linalg.norm(theirs)


def test_equations_agree_with_a_dense_reference():
    """A^T Pi A over all views, texels and channels, a view's columns zero in the rows of others."""
    p = problem()
    look = p._look(p.leaves)
    equations, _ = p._equations(p.leaves, look)
    views, texels = look.agreed.weight.shape
    unit = torch.eye(16, dtype=torch.float64).view(1, 16, 4, 4)
    grid = (2 * p._texels.centres().double() - 1)[None, None]
    S = torch.nn.functional.grid_sample(unit, grid, align_corners=False, padding_mode="border")
    turned = look.seen.jacobian @ look.R_cam_head[:, None]
    along = torch.einsum("vpci,vpi->vpc", turned, look.normals_head)
    border = p._border.columns(p.leaves, look)
    A = torch.zeros(views, texels, 3, 16 * views + 7 * views, dtype=torch.float64)
    for v in range(views):
        A[v, ..., v : 16 * views : views] = torch.einsum("pc,np->pcn", along[v], S[0, :, 0])
        A[v, ..., 16 * views + 6 * v : 16 * views + 6 * v + 6] = border["pose"][v]
        A[v, ..., 22 * views + v] = border["log_focal"][v, ..., 0]
    w = (look.agreed.weight / look.agreed.seen)[..., None, None]
    centred = A - (w * A).sum(0) / w.sum(0).clamp_min(1e-12)
    dense = torch.einsum("vpcn,vpcm->nm", w * centred, centred).numpy()
    n = 16 * views
    assert np.allclose(equations.hessian.toarray() - p._regulariser.toarray(), dense[:n, :n])
    assert np.allclose(equations.coupling, dense[:n, n:])
    assert np.allclose(equations.corner - np.diag(p._border.prior), dense[n:, n:])
    pull = torch.einsum("vpcn,vpc->n", w * A, look.agreed.residual).numpy()
    smooth = p._regulariser @ p._map.vector(p.leaves["displacement"])
    assert np.allclose(equations.gradient - smooth, pull[:n])
    assert np.allclose(equations.corner_gradient, pull[n:])


@cache
def solved(rows: tuple[int, ...], spread: float = SOLVE.spread) -> tuple[FaceState, Solution]:
    scene, state, _ = wrinkled_scene()
    scene, start = shared(scene, rows), flat(state, max(rows) + 1)
    return solve_map(scene, start, ("displacement",), replace(SOLVE, spread=spread))


SUBJECT, VIEW = (0,) * 5, tuple(range(5))


def test_a_stiff_tie_gives_what_one_shared_map_gives():
    one, _ = solved(SUBJECT)
    stiff, _ = solved(VIEW, 1e4)
    apart = stiff.displacement - stiff.displacement.mean(0)
    assert apart.abs().max() < 1e-3
    assert torch.allclose(stiff.displacement.mean(0), one.displacement[0], atol=0.02)
    assert one.displacement.std() > 0.1


def test_equal_maps_have_the_energy_of_the_one_they_equal():
    scene, state, _ = wrinkled_scene()
    wave = 0.3 * torch.arange(NODES**2).sin().view(1, NODES, NODES)
    totals = []
    for rows in (SUBJECT, SMILES, VIEW):
        at = state.replace(displacement=wave.repeat(max(rows) + 1, 1, 1))
        p = _Problem(shared(scene, rows), at, ("displacement",), SOLVE, None)
        totals.append(float(p.energy(p.leaves)[0]))
    assert totals[1:] == pytest.approx(totals[:1] * 2)


def test_the_order_of_views_does_not_matter():
    scene, state, _ = wrinkled_scene()
    order = [3, 0, 4, 1, 2]
    turned = replace(scene, views=tuple(scene.views[v] for v in order), _windows={}).framed(state)
    settings = replace(SOLVE, steps=2)
    first, _ = solve_map(shared(scene, VIEW), flat(state, 5), ("displacement",), settings)
    again, _ = solve_map(shared(turned, VIEW), flat(state, 5), ("displacement",), settings)
    assert torch.allclose(again.displacement, first.displacement[order], atol=2e-3)
    assert first.displacement.abs().max() > 0.3


def seen_twice(scene: Scene, state: FaceState) -> Tensor:
    """Nodes that two views see, as a square."""
    settings = replace(SOLVE, texels=2 * NODES)
    p = _Problem(scene, flat(state, 1), ("displacement",), settings, None)
    seen = p._texels.square((p._look(p.leaves).agreed.weight > 0.1).sum(0) >= 2)
    return seen.view(NODES, 2, NODES, 2).all(3).all(1)


def test_wrinkles_that_differ_are_told_apart():
    scene, state, truth = wrinkled_scene()
    true = torch.nn.functional.interpolate(truth[:, None], (NODES, NODES), mode="area")[:, 0]
    seen = seen_twice(shared(scene, SUBJECT), state)
    ends = {rows: solved(rows) for rows in (SUBJECT, SMILES, VIEW)}
    error = {
        rows: float((end.displacement[list(rows)] - true)[:, seen].square().mean().sqrt())
        for rows, (end, _) in ends.items()
    }
    assert error[VIEW] < 0.9 * error[SUBJECT], error
    assert error[SMILES] < 0.9 * error[SUBJECT], error
    energy = {rows: solution.energies[-1] for rows, (_, solution) in ends.items()}
    assert energy[VIEW] < energy[SMILES] < energy[SUBJECT], energy
    # where they differ: instants apart in the truth are apart in the maps, and the same way
    mean = [ends[VIEW][0].displacement[[v for v in VIEW if SMILES[v] == i]].mean(0) for i in (0, 1)]
    apart, wanted = (mean[0] - mean[1])[seen], (true[0] - true[1])[seen]
    assert torch.nn.functional.cosine_similarity(apart, wanted, dim=0) > 0.6


def test_maps_of_all_views_fuse_to_one():
    """What stays is in the fused map; what one instant has alone is less than whole there."""
    end, _ = solved(VIEW)
    weights = torch.ones(5, NODES, NODES)
    fused = fuse(end.displacement, weights, torch.ones(NODES, NODES, dtype=torch.bool))
    low, high = end.displacement.amin(0), end.displacement.amax(0)
    assert bool(((fused.displacement >= low - 1e-5) & (fused.displacement <= high + 1e-5)).all())
    stays, comes = fused.displacement[9, 16], fused.displacement[19, 9]
    assert stays > 0.2
    assert comes < 2.0


def test_poses_move_along_with_a_map_per_view():
    scene, state = truth_scene()
    state, sharing = own_frames(state)
    scene = replace(scene, sharing=replace(sharing, displacement=torch.arange(3)))
    settings = replace(SETTINGS, size=128, texels=64, steps=2, spread=0.1)
    free = ("displacement", "pose", "log_focal")
    after, solution = solve_map(scene, flat(state, 3, 16), free, settings)
    assert solution.energies[-1] < solution.energies[0]
    assert after.pose.ne(state.pose).all()
    assert len(after.displacement) == 3
