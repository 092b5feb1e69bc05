"""Eyeballs laid in the plane."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.geometry.uv import overlaps
from hrnfit.model.ict_ball import Ellipse, radius_of, unrolled_ball
from hrnfit.model.ict_islands import signed_areas
from tests.model.ict_files import EYES, RADIUS, small_head

UNIT = Ellipse(np.array([0.5, 0.5]), np.diag([0.4, 0.4]))


def ball(side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    head = small_head()
    start, stop = head.slices[side]
    mine = np.flatnonzero(((head.faces >= start) & (head.faces < stop)).all(axis=1))
    return head.points, head.faces, mine


def test_radius_by_hand():
    assert radius_of(np.array([0.0, np.pi])).tolist() == [0.0, 1.0]
    assert radius_of(np.array([np.pi / 3]))[0] == pytest.approx(0.5**0.8)


@pytest.mark.parametrize("side", ["sclera_l", "sclera_r"])
def test_a_ball_fills_its_place_once(side):
    """All triangles turn as skin does (clockwise, v down), within the ellipse, and none twice."""
    points, faces, mine = ball(side)
    laid = unrolled_ball(points, faces, mine, UNIT)
    assert (signed_areas(laid.spots, laid.triangles) < 0).all()
    assert overlaps(torch.from_numpy(laid.spots), torch.from_numpy(laid.triangles), 512) == 0
    radius = np.linalg.norm(laid.spots[np.unique(laid.triangles)] - 0.5, axis=1)
    assert radius.max() == pytest.approx(0.4)
    covered = 0.5 * np.abs(signed_areas(laid.spots, laid.triangles)).sum()
    assert covered > 0.9 * np.pi * 0.4**2


def test_directions_are_those_of_the_head():
    """Seen from in front, to the subject's left is to larger u, up is to smaller v, and the gaze's end is
    the middle."""
    points, faces, mine = ball("sclera_l")
    laid = unrolled_ball(points, faces, mine, UNIT)
    place = {}
    for triangle, spots in zip(faces[mine], laid.triangles, strict=True):
        place |= dict(zip(triangle.tolist(), laid.spots[spots], strict=True))
    index = np.array(list(place))
    arm = (points[index] - EYES[0]) / RADIUS
    front = index[arm[:, 2].argmax()]
    assert np.allclose(place[front], 0.5)
    assert place[index[arm[:, 0].argmax()]][0] > 0.6
    assert place[index[arm[:, 1].argmax()]][1] < 0.4


def test_an_ellipse_may_be_turned():
    points, faces, mine = ball("sclera_l")
    turned = Ellipse(np.array([0.3, 0.2]), np.array([[0.08, 0.06], [-0.03, 0.04]]))
    one, other = (unrolled_ball(points, faces, mine, place) for place in (UNIT, turned))
    unit = (one.spots - 0.5) / 0.4
    assert np.allclose(other.spots, turned.centre + unit @ turned.radii)
