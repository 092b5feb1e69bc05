"""The demo measures right, and its files are those of a rig. The fits themselves run in `make demo`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from skimage import data

import hrnfit
from hrnfit import demo
from hrnfit.model.load import load_model
from hrnfit.synthetic import synthetic_rig


@pytest.fixture(scope="module")
def model():
    return load_model("generic")


@pytest.fixture(scope="module")
def subject(model):
    return synthetic_rig(model, seed=demo.SEED, size=96, supersample=1, scheme="ibug68")


def test_error_is_zero_at_the_truth_and_a_shift_splits_into_along_and_across(subject):
    truth, seen = subject.truth, subject.seen
    exact = demo.error_of("exact", truth.surface, truth, seen)
    assert (exact.vertex, exact.surface, exact.surface_95) == (0, 0, 0)
    outwards = demo.error_of("out", truth.surface + 0.5 * truth.normals, truth, seen)
    assert outwards.surface == pytest.approx(0.5, abs=1e-3)
    assert outwards.vertex == pytest.approx(0.5, abs=1e-3)
    across = torch.linalg.cross(
        truth.normals, torch.tensor([0.6, 0.0, 0.8]).expand_as(truth.normals)
    )
    sideways = demo.error_of("side", truth.surface + across, truth, seen)
    assert sideways.surface == pytest.approx(0.0, abs=1e-3)
    assert sideways.vertex > 0.3


def test_mean_face_is_a_few_mm_off_and_its_placement_does_not_matter(model, subject):
    error = demo.mean_face_error(model, subject)
    assert 0.5 < error.surface < 6
    assert error.surface < error.surface_95


def test_files_of_the_rig_are_read_back(subject, tmp_path):
    files = demo.write_rig(subject, tmp_path)
    cameras = hrnfit.load_cameras(tmp_path / "cameras.json")
    assert [f.stem for f in files] == [c.name for c in cameras]
    for file, camera, known in zip(files, cameras, subject.cameras, strict=True):
        # the rig is rounded to 8 bits already, so the file loses nothing
        assert torch.allclose(hrnfit.load_image(file).image, subject.images[file.stem], atol=1e-6)
        assert torch.allclose(camera.K, known.K)
        assert torch.allclose(camera.T_cam_world, known.T_cam_world)


def test_stored_landmarks_lie_on_the_photograph():
    file = Path(demo.__file__).with_name("demo_landmarks.json")
    stored = json.loads(file.read_text())["astronaut"]
    points = torch.tensor(stored["points"])
    assert points.shape == (478, 2)
    height, width = data.astronaut().shape[:2]
    assert (points > 0).all()
    assert (points < torch.tensor([width, height])).all()
    # point 1 is the tip of the nose, between the eye corners 33 and 263 and above the chin, 152
    nose, right, left, chin = points[[1, 33, 263, 152]]
    assert right[0] < nose[0] < left[0]
    assert right[1] < nose[1] < chin[1]
