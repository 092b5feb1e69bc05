"""The alignment of five points: by hand, against one system of eight unknowns, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hrnfit.geometry.rotation import rotation_exp
from hrnfit.infer.alignment import FACTOR, REFERENCE, align_five, five_points
from hrnfit.observe.facemesh import IBUG68
from hrnfit.observe.observation import Landmarks

HEIGHT, WIDTH = 800, 1000


def reference() -> torch.Tensor:
    return torch.tensor(REFERENCE, dtype=torch.float64)


def frontal(px: float = 150.0) -> torch.Tensor:
    """The reference face seen straight, its origin at pixel (400.5, 300.5), `px` per decimetre."""
    x = reference()
    return torch.stack([400.5 + px * x[:, 0], 300.5 - px * x[:, 1]], 1)


def seen(distance: float, yaw: float, aside: float = 0.0) -> torch.Tensor:
    """The reference face in perspective from `distance` mm, turned by `yaw` degrees."""
    turn = rotation_exp(torch.tensor([0.0, math.radians(yaw), 0.0], dtype=torch.float64))
    x = 100.0 * reference() @ turn.mT
    z = distance - x[:, 2]
    return torch.stack([500.0 + 900.0 * (x[:, 0] + aside) / z, 400.0 - 900.0 * x[:, 1] / z], 1)


def test_the_reference_face_itself_by_hand():
    alignment = align_five(frontal(), HEIGHT, WIDTH)
    assert alignment.scale == pytest.approx(FACTOR / 150.0, abs=1e-12)
    # the origin's index coordinates are (400, 300); with y up 300 becomes 800 - 1 - 300
    assert alignment.translation == pytest.approx((400.0, 499.0), abs=1e-9)


def test_agrees_with_one_system_of_eight_unknowns(generator):
    points = frontal() + 12.0 * torch.randn(5, 2, generator=generator, dtype=torch.float64)
    index = points.numpy() - 0.5
    index[:, 1] = HEIGHT - 1 - index[:, 1]
    system, right = np.zeros((10, 8)), index.reshape(-1)
    for k, point in enumerate(REFERENCE):
        system[2 * k, :4], system[2 * k + 1, 4:] = (*point, 1.0), (*point, 1.0)
    solution = np.linalg.lstsq(system, right, rcond=None)[0]
    size = (np.linalg.norm(solution[:3]) + np.linalg.norm(solution[4:7])) / 2
    alignment = align_five(points, HEIGHT, WIDTH)
    assert alignment.scale == pytest.approx(FACTOR / size, rel=1e-10)
    assert alignment.translation == pytest.approx((solution[3], solution[7]), abs=1e-8)


def test_moving_and_enlarging_the_photograph():
    points = seen(600.0, 25.0)
    first = align_five(points, HEIGHT, WIDTH)
    moved = align_five(points + torch.tensor([30.0, 40.0]), HEIGHT, WIDTH)
    assert moved.scale == pytest.approx(first.scale, rel=1e-12)
    x, y = first.translation
    assert moved.translation == pytest.approx((x + 30.0, y - 40.0), abs=1e-9)
    large = align_five(3.0 * points, 3 * HEIGHT, 3 * WIDTH)
    assert large.scale == pytest.approx(first.scale / 3.0, rel=1e-12)


def test_a_head_that_rolls_keeps_its_size():
    points, centre = seen(600.0, 0.0), torch.tensor([500.0, 400.0], dtype=torch.float64)
    for degrees in (20.0, 90.0, 180.0):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
        turned = align_five((points - centre) @ turn.mT + centre, HEIGHT, WIDTH)
        # the mean of two lengths, which perspective makes differ, is not quite invariant
        assert turned.scale == pytest.approx(align_five(points, HEIGHT, WIDTH).scale, rel=1e-3)


@pytest.mark.parametrize("distance", [250.0, 600.0])
@pytest.mark.parametrize("yaw", [-85.0, -40.0, 0.0, 85.0])
@pytest.mark.parametrize("aside", [-100.0, 100.0])
def test_turned_and_near_heads_are_accepted(distance, yaw, aside):
    assert align_five(seen(distance, yaw, aside), HEIGHT, WIDTH).scale > 0


def test_five_points_of_the_three_schemes_name_the_same_places(generator):
    mesh = torch.rand(478, 2, generator=generator) * 500
    sure = torch.ones(478)
    # where both schemes mean the same FaceMesh point: eye corners, and mouth corners
    five = five_points(Landmarks(mesh, sure, "mediapipe478"))
    marks = Landmarks(mesh[torch.tensor(IBUG68)], torch.ones(68), "ibug68")
    from_68 = five_points(marks)
    torch.testing.assert_close(from_68[[0, 1, 3, 4]], five[[0, 1, 3, 4]])
    torch.testing.assert_close(from_68[2], marks.points[30])
    torch.testing.assert_close(from_68[0], (marks.points[36] + marks.points[39]) / 2)
    torch.testing.assert_close(five_points(Landmarks(five, torch.ones(5), "five")), five)


def test_a_missing_point_is_named():
    sure = torch.ones(68)
    sure[42] = 0.0
    with pytest.raises(ValueError, match=r"left\.png: no right eye among the landmarks"):
        five_points(Landmarks(torch.zeros(68, 2), sure, "ibug68"), "left.png")


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match=r"wflw.*not known.*ibug68"):
        five_points(Landmarks(torch.zeros(98, 2), torch.ones(98), "wflw"))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (frontal().index_fill(1, torch.tensor([0]), 7.0), "on a line or in one spot"),
        (frontal() * 0.0 + 300.0, "on a line or in one spot"),
        (frontal()[:, :1].expand(5, 2), "on a line or in one spot"),
        (frontal() * torch.tensor([-1.0, 1.0]) + torch.tensor([WIDTH, 0.0]), "mirrored"),
        (frontal()[[1, 0, 2, 4, 3]], "mirrored"),
        (frontal() / 0.0, "NaN or infinite"),
    ],
)
def test_points_that_are_no_face_are_refused_with_the_photograph_named(points, message):
    with pytest.raises(ValueError, match=f"IMG_7: .*{message}"):
        align_five(points, HEIGHT, WIDTH, "IMG_7")
