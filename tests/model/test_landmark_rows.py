"""Landmarks as rows over the vertices: kept with the model, and never those of another."""

from __future__ import annotations

from dataclasses import replace

import torch

from hrnfit.model.landmark_rows import landmark_rows
from tests.model.faces import small_model


def test_rows_give_the_points_on_the_triangles():
    model = small_model()
    marks = model.landmarks["ibug68"]
    corners, weights = landmark_rows(model, "ibug68")
    there = marks.triangles >= 0
    assert torch.equal(corners[there], model.faces.long()[marks.triangles[there].long()])
    assert torch.equal(weights[there], marks.barycentric[there])
    assert landmark_rows(model, "ibug68")[0] is corners


def test_a_point_that_is_missing_lies_in_the_middle_of_the_first_triangle():
    model = small_model()
    marks = model.landmarks["ibug68"]
    lost = replace(marks, triangles=torch.full_like(marks.triangles, -1))
    corners, weights = landmark_rows(replace(model, landmarks={"ibug68": lost}), "ibug68")
    assert torch.equal(corners, model.faces[:1].long().expand_as(corners))
    assert torch.equal(weights, torch.full_like(weights, 1 / 3))


def test_models_that_share_triangles_have_rows_of_their_own():
    model = small_model()
    marks = model.landmarks["ibug68"]
    corners, _ = landmark_rows(model, "ibug68")
    turned = replace(model, faces=model.faces.roll(1, 1))
    assert torch.equal(landmark_rows(turned, "ibug68")[0], corners.roll(1, 1))
    middle = replace(marks, barycentric=torch.full_like(marks.barycentric, 1 / 3))
    moved = replace(model, landmarks={"ibug68": middle})
    assert torch.equal(landmark_rows(moved, "ibug68")[1], middle.barycentric)
