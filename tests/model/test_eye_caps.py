"""Eyeball fronts: where they lie, how they are wound, and that they stay linear."""

from __future__ import annotations

import torch

from hrnfit.geometry.mesh import boundary_loops, face_normals
from hrnfit.model.eye_caps import RINGS, eye_cap, eye_openings, fitted_sphere

RADIUS, CENTRE = 15.0, torch.tensor([30.0, 10.0, -5.0])


def opening() -> tuple[torch.Tensor, torch.Tensor]:
    """A ring of skin around an eye: inner loop of 24 on the sphere, outer loop 8 mm further out."""
    angle = torch.arange(24) * (2 * torch.pi / 24)
    plane = torch.stack([12 * angle.cos(), 6 * angle.sin()], dim=1)
    depth = (RADIUS**2 - plane.square().sum(dim=1)).sqrt()
    inner = torch.cat([plane, depth[:, None]], dim=1)
    outer = inner + torch.cat([8 * plane / plane.norm(dim=1, keepdim=True), inner[:, 2:] * 0], 1)
    i = torch.arange(24)
    j = (i + 1) % 24
    faces = torch.cat([torch.stack([i, i + 24, j + 24], 1), torch.stack([i, j + 24, j], 1)])
    return torch.cat([inner, outer]) + CENTRE, faces.int()


def hole_of(faces: torch.Tensor) -> torch.Tensor:
    """The inner of the two loops."""
    return next(loop for loop in boundary_loops(faces) if int(loop.min()) == 0)


def test_the_sphere_of_a_rim():
    points, _ = opening()
    centre, radius = fitted_sphere(points[:24].double())
    torch.testing.assert_close(centre, CENTRE.double(), atol=1e-3, rtol=0)
    assert abs(radius - RADIUS) < 1e-3


def test_a_cap_closes_the_hole_on_the_sphere_and_faces_outward():
    points, faces = opening()
    eye = torch.tensor([[30.0, 10.0, 8.0], [-90.0, 10.0, 8.0]])
    found = eye_openings(points, [hole_of(faces)], eye)
    assert [sorted(loop.tolist()) for loop in found] == [
        list(range(24))
    ]  # no hole at the other eye
    cap = eye_cap(points, found[0], len(points))
    assert len(cap.points) == 24 * (RINGS - 1) + 1
    gap = (cap.points - CENTRE).norm(dim=1) - RADIUS
    assert gap.abs().max() < 1e-3
    whole, closed = torch.cat([points, cap.points]), torch.cat([faces, cap.faces])
    assert len(boundary_loops(closed)) == 1
    assert face_normals(whole, closed)[len(faces) :, 2].min() > 0


def test_modes_of_a_cap_follow_the_rim(generator):
    points, faces = opening()
    cap = eye_cap(points, hole_of(faces), len(points))
    shift = torch.tensor([1.0, -2.0, 0.5])
    moved = cap.modes(shift.expand(1, len(points), 3))
    torch.testing.assert_close(moved, shift.expand(1, len(cap.points), 3))
    basis = torch.randn(2, len(points), 3, generator=generator)
    torch.testing.assert_close(
        cap.modes(basis[:1] + basis[1:]), cap.modes(basis[:1]) + cap.modes(basis[1:])
    )
    apex = basis[:, cap.loop.long()].mean(dim=1)
    torch.testing.assert_close(cap.modes(basis)[:, -1], apex)
