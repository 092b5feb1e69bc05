"""Stages one after the other: what is told, what is left out, and what a report holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit import stages
from hrnfit.fit.recipe import recipe_from
from hrnfit.fit.stages import Progress, run_stages
from hrnfit.fit.strayed import lost_views
from hrnfit.geometry.rotation import pose_matrix
from tests.fit.small_scene import face, one_instant, rig, scene_of, truth_scene, views_of
from tests.fit.test_map_stage import with_map

SKIN = {"name": "skin", "solver": "map", "free": ["deformation"], "size": 64, "texels": 32,
        "offset": 0, "steps": 2}  # fmt: skip
LIGHT = {"name": "light", "solver": "adam", "free": ["light"], "size": 64, "steps": 2,
         "terms": {"photometric": {"weight": 2.0}}}  # fmt: skip
POSE = {"name": "pose", "solver": "coefficients", "level": "coarse", "free": ["identity", "pose"],
        "size": 64, "texels": 32, "offset": 0, "steps": 2, "rounds": 1}  # fmt: skip


@pytest.fixture(scope="module")
def run():
    scene, state = truth_scene()
    told: list[Progress] = []
    # away from the truth in all that is free: two steps of Adam from true light only leave it
    moved = with_map(state).replace(
        pose=torch.tensor([[0.0, 0.01, 0.0, 0.5, 0.0, 0.0]]), light=0.7 * state.light
    )
    recipe = recipe_from({"name": "three", "stages": [POSE, SKIN, LIGHT]})
    return moved, told, run_stages(scene, moved, recipe, torch.full((3,), 1e-4), told.append)


def test_reports_in_order_with_their_traces(run):
    _, _, (_, reports, warnings) = run
    assert [r.name for r in reports] == ["pose", "skin", "light"]
    assert [r.level for r in reports] == ["coarse", "mid", "mid"]
    assert warnings == ()
    assert dict(reports[2].weights) == {"photometric": 2.0}
    assert set(reports[1].terms) == {"shared_albedo", "smoothness"}
    for report in reports:
        assert report.steps > 0
        assert report.energies[-1] <= report.energies[0]


def test_terms_of_a_map_stage_add_up_to_its_energy(run):
    _, _, (_, reports, _) = run
    skin = reports[1]
    first = sum(skin.weights[name] * trace[0] for name, trace in skin.terms.items())
    assert first == pytest.approx(skin.energies[0], rel=1e-6)


def test_poses_are_rebased_and_stay_where_they_were(run):
    moved, _, (state, _, _) = run
    assert torch.equal(state.pose, torch.zeros(1, 6))
    before = pose_matrix(moved.pose, moved.pose_reference)
    after = pose_matrix(state.pose, state.pose_reference)
    assert (before - after).abs().max() < 5.0
    assert not torch.equal(state.pose_reference, moved.pose_reference)
    assert torch.allclose(torch.linalg.det(after[:, :3, :3]), torch.ones(1), atol=1e-5)


def test_progress_counts_steps_within_stages(run):
    _, told, _ = run
    assert [p.stage for p in told if p.step == 1][-1] == "light"
    assert {p.index for p in told} == {0, 1, 2}
    assert all(p.count == 3 and 1 <= p.step <= p.steps for p in told)


def test_stages_that_compare_views_need_two():
    _, state = truth_scene()
    single = views_of(rig())[1:2]
    one = state.replace(camera=state.camera[:1], log_focal=state.log_focal[:1])
    scene = scene_of(single, one, face(), one_instant(1))
    again = {**SKIN, "name": "again"}
    recipe = recipe_from({"name": "three", "stages": [SKIN, again, {**LIGHT, "steps": 1}]})
    after, reports, warnings = run_stages(scene, with_map(one), recipe, None, None)
    assert [r.name for r in reports] == ["light"]
    (warning,) = warnings
    assert "want of a second view" in warning
    assert warning.endswith("stages skin, again")
    assert torch.equal(after.deformation, torch.zeros(16, 16, 3))


def test_a_stage_that_ends_in_nan_is_named_and_its_start_kept():
    scene, state = truth_scene()
    broken = replace(scene.views[0], image=torch.full_like(scene.views[0].image, torch.nan))
    scene = replace(scene, views=(broken, *scene.views[1:]), _windows={})
    recipe = recipe_from({"name": "one", "stages": [LIGHT]})
    after, (report,), warnings = run_stages(scene, state, recipe, None, None)
    assert "NaN" in report.outcome.value
    assert warnings[0].startswith("stage 'light': the energy became NaN")
    assert torch.equal(after.light, state.light)


def test_a_stage_that_loses_the_face_is_undone_and_named(monkeypatch):
    scene, state = truth_scene()
    kept = stages.solve_map

    def runs_away(scene, state, *rest):
        _, solution = kept(scene, state, *rest)
        gone = state.pose + torch.tensor([0.0, 0.0, 0.0, 150.0, 0.0, 0.0])
        return state.replace(pose=gone), solution

    monkeypatch.setattr(stages, "solve_map", runs_away)
    recipe = recipe_from({"name": "two", "stages": [SKIN, LIGHT]})
    found, reports, (warning,) = run_stages(scene, with_map(state), recipe, None, None)
    assert warning.startswith("stage 'skin' was undone: the face left its landmarks in cam_0")
    assert [r.name for r in reports] == ["skin", "light"]
    assert torch.allclose(found.pose_reference, pose_matrix(state.pose, state.pose_reference))


def test_views_that_were_lost_before_do_not_undo_a_stage():
    scene, state = truth_scene()
    beside = [
        replace(v, landmarks=replace(v.landmarks, points=v.landmarks.points + 60.0))
        for v in scene.views
    ]
    shifted = replace(scene, views=tuple(beside), _windows={})
    assert lost_views(shifted, state) == {"cam_0", "cam_1", "cam_2"}
    recipe = recipe_from({"name": "one", "stages": [LIGHT]})
    _, _, warnings = run_stages(shifted, with_map(state), recipe, None, None)
    assert warnings == ()
