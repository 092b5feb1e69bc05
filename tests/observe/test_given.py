"""Landmarks as users write them."""

import json

import numpy as np
import pytest
import torch

from hrnfit.observe.given import as_landmarks, landmarks_by_name
from hrnfit.observe.observation import Landmarks

POINTS = np.arange(136.0).reshape(68, 2)


@pytest.mark.parametrize(
    ("count", "scheme"), [(68, "ibug68"), (478, "mediapipe478"), (468, "mediapipe478"), (5, "five")]
)
def test_scheme_follows_from_the_count(count, scheme):
    marks = as_landmarks(np.zeros((count, 2)))
    assert marks.scheme == scheme
    assert len(marks.points) == (478 if count == 468 else count)
    assert float(marks.confidence.sum()) == count


def test_missing_points_have_no_confidence():
    values = POINTS.tolist()
    values[3] = [None, None]  # what JSON can say instead of NaN
    marks = as_landmarks({"points": values, "confidence": [0.5] * 68})
    assert marks.confidence[3] == 0
    assert marks.confidence[4] == 0.5
    assert bool(marks.points.isfinite().all())


def test_one_image_takes_bare_points_a_dict_or_landmarks():
    for given in (POINTS, POINTS.tolist(), [POINTS], {"a": POINTS}, {"points": POINTS}, torch.from_numpy(POINTS), as_landmarks(POINTS)):  # fmt: skip
        marks = landmarks_by_name(["a"], given, [])["a"]
        assert isinstance(marks, Landmarks)
        torch.testing.assert_close(marks.points, torch.from_numpy(POINTS).float())


def test_several_images_by_order():
    given = landmarks_by_name(["a", "b"], [None, POINTS], [])
    assert list(given) == ["b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((7, 2)), r"expected 68 \(iBUG\), 478 \(MediaPipe\) or 5 points.*\(7, 2\)"),
        (np.zeros((68, 3)), r"\(68, 3\)"),
        ({"x": 1}, "or an object with 'points'"),
        ("abc", "expected numbers"),
        ({"points": POINTS, "scheme": "ibug86"}, "'ibug86' is not known; did you mean 'ibug68'"),
        ({"points": POINTS, "scheme": "five"}, "scheme 'five' does not have 68 points"),
        ({"points": POINTS, "confidence": [2.0] * 68}, "68 numbers from 0 to 1"),
        (np.full((5, 2), np.nan), "every point is missing"),
    ],
)
def test_bad_landmarks(given, message):
    with pytest.raises(ValueError, match=message):
        as_landmarks(given)


def test_bad_files_and_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="landmarks: no file"):
        landmarks_by_name(["a"], tmp_path / "x.json", [])
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        landmarks_by_name(["a"], tmp_path / "x.json", [])
    (tmp_path / "x.json").write_text("3")
    with pytest.raises(ValueError, match="expected an object"):
        landmarks_by_name(["a"], tmp_path / "x.json", [])
    (tmp_path / "x.json").write_text(json.dumps({"b": POINTS.tolist()}))
    with pytest.raises(ValueError, match=r"none is named like an image; .*images: a; landmarks: b"):
        landmarks_by_name(["a"], tmp_path / "x.json", [])
    with pytest.raises(ValueError, match="landmarks: 3 sets for 2 images"):
        landmarks_by_name(["a", "b"], [POINTS] * 3, [])
