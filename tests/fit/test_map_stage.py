"""Gauss-Newton on a map: derivatives against finite differences, laws, and what it recovers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrnfit.fit.map_stage import MapSettings, _Problem, solve_map
from hrnfit.fit.scene import Scene
from hrnfit.geometry.rotation import pose_matrix, rigid_inverse
from hrnfit.state import FaceState, Sharing
from tests.fit.small_scene import (
    face,
    in_double,
    one_instant,
    rig,
    scene_of,
    truth_scene,
)

SETTINGS = MapSettings(size=96, texels=64, blur=1.5, offset=0.0, membrane=3e-3, bending=0.045)
NODES = 16


def with_map(state: FaceState, nodes: int = NODES) -> FaceState:
    """A state whose deformation map has few nodes: zero, the coarse level."""
    return state.replace(deformation=torch.zeros(nodes, nodes, 3).to(state.deformation))


def own_frames(state: FaceState) -> tuple[FaceState, Sharing]:
    """Every view its own instant, and some motion in each."""
    n = len(state.log_focal)
    row = torch.arange(n)
    pose = 0.01 * torch.arange(6.0 * n).view(n, 6).sin().to(state.pose)
    return state.replace(
        expression=state.expression.repeat(n, 1),
        pose=pose,
        pose_reference=state.pose_reference.repeat(n, 1, 1),
    ), Sharing(row, row, torch.zeros_like(row))


def problem(
    free: tuple[str, ...], nodes: int = NODES, texels: int = 64, **changes: Any
) -> _Problem:
    """Float64, each view its own frame, a coarse map away from zero."""
    scene, state = truth_scene(torch.float64)
    state, sharing = own_frames(with_map(state, nodes))
    bump = 0.3 * torch.arange(3.0 * nodes**2).sin().view(nodes, nodes, 3).to(state.deformation)
    settings = replace(SETTINGS, texels=texels, **changes)
    return _Problem(
        replace(scene, sharing=sharing),
        state.replace(deformation=bump),
        free,
        settings,
        None,
    )


def held_energy(problem: _Problem, weight: Tensor, leaves: dict[str, Tensor]) -> Tensor:
    """Half of the data energy with weights held and the albedo eliminated."""
    colour = problem._look(leaves).seen.colour
    w = weight[..., None]
    mean = (w * colour).sum(0) / w.sum(0).clamp_min(1e-12)
    return 0.5 * (w * (colour - mean).square()).sum()


@pytest.mark.parametrize("name", ["pose", "log_focal"])
def test_columns_are_the_change_of_the_colours(name):
    p = problem(("deformation", name), blur=2.0)
    look = p._look(p.leaves)
    columns = p._border.columns(p.leaves, look)[name]
    for k in range(columns.shape[-1]):
        h = 1e-4 if name == "log_focal" or k < 3 else 0.02  # about a hundredth of a px
        moved = []
        for sign in (1, -1):
            leaf = p.leaves[name].clone()
            leaf[..., k] += sign * h if name == "pose" else 0
            leaf += sign * h if name == "log_focal" else 0
            moved.append(p._look({**p.leaves, name: leaf}).seen.colour)
        numeric = (moved[0] - moved[1]) / (2 * h)
        w = look.agreed.weight[..., None].sqrt()
        ours, theirs = (w * columns[..., k]).flatten(), (w * numeric).flatten()
        # bilinear look-ups are not differentiable at pixel borders; the slopes agree on the whole
        assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.98, k
        assert float(ours.norm() / theirs.norm()) == pytest.approx(1.0, abs=0.04), k


def test_gradient_is_that_of_the_energy_with_weights_held():
    p = problem(("deformation", "pose", "log_focal"), blur=2.0)
    look = p._look(p.leaves)
    equations, split = p._equations(p.leaves, look)
    regulariser = p._regulariser @ p.leaves["deformation"].numpy().ravel()
    data = torch.from_numpy(equations.gradient - regulariser).view_as(p.leaves["deformation"])
    slope = {"deformation": data}
    for name, part in split.items():
        slope[name] = torch.from_numpy(equations.corner_gradient[part]).view_as(p.leaves[name])
    weight = look.agreed.weight / look.agreed.seen
    for name, h in (("deformation", 0.02), ("pose", 1e-3), ("log_focal", 1e-4)):
        direction = slope[name] / slope[name].norm()
        energies = [
            held_energy(p, weight, {**p.leaves, name: p.leaves[name] + sign * h * direction})
            for sign in (1, -1)
        ]
        numeric = float(energies[0] - energies[1]) / (2 * h)
        assert numeric == pytest.approx(float(slope[name].norm()), rel=0.15), name


@pytest.mark.parametrize("name", ["deformation", "displacement"])
def test_equations_agree_with_a_dense_reference(name):
    """A^T Pi A over all views, texels and channels at once, Pi removing the weighted mean of views."""
    p = bent_problem(name)
    look = p._look(p.leaves)
    equations, split = p._equations(p.leaves, look)
    views, texels = look.agreed.weight.shape
    unit = torch.eye(16, dtype=torch.float64).view(1, 16, 4, 4)
    grid = (2 * p._texels.centres().double() - 1)[None, None]
    S = torch.nn.functional.grid_sample(unit, grid, align_corners=False, padding_mode="border")
    turned = look.seen.jacobian @ look.R_cam_head[:, None]
    if name == "displacement":  # view v shows frame v, and heights stand on its own normals
        turned = torch.einsum("vpci,vpi->vpc", turned, look.normals_head)[..., None]
    A_map = torch.einsum("vpci,np->vpcni", turned, S[0, :, 0]).flatten(-2)
    columns = p._border.columns(p.leaves, look)
    A_other = torch.zeros(views, texels, 3, 7 * views, dtype=torch.float64)
    for v in range(views):  # every view has a pose and a focal length of its own
        A_other[v, ..., 6 * v : 6 * v + 6] = columns["pose"][v]
        A_other[v, ..., 6 * views + v] = columns["log_focal"][v, ..., 0]
    A = torch.cat([A_map, A_other], dim=-1)
    w = (look.agreed.weight / look.agreed.seen)[..., None, None]
    centred = A - (w * A).sum(0) / w.sum(0).clamp_min(1e-12)
    dense = torch.einsum("vpcn,vpcm->nm", w * centred, centred).numpy()
    n = p.leaves[name].numel()
    prior = np.diag(p._border.prior)
    assert np.allclose(equations.hessian.toarray() - p._regulariser.toarray(), dense[:n, :n])
    assert np.allclose(equations.coupling, dense[:n, n:])
    assert np.allclose(equations.corner - prior, dense[n:, n:])
    pull = torch.einsum("vpcn,vpc->n", w * A, look.agreed.residual).numpy()
    smooth = p._regulariser @ p.leaves[name].numpy().ravel()
    assert np.allclose(equations.gradient - smooth, pull[:n])
    assert np.allclose(equations.corner_gradient, pull[n:])
    assert (split["pose"], split["log_focal"]) == (slice(0, 18), slice(18, 21))


def bent_problem(name: str, **changes: Any) -> _Problem:
    """Three frames with an expression of their own, a map of 4 x 4 nodes away from zero."""
    scene, state = truth_scene(torch.float64)
    state, sharing = own_frames(with_map(state, 4))
    expression = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, -2.0], [0.0, 4.0, 0.0]])
    bumps = {
        "deformation": 0.3 * torch.arange(48.0).sin().view(4, 4, 3),
        "displacement": 0.3 * torch.arange(16.0).sin().view(1, 4, 4),
    }
    leaves = {"expression": expression, name: bumps[name]}
    return _Problem(
        replace(scene, sharing=sharing),
        state.replace(**{leaf: value.double() for leaf, value in leaves.items()}),
        (name, "pose", "log_focal"),
        replace(SETTINGS, **{"texels": 16, "blur": 2.0, **changes}),
        None,
    )


def test_a_height_is_seen_along_the_normal_of_each_frame():
    """The gradient of the map against finite differences of the energy, where frames differ much."""
    p = bent_problem("displacement", texels=64)
    look = p._look(p.leaves)
    cosine = (look.normals_head[1] * look.normals_head[0]).sum(-1)
    assert cosine.quantile(0.25) < 0.98
    equations, _ = p._equations(p.leaves, look)
    smooth = p._regulariser @ p.leaves["displacement"].numpy().ravel()
    slope = torch.from_numpy(equations.gradient - smooth).view_as(p.leaves["displacement"])
    weight = look.agreed.weight / look.agreed.seen
    ours, theirs = [], []
    for k in range(16):
        step = 0.01 * torch.eye(16, dtype=torch.float64)[k].view(1, 4, 4)
        energies = [
            held_energy(p, weight, {**p.leaves, "displacement": p.leaves["displacement"] + h})
            for h in (step, -step)
        ]
        ours.append(float(slope.flatten()[k]))
        theirs.append(float(energies[0] - energies[1]) / 0.02)
    assert np.linalg.norm(np.subtract(ours, theirs)) < 0.06 * np.linalg.norm(theirs)


def data_energy(scene: Scene, state: FaceState, settings: MapSettings = SETTINGS) -> float:
    p = _Problem(scene, state, ("deformation",), settings, None)
    return float(p.energy(p.leaves)[1]["shared_albedo"])


def test_head_and_cameras_may_turn_together():
    scene, state = truth_scene()
    G = pose_matrix(
        torch.tensor([0.4, -0.9, 0.3, 50.0, -20.0, 30.0]).double(), torch.eye(4).double()
    )
    views = tuple(
        replace(v, camera=replace(v.camera, T_cam_world=v.camera.T_cam_world @ rigid_inverse(G)))
        for v in scene.views
    )
    turned = state.replace(pose_reference=(G @ state.pose_reference.double()).float())
    other = scene_of(views, turned, face(), scene.sharing)
    state, turned = with_map(state, 32), with_map(turned, 32)
    assert data_energy(other, turned) == pytest.approx(data_energy(scene, state), rel=0.01)


def test_the_same_views_twice_say_twice_as_much():
    """Sums over texels double; texels of one view are then seen twice, and agree with themselves."""
    scene, state = truth_scene()
    state = with_map(state, 32)
    twice = (*scene.views, *(replace(v, name=f"{v.name}_again") for v in scene.views))
    both = state.replace(camera=torch.zeros(6, 6), log_focal=torch.zeros(6))
    sums = []
    for views, s in ((scene.views, state), (twice, both)):
        own = scene_of(views, s, face(), one_instant(len(views)))
        p = _Problem(own, s, ("deformation",), SETTINGS, None)
        agreed = p._look(p.leaves).agreed
        sums.append(float(agreed.energy * agreed.seen))
    assert sums[1] == pytest.approx(2 * sums[0], rel=1e-4)


def test_truth_costs_little_and_pulls_little():
    scene, state = truth_scene()
    settings = replace(SETTINGS, size=128, texels=128, blur=0.7)
    at_truth = _Problem(scene, state, ("deformation",), settings, None)
    coarse = _Problem(scene, with_map(state, 64), ("deformation",), settings, None)
    costs, pulls = [], []
    for p in (at_truth, coarse):
        look = p._look(p.leaves)
        equations, _ = p._equations(p.leaves, look)
        costs.append(float(look.agreed.energy))
        x = p.leaves["deformation"].double().numpy().ravel()
        pulls.append(float(np.linalg.norm(equations.gradient - p._regulariser @ x)))
    assert costs[0] < 0.35 * costs[1]
    assert pulls[0] < 0.35 * pulls[1], pulls


def surface_error(scene: Scene, state: FaceState) -> float:
    """Mean distance along the true normal over what the cameras see, mm."""
    truth = rig().truth
    offset = scene.world(state)[0] - truth.mid
    return float((offset * truth.normals).sum(-1).abs()[rig().seen].mean())


SOLVE = MapSettings(
    size=128, texels=96, blur=0.7, offset=0.0, membrane=3e-3, bending=0.045, steps=8
)


@pytest.fixture(scope="module")
def solved():
    scene, state = truth_scene()
    start = with_map(state, 24)
    seen: list[tuple[int, float]] = []
    first, _ = solve_map(scene, start, ("deformation",), replace(SOLVE, size=64, bending=0.4))
    after, solution = solve_map(
        scene, first, ("deformation",), SOLVE, progress=lambda k, e: seen.append((k, e))
    )
    return scene, start, after, solution, seen


def test_the_map_is_recovered(solved):
    scene, start, after, solution, seen = solved
    assert surface_error(scene, start) > 1.0
    assert surface_error(scene, after) < 0.55
    assert solution.energies[-1] < solution.energies[0]
    assert set(solution.terms) == {"shared_albedo", "smoothness"}
    assert seen[0] == (0, solution.energies[0])


def test_only_what_is_free_moves(solved):
    _, start, after, _, _ = solved
    for name in ("identity", "expression", "pose", "log_focal", "displacement", "light"):
        assert getattr(after, name) is getattr(start, name), name


def test_brightness_of_one_view_changes_little_with_the_offset_on(solved):
    """A view through a darker, slowly varying filter: with the light field on, the map stays."""
    scene, _, after, _, _ = solved
    ramp = torch.linspace(0.5, 0.8, 128)[None, :, None]
    views = (replace(scene.views[0], image=scene.views[0].image * ramp), *scene.views[1:])
    dimmed = replace(scene, views=views, _windows={})
    moved = {}
    for offset in (0.0, 0.05):
        settings = replace(SOLVE, offset=offset, steps=4)
        result, _ = solve_map(dimmed, after, ("deformation",), settings)
        moved[offset] = surface_error(dimmed, result)
    assert moved[0.05] < surface_error(scene, after) + 0.15
    assert moved[0.05] < moved[0.0]


def test_poses_and_focal_lengths_calibrate_themselves():
    """Views of different instants: what one camera got wrong, the shared skin puts right."""
    scene, state = truth_scene()
    state, sharing = own_frames(state)
    state = state.replace(pose=torch.zeros(3, 6))
    # the sheet's eyes and mouth are half of it, and different instants do not compare those
    whole = replace(scene.model, regions={})
    scene = replace(scene, model=whole, sharing=sharing)
    offsets = scene.operator(64)(state.deformation)
    state = state.replace(deformation=scene.operator(32).fit_map(offsets))
    wrong = state.replace(
        pose=torch.tensor([[0.0] * 6, [0, 0, 0, 1.2, -0.8, 0], [0.0] * 6]),
        log_focal=torch.tensor([0.0, 0.0, 0.01]),
    )
    settings = replace(SOLVE, texels=64, steps=6)
    free = ("deformation", "pose", "log_focal")
    after, solution = solve_map(scene, wrong, free, settings, torch.full((3,), 0.1))
    assert solution.energies[-1] < 0.6 * solution.energies[0]
    assert "camera_prior" in solution.terms

    def across(s: FaceState) -> float:
        """How far view 1 sees the face from where view 0 expects it, px in windows of 128."""
        both = [scene.predict(x, 128).points[..., :2] for x in (s, state)]
        error = both[0] - both[1]
        return float((error - error[:1]).norm(dim=-1)[1].mean())

    assert across(after) < 0.4 * across(wrong)


def test_a_known_focal_length_stays():
    scene, state = truth_scene()
    start = with_map(state, 24)
    settings = replace(SOLVE, steps=2)
    held = torch.full((3,), 1e-5)
    after, _ = solve_map(scene, start, ("deformation", "log_focal"), settings, held)
    assert after.log_focal.abs().max() < 1e-3
    loose, _ = solve_map(scene, start, ("deformation", "log_focal"), settings)
    assert loose.log_focal.abs().max() > after.log_focal.abs().max()


def test_displacement_moves_along_the_normal():
    """A map of heights lowers the energy of a surface that lacks its relief."""
    scene, state = truth_scene()
    start = state.replace(displacement=torch.zeros(1, 32, 32))
    vertex = scene.predict(start, 96).vertices_head
    settings = replace(SOLVE, texels=64, steps=3, membrane=1e-3, bending=1e-3)
    after, solution = solve_map(scene, start, ("displacement",), settings)
    assert torch.equal(scene.predict(after, 96).vertices_head, vertex)
    assert solution.energies[-1] < solution.energies[0]
    assert 0.01 < after.displacement.abs().max() < 3 * 0.3 + 1e-6
    p = _Problem(
        in_double(scene),
        after.to(torch.float64),
        ("displacement",),
        replace(settings, size=96),
        None,
    )
    flat = p._look({"displacement": torch.zeros(1, 32, 32).double()})
    raised = p._look({"displacement": torch.full((1, 32, 32), 0.5).double()})
    along = (raised.x_cam - flat.x_cam) @ flat.R_cam_head  # head frame
    assert torch.allclose(along, 0.5 * flat.normals_head.expand_as(along), atol=1e-6)


def test_maps_that_no_view_reads_are_refused():
    scene, state = truth_scene()
    per_view = state.replace(displacement=torch.zeros(3, 32, 32))
    with pytest.raises(ValueError, match="3 maps, but the views read rows"):
        solve_map(scene, per_view, ("displacement",), SOLVE)


def test_texels_that_do_not_fit_the_map_are_named():
    scene, state = truth_scene()
    with pytest.raises(ValueError, match="even multiple of the map's 64 nodes"):
        solve_map(scene, state, ("deformation",), replace(SOLVE, texels=100))
