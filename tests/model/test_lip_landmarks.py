"""Lip points of the dense scheme open with their own lip."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hrnfit.model.face_model import LandmarkSet
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.lip_landmarks import LOWER, UPPER, on_own_lips
from hrnfit.model.load import load_model


def places(model: LinearFaceModel, marks: LandmarkSet, jaw_open: float = 0.0) -> Tensor:
    expression = torch.zeros(model.n_expression)
    expression[model.expression_names.index("jawOpen")] = jaw_open
    vertices = model.shape(torch.zeros(model.n_identity), expression)
    corners = vertices[model.faces[marks.triangles.clamp_min(0).long()].long()]
    return (corners * marks.barycentric[..., None]).sum(1)


def drop(model: LinearFaceModel, marks: LandmarkSet) -> Tensor:
    """How far each point goes down as the jaw opens, mm."""
    return (places(model, marks) - places(model, marks, 1.0))[:, 1]


@pytest.fixture(scope="module")
def generic() -> LinearFaceModel:
    return load_model("generic")


def check_lips(model: LinearFaceModel) -> None:
    moved = drop(model, model.landmarks["mediapipe478"])
    assert float(moved[list(UPPER)].max()) < 0.7 * float(moved[list(LOWER)].min())


def test_the_embedded_model_opens_its_mouth_between_its_lip_points(generic):
    check_lips(generic)


def test_ict_does_so_too(data_dir):
    check_lips(load_model(data_dir / "ict" / "ict_facehead_f16.npz"))


def test_points_on_the_wrong_lip_come_to_their_own_and_the_others_stay(generic):
    dense, ibug = generic.landmarks["mediapipe478"], generic.landmarks["ibug68"]
    triangles, weights = dense.triangles.clone(), dense.barycentric.clone()
    swapped = {14: 13, 82: 87, 312: 317}  # inner edges of a closed mouth
    for point, other in swapped.items():
        triangles[point], weights[point] = dense.triangles[other], dense.barycentric[other]
    mean = generic.shape(torch.zeros(generic.n_identity), torch.zeros(generic.n_expression))
    found = on_own_lips(mean, generic.faces, LandmarkSet(triangles, weights, dense.spread), ibug)
    check_lips(replace(generic, landmarks=generic.landmarks | {"mediapipe478": found}))
    rest = [p for p in range(478) if p not in swapped]
    assert torch.equal(found.triangles[rest], dense.triangles[rest])
    assert torch.equal(found.barycentric[rest], dense.barycentric[rest])
    near = (places(generic, found) - places(generic, dense)).norm(dim=1)[list(swapped)]
    assert float(near.max()) < 3.0


def test_missing_points_stay_missing(generic):
    dense, ibug = generic.landmarks["mediapipe478"], generic.landmarks["ibug68"]
    triangles = dense.triangles.clone()
    triangles[13] = -1
    mean = generic.shape(torch.zeros(generic.n_identity), torch.zeros(generic.n_expression))
    found = on_own_lips(mean, generic.faces, replace(dense, triangles=triangles), ibug)
    assert int(found.triangles[13]) == -1


def test_no_point_lies_inside_the_mouth(generic):
    inside = generic.regions["mouth_interior"]
    marks = generic.landmarks["mediapipe478"]
    assert not bool(inside[generic.faces[marks.triangles.long()].long()].any())
    # the inner edge runs from corner to corner without a step into depth
    rest = places(generic, marks)
    for edge in ((78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),):
        depth = rest[list(edge), 2]
        assert float((depth[1:] - depth[:-1]).abs().max()) < 6.0


def test_a_point_inside_the_mouth_comes_to_the_lip_before_it(generic):
    dense, ibug = generic.landmarks["mediapipe478"], generic.landmarks["ibug68"]
    inside = generic.regions["mouth_interior"]
    mean = generic.shape(torch.zeros(generic.n_identity), torch.zeros(generic.n_expression))
    deep = inside[generic.faces.long()].all(1).nonzero()[:, 0]
    corners = mean[generic.faces[deep].long()].mean(1)
    middle = deep[corners[:, :2].norm(dim=1).argmin()]
    triangles, weights = dense.triangles.clone(), dense.barycentric.clone()
    triangles[82], weights[82] = middle.int(), torch.full((3,), 1 / 3)
    moved = LandmarkSet(triangles, weights, dense.spread)
    found = places(generic, on_own_lips(mean, generic.faces, moved, ibug, inside))
    assert not bool(
        inside[
            generic.faces[
                on_own_lips(mean, generic.faces, moved, ibug, inside).triangles[82]
            ].long()
        ].any()
    )
    assert float(found[82, 2]) > float(places(generic, moved)[82, 2])
