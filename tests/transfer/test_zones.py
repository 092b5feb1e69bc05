"""Which parts of two faces may meet."""

from __future__ import annotations

from dataclasses import replace

import torch

from hrnfit.transfer.zones import ANY, EYE, INSIDE, LOWER, UPPER, zones
from tests.transfer.faces import COARSE, DENSE, face


def middle(mesh) -> torch.Tensor:
    return mesh.vertices[mesh.faces.long()].mean(1)


def test_upper_and_lower_lips_do_not_meet():
    target, source = face(DENSE), face(COARSE)
    found = zones(target, source, 1.0)
    x, y, _ = target.vertices.unbind(1)
    near = (x.abs() < 6) & ((y + 35).abs() < 14)
    assert bool((found.vertex[near & (y > -30)] == UPPER).all())
    assert bool((found.vertex[near & (y < -40)] == LOWER).all())
    centre = middle(source)
    under_slit = (centre[:, 0].abs() < 6) & (centre[:, 1] > -48) & (centre[:, 1] < -43)
    allowed = torch.zeros(len(source.faces), dtype=torch.bool)
    allowed[found.triangles[UPPER].long()] = True
    assert bool(under_slit.any())
    assert not bool(allowed[under_slit].any())
    # the region `eyes` of these faces is the rim of a hole: hardly a triangle lies in it
    assert len(found.triangles[ANY]) > len(source.faces) - 10


def test_eyeballs_meet_eyeballs_only_where_both_faces_say_so():
    target, source = face(DENSE), face(COARSE)
    ball = lambda mesh: (mesh.vertices[:, :2] - torch.tensor([45.0, 60.0])).norm(dim=1) < 22  # noqa: E731
    with_eyes = [replace(mesh, regions={"eyes": ball(mesh)}) for mesh in (target, source)]
    found = zones(*with_eyes, 1.0)
    eye = set(found.triangles[EYE].tolist())
    assert eye
    assert not eye & set(found.triangles[ANY].tolist())
    assert bool((found.vertex[ball(target) & (target.vertices[:, 0] < 55)] == EYE).any())
    blind = zones(replace(target, regions={}, landmarks={}), with_eyes[1], 1.0)
    assert eye <= set(blind.triangles[ANY].tolist())  # a target that says nothing may meet them
    assert not bool((blind.vertex == EYE).any())


def test_holes_between_the_lids_meet_no_eyeball():
    target, source = face(DENSE), face(COARSE)
    ball = (source.vertices[:, :2] - torch.tensor([45.0, 60.0])).norm(dim=1) < 22
    holes = replace(target, regions={})  # its 68 points lie around openings
    found = zones(holes, replace(source, regions={"eyes": ball}), 1.0)
    assert not set(found.triangles[EYE].tolist()) & set(found.triangles[ANY].tolist())


def test_inner_parts_meet_their_like_or_nothing():
    target, source = face(DENSE), face(COARSE)
    inner = {"mouth_interior": target.vertices[:, 1] < -70}
    found = zones(replace(target, regions=inner), source, 1.0)
    assert bool((found.vertex[target.vertices[:, 1] < -80] == INSIDE).all())
    assert len(found.triangles[INSIDE]) == 0
    there = {"mouth_interior": source.vertices[:, 1] < -70}
    found = zones(target, replace(source, regions=there), 1.0)
    assert not bool((found.vertex == INSIDE).any())
    assert float(middle(source)[found.triangles[ANY].long()][:, 1].min()) > -80.0
