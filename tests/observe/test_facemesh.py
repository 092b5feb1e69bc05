"""Constants of the 478 points: the mirror table and the schemes derived from them."""

import torch

from hrnfit.observe.facemesh import (
    IBUG68,
    eye_line,
    five_from_mediapipe,
    ibug68_from_mediapipe,
    mirror_index,
)
from hrnfit.observe.observation import Landmarks


def test_mirror_is_its_own_inverse_and_swaps_the_eyes():
    mirror = mirror_index()
    assert torch.equal(mirror[mirror], torch.arange(478))
    assert mirror[[33, 61, 468, 4, 10]].tolist() == [263, 291, 473, 4, 10]


def test_ibug_mirrors_like_its_own_scheme():
    # iBUG's mirror pairs must be FaceMesh's: jaw 0 and 16, outer eye corners 36 and 45, ...
    pairs = [(i, 16 - i) for i in range(17)] + [(17 + i, 26 - i) for i in range(5)]
    pairs += [(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46), (31, 35), (32, 34)]
    pairs += [(48, 54), (49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63), (67, 65)]
    mirror = mirror_index()
    wrong = [(a, b) for a, b in pairs if int(mirror[IBUG68[a]]) != IBUG68[b]]
    assert wrong == []
    assert len(set(IBUG68)) == 68


def test_conversions_pick_points_and_confidence():
    points = torch.arange(956.0).view(478, 2)
    confidence = torch.linspace(0, 1, 478)
    marks = ibug68_from_mediapipe(Landmarks(points, confidence, "mediapipe478"))
    assert marks.points[45].tolist() == points[263].tolist()
    assert marks.confidence[45] == confidence[263]
    five = five_from_mediapipe(Landmarks(points, confidence, "mediapipe478"))
    assert five.scheme == "five"
    assert five.points[0].tolist() == ((points[33] + points[133]) / 2).tolist()
    assert five.points[2].tolist() == points[4].tolist()
    assert five.confidence[0] == confidence[33]


def test_eye_line_points_to_the_subjects_left():
    points = torch.zeros(478, 2)
    points[[362, 263]] = torch.tensor([10.0, 2.0])
    assert eye_line(points).tolist() == [10.0, 2.0]
