"""Whole fits of a small synthetic subject: how near they come, what they hand back, what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import hrnfit
from hrnfit.camera import Camera
from hrnfit.fit.recipe import Recipe, recipe_from
from hrnfit.fit.result import FitResult
from hrnfit.fit.stages import Progress
from hrnfit.observe.observation import Landmarks
from tests.fit.small_scene import NAMES, face, rig

SKIN = {"solver": "map", "free": ["deformation"], "blur": 0.7, "offset": 0}
SMALL = {"deformation": 24, "displacement": 32, "albedo": 64}
RIG: dict[str, Any] = {
    "name": "small-rig",
    "share": {"light": "subject"},
    "resolution": SMALL,
    "stages": [
        {**SKIN, "name": "far", "size": 64, "texels": 48, "membrane": 3e-2, "bending": 0.45, "steps": 4},
        {**SKIN, "name": "near", "size": 128, "texels": 96, "membrane": 3e-3, "bending": 0.045, "steps": 6},
    ],
}  # fmt: skip
SINGLE: dict[str, Any] = {
    "name": "small-single",
    "share": {"displacement": "view"},
    "resolution": SMALL,
    "stages": [
        {"name": "shading", "solver": "adam", "level": "mid", "free": ["deformation"], "size": 64,
         "steps": 4, "terms": {"photometric": {"weight": 0.2}, "deformation_size": {"weight": 1.0}}},
        {**SKIN, "name": "skin", "size": 64, "texels": 48},
    ],
}  # fmt: skip
MULTI: dict[str, Any] = {
    "name": "small-multi",
    "resolution": SMALL,
    "stages": [
        {**SKIN, "name": "skin", "size": 96, "texels": 48, "steps": 3,
         "free": ["deformation", "pose", "log_focal"]},
    ],
}  # fmt: skip


def fit(document: dict[str, Any], names: tuple[str, ...] = NAMES, cameras=True, **changes):
    source = rig()
    arguments: dict[str, Any] = {
        "model": face(),
        "recipe": recipe_from(document),
        "masks": {n: source.masks[n] for n in names},
        "landmarks": {n: source.landmarks[n] for n in names},
        "device": "cpu",
    } | changes
    given = [c for c in source.cameras if c.name in names] if cameras else None
    images = arguments.pop("images", {n: source.images[n] for n in names})
    return hrnfit.fit(images, arguments.pop("cams", given), **arguments)


@pytest.fixture(scope="module")
def calibrated() -> tuple[FitResult, list[Progress]]:
    told: list[Progress] = []
    return fit(RIG, progress=told.append), told


def error(result: FitResult, level: str) -> float:
    """Mean distance along the true normal over what the cameras see, mm."""
    truth, seen = rig().truth, rig().seen
    offset = result.mesh(level).vertices - truth.mid
    return float((offset * truth.normals).sum(-1).abs()[seen].mean())


def test_a_rig_recovers_the_surface_and_beats_the_coarse_level(calibrated):
    result, _ = calibrated
    assert error(result, "mid") < 0.6
    assert error(result, "mid") < 0.55 * error(result, "coarse")
    assert result.warnings == ()


def test_a_result_is_complete(calibrated):
    result, _ = calibrated
    assert result.view_names == NAMES
    assert [stage.name for stage in result.stages] == ["landmarks", "far", "near"]
    for stage in result.stages[1:]:
        assert stage.energies[-1] < stage.energies[0]
        assert stage.seconds > 0
    for level in ("coarse", "mid", "fine"):
        assert bool(torch.isfinite(result.mesh(level).vertices).all())
    for name, measures in result.view_residuals.items():
        assert name in NAMES
        assert measures["landmark"] < 2.0
        assert measures["photometric"] < 0.05
    assert result.maps.deformation.shape == (24, 24, 3)
    assert result.maps.displacement.shape == (32, 32)
    assert result.maps.albedo.shape == (64, 64, 3)
    assert all(result.camera_known)
    assert result.provenance["model"]["name"] == "sheet"
    assert len(result.provenance["inputs"]) == 3
    assert result.state.pose.abs().max() == 0  # re-based after every stage
    for camera, known in zip(result.cameras, rig().cameras, strict=True):
        assert torch.allclose(camera.K, known.K)
        assert torch.allclose(camera.T_cam_world, known.T_cam_world)


def test_progress_is_told_stage_by_stage(calibrated):
    _, told = calibrated
    assert {p.stage for p in told} == {"far", "near"}
    assert {(p.index, p.count) for p in told} == {(0, 2), (1, 2)}
    assert all(1 <= p.step <= p.steps and p.energy > 0 for p in told)


def test_a_saved_result_is_continued(calibrated, tmp_path):
    result, _ = calibrated
    loaded = FitResult.load(result.save(tmp_path / "out"))
    assert torch.equal(loaded.state.deformation, result.state.deformation)
    more = {**RIG, "stages": [{**RIG["stages"][1], "steps": 2}]}
    again = fit(more, start=loaded)
    assert again.stages[-1].energies[0] < 1.2 * result.stages[-1].energies[-1]
    assert error(again, "mid") < error(result, "mid") + 0.05
    with pytest.raises(ValueError, match="start: it was fitted to"):
        fit(more, names=NAMES[:2], start=loaded)
    with pytest.raises(ValueError, match=r"start: deformation has shape \(24, 24, 3\)"):
        fit({**more, "resolution": {**SMALL, "deformation": 48}}, start=loaded)


def test_one_photograph_gives_a_full_result():
    result = fit(SINGLE, names=("cam_1",), cameras=False)
    assert result.view_names == ("cam_1",)
    assert result.camera_known == (False,)
    assert any("compare views: stages skin" in text for text in result.warnings)
    assert [stage.name for stage in result.stages] == ["landmarks", "shading"]
    assert bool(torch.isfinite(result.mesh("fine").vertices).all())
    assert result.view_residuals["cam_1"]["landmark"] < 4.0


def test_photographs_from_anywhere_give_a_full_result():
    result = fit(MULTI, cameras=False)
    assert len(result.state.pose_reference) == 3  # each photograph its own instant
    assert result.camera_known == (False,) * 3
    assert result.stages[-1].energies[-1] < result.stages[-1].energies[0]
    for measures in result.view_residuals.values():
        assert measures["landmark"] < 6.0
    # the surface fits the truth once both are aligned: size and place are unknowable
    from hrnfit.geometry.align import align_rigid

    truth = rig().truth.mid
    mid = result.mesh("mid").vertices
    scale = (truth - truth.mean(0)).norm() / (mid - mid.mean(0)).norm()
    placed = align_rigid(scale * mid, truth).apply(scale * mid)
    assert (placed - truth).norm(dim=-1).mean() < 5.0


def test_photographs_have_a_displacement_each_and_one_in_common():
    pores = {**SKIN, "name": "pores", "level": "fine", "free": ["displacement"], "size": 128,
             "texels": 64, "steps": 2}  # fmt: skip
    document = {**MULTI, "share": {"displacement": "view"}, "stages": [*MULTI["stages"], pores]}
    maps = fit(document, cameras=False).maps
    assert maps.displacement_views.shape == (3, 32, 32)
    assert maps.displacement_views.std(0).max() > 1e-3
    seen = maps.confidence > 0
    low, high = maps.displacement_views.amin(0), maps.displacement_views.amax(0)
    between = (maps.displacement >= low - 1e-5) & (maps.displacement <= high + 1e-5)
    assert bool(between[seen].all())
    assert bool(seen.any())


class Blind:
    """A detector that finds a face only in bright images."""

    def detect(self, image: torch.Tensor) -> Landmarks | None:
        return None


def test_no_face_at_all_says_what_to_do():
    with pytest.raises(ValueError, match="no face was found in cam_0, cam_1, cam_2; crop closer"):
        fit(RIG, landmarks=None, cameras=False, detector=Blind())


QUICK = {**RIG, "stages": [{**RIG["stages"][0], "steps": 1}]}


def test_a_photograph_without_a_face_is_left_out_with_a_warning():
    marks = {n: rig().landmarks[n] for n in NAMES[:2]}
    result = fit(
        {**MULTI, "stages": QUICK["stages"]}, landmarks=marks, cameras=False, detector=Blind()
    )
    assert result.view_names == NAMES[:2]
    assert any("'cam_2' is left out: no face was found" in text for text in result.warnings)


def test_a_calibrated_view_that_should_show_the_face_and_does_not_is_left_out():
    marks = {n: rig().landmarks[n] for n in NAMES if n != "cam_1"}
    images = {**rig().images, "cam_1": torch.zeros(128, 128, 3)}
    result = fit(QUICK, images=images, landmarks=marks, detector=Blind())
    assert result.view_names == ("cam_0", "cam_2")
    assert any(t.startswith("view 'cam_1' is left out: no face was") for t in result.warnings)


def test_a_calibrated_view_from_the_side_needs_no_landmarks():
    marks = {n: rig().landmarks[n] for n in NAMES[:2]}
    camera = rig().cameras[2]
    side = torch.tensor([[0.0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]).double()
    turned = replace(camera, T_cam_world=camera.T_cam_world @ side)
    result = fit(
        QUICK, cams=[*rig().cameras[:2], turned], landmarks=marks, masks=None, detector=Blind()
    )
    assert result.view_names == NAMES
    assert any("'cam_2' has no landmarks" in text for text in result.warnings)


def test_a_broken_photograph_is_left_out_with_a_warning():
    images = {**rig().images, "cam_2": torch.full((128, 128, 3), torch.nan)}
    result = fit(QUICK, images=images)
    assert result.view_names == NAMES[:2]
    assert any("'cam_2' is left out" in text for text in result.warnings)


def test_a_camera_of_another_image_size_is_named():
    cameras = [replace(c, width=64) if c.name == "cam_0" else c for c in rig().cameras]
    result = fit(QUICK, cams=cameras)
    assert result.view_names == NAMES[1:]
    assert any("'cam_0' is left out" in text and "64" in text for text in result.warnings)


def test_cameras_that_belong_to_no_image_are_named():
    with pytest.raises(ValueError, match="camera"):
        fit(QUICK, cams=[replace(c, name=f"other_{c.name}") for c in rig().cameras[:2]])


def test_nan_intrinsics_are_named():
    first = rig().cameras[0]
    K = first.K.clone()
    K[0, 0] = torch.nan
    with pytest.raises(ValueError, match="K"):
        fit(QUICK, cams=[Camera(K, first.T_cam_world, first.distortion, 128, 128, "cam_0"), *rig().cameras[1:]])  # fmt: skip


def test_cameras_in_metres_are_recognised():
    def in_metres(camera: Camera) -> Camera:
        T = camera.T_cam_world.clone()
        T[:3, 3] /= 1000.0
        return replace(camera, T_cam_world=T)

    with pytest.raises(ValueError, match="metre"):
        fit(QUICK, cams=[in_metres(c) for c in rig().cameras])


def test_wrong_requests_are_named():
    with pytest.raises(ValueError, match="device 'gpu': expected auto, cpu, cuda or cuda:N"):
        fit(QUICK, device="gpu")
    with pytest.raises(ValueError, match="a Recipe object takes none"):
        fit(QUICK, overrides={"stages.far.steps": 2})
    with pytest.raises(ValueError, match="unknown key 'step'; did you mean 'steps'"):
        fit(QUICK, recipe="rig", overrides={"stages.0.step": 2})
    with pytest.raises(FileNotFoundError, match="known are"):
        fit(QUICK, recipe="studio")
    assert isinstance(recipe_from(QUICK), Recipe)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch sees fewer than two CUDA devices")
def test_a_fit_on_the_second_gpu_allocates_nothing_on_the_first():
    with torch.cuda.device(0):
        before = torch.cuda.memory_allocated(0)
        torch.cuda.reset_peak_memory_stats(0)
        result = fit(RIG, device="cuda:1")
        assert torch.cuda.max_memory_allocated(0) == before
        assert torch.cuda.max_memory_allocated(1) > 0
    assert error(result, "mid") < 0.6
