"""The start by networks: whose word counts where, poses in the photographs' own cameras, and falling back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import hrnfit
from hrnfit.fit.network_start import (
    network_start,
    predict_views,
    with_coefficients,
    with_maps,
)
from hrnfit.fit.recipe import load_recipe, recipe_from
from hrnfit.fit.result import FitResult
from hrnfit.geometry.rotation import rotation_log
from hrnfit.infer.networks import Networks
from hrnfit.infer.single_view import ViewPrediction
from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.deretouch import DeretouchConfig, DeretouchNet
from hrnfit.nets.hrn import Hrn, HrnConfig
from hrnfit.render.texture import resized_map
from hrnfit.synthetic import SyntheticRig, synthetic_rig
from tests.fit.planted import SUBJECT, crop_of, planted_analyzer, rigs
from tests.fit.small_scene import face, one_instant, scene_of, views_of

SMALL: dict[str, Any] = {
    "name": "start-only",
    "initialize": "networks",
    "appearance": "start",
    "resolution": {"deformation": 64, "displacement": 32, "albedo": 64},
    "stages": [],
}


def fit(made: SyntheticRig, names: tuple[str, ...] = (), **changes: Any) -> FitResult:
    names = names or tuple(made.images)
    arguments: dict[str, Any] = {
        "model": face(),
        "recipe": recipe_from({**SMALL, **changes.pop("recipe", {})}),
        "masks": {n: made.masks[n] for n in names},
        "landmarks": {n: made.landmarks[n] for n in names},
        "device": "cpu",
    } | changes
    cameras = [c for c in made.cameras if c.name in names]
    return hrnfit.fit(
        {n: made.images[n] for n in names}, arguments.pop("cams", cameras), **arguments
    )


def scene_and_state(made: SyntheticRig):
    state = made.truth.state(face(), len(made.cameras), albedo_map=64)
    return scene_of(views_of(made), state, face(), one_instant(len(made.cameras))), state


def pose_error(result: FitResult, made: SyntheticRig) -> tuple[float, float]:
    """mm and degrees."""
    found = result.state.pose_reference[0].double()
    true = made.truth.T_world_head.double()
    turned = rotation_log(found[:3, :3] @ true[:3, :3].mT).norm()
    return float((found[:3, 3] - true[:3, 3]).norm()), float(torch.rad2deg(turned))


def test_one_photograph_gives_back_shape_pose_and_light_in_its_own_camera():
    known = planted_analyzer()
    made = known.rigs[0]
    result = fit(made, ("cam_2",), networks=known.networks)
    truth = made.truth
    torch.testing.assert_close(result.state.identity, truth.shape.identity, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        result.state.expression[0], truth.shape.expression, atol=1e-4, rtol=0
    )
    millimetres, degrees = pose_error(result, made)
    assert millimetres < 0.1
    assert degrees < 0.1
    torch.testing.assert_close(result.state.light[0], truth.light, atol=1e-3, rtol=1e-3)
    assert result.stages[0].name == "networks"
    assert result.provenance["start"] == {"by": "networks", "networks": "planted"}


def test_views_of_an_instant_share_one_pose_and_one_identity():
    known = planted_analyzer()
    made = known.rigs[1]
    result = fit(made, networks=known.networks)
    assert max(pose_error(result, made)) < 0.1
    assert result.state.pose_reference.shape == (1, 4, 4)
    torch.testing.assert_close(result.state.identity, made.truth.shape.identity, atol=1e-4, rtol=0)


def test_photographs_without_cameras_lie_over_the_face_they_show():
    known = planted_analyzer()
    made = known.rigs[0]
    result = fit(made, cams=None, networks=known.networks)
    assert result.stages[0].name == "networks"
    assert max(row["landmark"] for row in result.view_residuals.values()) < 6.0  # noise of 2.5 px


def test_no_weights_means_landmarks_and_the_result_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path))
    made = rigs((1,))[0]
    asked = fit(made)
    assert asked.stages[0].name == "landmarks"
    assert any("no network weights for model 'sheet'" in text for text in asked.warnings)
    silent = fit(made, recipe={"initialize": "auto"})
    assert not any("network" in text for text in silent.warnings)
    assert "no network weights" in silent.provenance["start"]["why"]


def test_networks_of_another_model_are_refused():
    config = HrnConfig(AnalyzerConfig(5, 3, 5, 8, (1, 1, 1, 1)), None, None)
    other = Networks(Hrn(config).eval(), name="other")
    with pytest.raises(
        ValueError, match=r"'other': predict 5 identity.* model 'sheet' has 4, 3 and 5"
    ):
        fit(rigs((1,))[0], networks=other)


def test_networks_and_a_recipe_without_them_contradict_each_other():
    known = planted_analyzer()
    with pytest.raises(ValueError, match="initialize: landmarks"):
        fit(known.rigs[0], networks=known.networks, recipe={"initialize": "landmarks"})


def broken(networks: Networks, head: int, bias: float) -> Networks:
    """Networks one of whose heads answers something of its own."""
    hrn = Hrn(networks.hrn.config)
    hrn.load_state_dict(networks.hrn.state_dict())
    last = hrn.net_recon.final_layers[head]
    assert isinstance(last, nn.Conv2d)
    nn.init.constant_(last.bias, bias)
    return replace(networks, hrn=hrn.eval().requires_grad_(False), name="broken")


@pytest.mark.parametrize(
    ("head", "bias", "told"),
    [
        (6, float("nan"), "answers NaN"),
        (6, 20.0, "places no head"),
        (6, 7.0, "places no head"),
        (3, 1.0, "left its landmarks"),
        (3, 0.35, "left its landmarks"),
    ],
    ids=["nan", "behind the camera", "apart", "turned", "turned a little"],
)
def test_networks_that_lose_the_face_give_way_to_landmarks(head, bias, told):
    known = planted_analyzer()
    result = fit(known.rigs[0], networks=broken(known.networks, head, bias))
    assert result.stages[0].name == "landmarks"
    assert any(told in text for text in result.warnings), result.warnings
    assert max(row["landmark"] for row in result.view_residuals.values()) < 6.0


def test_a_start_that_is_kept_but_doubtful_is_named():
    """Exact landmarks, and a head turned by 0.12 rad too far: more than 3 % and less than 8 % off."""
    known = planted_analyzer()
    made = known.rigs[0]
    exact = synthetic_rig(
        face(), seed=1, yaws=(-25.0, 0.0, 25.0), size=256, subject=SUBJECT, scheme="ibug68"
    )
    result = fit(replace(made, landmarks=exact.landmarks), networks=broken(known.networks, 3, 0.12))
    assert result.stages[0].name == "networks"
    assert any("times as far from the landmarks" in text for text in result.warnings)


def test_a_view_without_landmarks_has_no_say():
    known = planted_analyzer()
    made = known.rigs[0]
    scene, _ = scene_and_state(made)
    views = (replace(scene.views[0], landmarks=None), *scene.views[1:])
    found, warnings = predict_views(replace(scene, views=views), known.networks)
    assert sorted(found) == [1, 2]
    assert not warnings


def prediction(made: SyntheticRig, weight: torch.Tensor, value: float) -> ViewPrediction:
    return ViewPrediction(
        identity=torch.full((4,), value),
        expression=torch.full((3,), value),
        albedo=torch.full((5,), value),
        T_analyzer_head=torch.eye(4),
        crop=crop_of(made, "cam_0"),
        light_head=torch.zeros(9, 3),
        weight=weight,
        deformation=torch.full((64, 64, 3), value),
        displacement=torch.full((256, 256), value),
    )


def test_a_texel_that_one_view_sees_keeps_that_view_s_value():
    made = rigs((1,))[0]
    scene, state = scene_and_state(made)
    left, right = torch.zeros(256, 256), torch.zeros(256, 256)
    left[:, :160], right[:, 96:] = 1.0, 1.0
    predictions = {0: prediction(made, left, 1.0), 2: prediction(made, right, 3.0)}
    maps = with_maps(scene, state, predictions)
    assert torch.equal(maps.deformation[:, :23], torch.full((64, 23, 3), 1.0))
    assert torch.equal(maps.deformation[:, -23:], torch.full((64, 23, 3), 3.0))
    torch.testing.assert_close(maps.deformation[:, 28:36], torch.full((64, 8, 3), 2.0))
    assert maps.displacement.shape == state.displacement.shape
    torch.testing.assert_close(maps.displacement[0, :, 128], torch.full((256,), 2.0))


def test_coefficients_are_weighted_by_what_a_view_sees():
    made = rigs((1,))[0]
    scene, state = scene_and_state(made)
    half, whole = torch.full((256, 256), 0.25), torch.full((256, 256), 0.75)
    predictions = {0: prediction(made, half, 0.0), 1: prediction(made, whole, 1.0)}
    merged = with_coefficients(scene, state, predictions)
    torch.testing.assert_close(merged.identity, torch.full((4,), 0.75), atol=1e-5, rtol=0)
    torch.testing.assert_close(merged.expression, torch.full((1, 3), 0.75), atol=1e-5, rtol=0)


def test_the_same_networks_say_the_same():
    known = planted_analyzer()
    scene, state = scene_and_state(known.rigs[0])
    once, again = (network_start(scene, state, known.networks).state for _ in range(2))
    for name, leaf in vars(once).items():
        assert torch.equal(leaf, getattr(again, name)), name


def test_feed_forward_runs_no_stage():
    known = planted_analyzer()
    made = known.rigs[0]
    recipe = load_recipe("feed_forward", {"resolution.displacement": 64, "resolution.albedo": 64})
    result = hrnfit.fit(
        made.images["cam_1"],
        model=face(),
        recipe=recipe,
        networks=known.networks,
        landmarks=made.landmarks["cam_1"],
        device="cpu",
    )
    assert [stage.name for stage in result.stages] == ["networks"]
    assert torch.equal(result.state.albedo_map, torch.zeros_like(result.state.albedo_map))


def test_the_deretouched_albedo_is_that_of_a_result_without_a_fit():
    known = planted_analyzer()
    torch.manual_seed(0)
    retouch = DeretouchNet(DeretouchConfig(4)).eval().requires_grad_(False)
    networks = replace(known.networks, deretouch=retouch)
    result = fit(known.rigs[0], ("cam_1",), networks=networks)
    offset = result.state.albedo_map
    assert bool(torch.isfinite(offset).all())
    assert offset.abs().mean() > 1e-3
    own = resized_map(face().albedo(result.state.albedo), len(offset))
    torch.testing.assert_close(result.maps.albedo, (own + offset).clamp(0.0, 1.0))


def test_a_released_convention_runs_on_a_chart_with_one_place_per_vertex():
    known = planted_analyzer(convention="released")
    result = fit(known.rigs[0], ("cam_1",), networks=known.networks)
    assert max(pose_error(result, known.rigs[0])) < 0.1
