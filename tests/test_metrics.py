"""Distances whose values follow from geometry: spheres, planes, known motions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hrnfit.geometry.rotation import rotation_exp
from hrnfit.metrics import Surface, check_alignment, normal_angle, scan_to_mesh, vertex_scores


def sphere(radius: float = 50.0, level: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=level, radius=radius)
    return torch.from_numpy(np.array(mesh.vertices)), torch.from_numpy(np.array(mesh.faces))


def ellipsoid() -> tuple[torch.Tensor, torch.Tensor]:
    vertices, faces = sphere(1.0, 3)
    bumps = 1 + 0.05 * torch.sin(4 * vertices[:, :1]) * torch.cos(3 * vertices[:, 1:2])
    return vertices * bumps * torch.tensor([60.0, 90.0, 75.0]), faces


def square() -> tuple[torch.Tensor, torch.Tensor]:
    """z = 0, x and y in 0..4, two triangles."""
    corners = torch.tensor([[0.0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]])
    return corners, torch.tensor([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize(
    ("point", "distance", "nearest"),
    [
        ((3.0, 1.0, 2.0), 2.0, (3.0, 1.0, 0.0)),  # above the inside: the foot of the perpendicular
        ((5.0, 2.0, 0.0), 1.0, (4.0, 2.0, 0.0)),  # beside an edge
        ((7.0, 8.0, 0.0), 5.0, (4.0, 4.0, 0.0)),  # beyond a corner: 3-4-5
        ((2.0, 2.0, 0.0), 0.0, (2.0, 2.0, 0.0)),  # on the shared diagonal
    ],
)
def test_nearest_point_of_a_square(point, distance, nearest):
    found = Surface(*square()).nearest(torch.tensor([point]))
    assert found.distance[0] == pytest.approx(distance, abs=1e-9)
    assert found.points[0].tolist() == pytest.approx(nearest, abs=1e-9)
    assert found.barycentric[0].sum() == pytest.approx(1.0)


def test_nearest_is_exact_among_triangles_of_very_different_size():
    """A large triangle whose centre is far may still be the nearest one: against all pairs."""
    rng = np.random.default_rng(0)
    vertices, faces = sphere(10.0, 2)
    big = torch.tensor([[-300.0, -300, -11], [300, -300, -11], [0, 400, -11]])
    vertices, faces = (
        torch.cat([vertices, big]),
        torch.cat([faces, torch.tensor([[0, 1, 2]]) + len(vertices)]),
    )
    points = torch.from_numpy(rng.normal(0, 15, (200, 3)))
    found = Surface(vertices, faces).nearest(points)
    dense = torch.full((200,), torch.inf, dtype=torch.float64)
    for face in faces:  # one triangle at a time is exact by the test above
        alone = Surface(vertices[face], torch.tensor([[0, 1, 2]])).nearest(points)
        dense = torch.minimum(dense, alone.distance)
    assert torch.allclose(found.distance, dense, atol=1e-9)
    assert (found.triangle == len(faces) - 1).sum() > 10


def test_concentric_spheres_are_their_radii_apart():
    vertices, faces = sphere(50.0)
    scores = scan_to_mesh(vertices * (50.7 / 50.0), vertices, faces)
    assert scores.median == pytest.approx(0.7, abs=1e-3)
    assert scores.p95 == pytest.approx(0.7, abs=1e-3)
    assert scores.scale == 1.0
    assert math.isnan(scores.normal_mean)


def test_shifted_sphere_has_the_distances_of_its_cosines():
    """A sphere shifted by d is |d cos| away to first order: half of d on average and in the median."""
    vertices, faces = sphere(50.0)
    shifted = vertices + torch.tensor([0.0, 0.0, 0.4])
    scores = scan_to_mesh(shifted, vertices, faces, normals=vertices / 50.0)
    assert scores.mean == pytest.approx(0.2, rel=0.02)
    assert scores.median == pytest.approx(0.2, rel=0.04)
    assert scores.p95 == pytest.approx(0.38, rel=0.02)
    # the normal at the nearest point turns by d sin / r: pi / 4 of it on average
    assert scores.normal_mean == pytest.approx(math.degrees(0.4 * math.pi / 4 / 50), rel=0.3)


def test_alignment_recovers_a_motion_and_rigid_keeps_the_size():
    vertices, faces = ellipsoid()
    turn = rotation_exp(torch.tensor([0.2, -0.1, 0.3], dtype=torch.float64))
    scan = 1.03 * vertices @ turn.T + torch.tensor([5.0, -3.0, 8.0])
    marks = vertices[:60:9]
    near = scan[:60:9] + torch.from_numpy(np.random.default_rng(1).normal(0, 0.8, (7, 3)))
    pairs = (marks, near)
    similar = scan_to_mesh(scan, vertices, faces, alignment="similarity", pairs=pairs)
    rigid = scan_to_mesh(scan, vertices, faces, alignment="rigid", pairs=pairs)
    assert similar.median < 1e-3
    assert similar.scale == pytest.approx(1.03, abs=1e-4)
    assert rigid.scale == 1.0
    # 3 % of 60 to 90 mm is what a rigid motion cannot take up
    assert 1.5 < rigid.mean < 2.7


def test_scores_do_not_change_when_scan_and_mesh_move_together():
    vertices, faces = ellipsoid()
    scan = vertices * 1.01
    turn = rotation_exp(torch.tensor([0.5, 0.2, -0.4], dtype=torch.float64))
    before = scan_to_mesh(scan, vertices, faces)
    after = scan_to_mesh(scan @ turn.T + 7, vertices @ turn.T + 7, faces)
    assert after.median == pytest.approx(before.median, abs=1e-9)
    assert after.p95 == pytest.approx(before.p95, abs=1e-9)


def test_vertex_error_splits_along_and_across_the_normal():
    true = torch.zeros(4, 3)
    normals = torch.tensor([[0.0, 0.0, 1.0]]).repeat(4, 1)
    found = torch.tensor([[3.0, 0.0, -4.0]]).repeat(4, 1)
    found[3] = 1000.0
    scores = vertex_scores(found, true, normals, torch.tensor([True, True, True, False]))
    assert scores.median == scores.mean == scores.p95 == pytest.approx(5.0)
    assert scores.along_median == scores.along_p95 == pytest.approx(4.0)
    assert scores.across_median == pytest.approx(3.0)


def test_normal_angle_by_hand_and_at_its_ends():
    a = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0.0, 2.0, 0], [1.0, 0, 0]])
    b = torch.tensor([[0.0, 3.0, 0], [1.0, 1.0, 0], [0.0, 1.0, 0], [-1.0, 0, 0]])
    assert normal_angle(a, b).tolist() == pytest.approx([90, 45, 0, 180])
    assert normal_angle(a[None, :2], b[None, :2]).shape == (1, 2)


def test_errors_say_what_to_pass():
    vertices, faces = square()
    with pytest.raises(ValueError, match="expected none, rigid, similarity, got 'sim'"):
        check_alignment("sim", None)
    with pytest.raises(ValueError, match="pass pairs="):
        scan_to_mesh(vertices, vertices, faces, alignment="rigid")
    with pytest.raises(ValueError, match="at least one triangle"):
        Surface(vertices, faces[:0])
    with pytest.raises(ValueError, match="no vertex is left"):
        vertex_scores(vertices, vertices, vertices, torch.zeros(4, dtype=torch.bool))


def test_agrees_with_the_protocol_of_the_data_folder(data_dir, monkeypatch):
    """Same scan, same mesh, same sampling: the two implementations give one number."""
    pytest.importorskip("igl")
    from benchmarks import data

    protocol, truth = data.protocol(), data.rig_truth()
    monkeypatch.setattr(protocol, "SAMPLES", 1500)
    mean = protocol.ict_mean_face(data_dir / "ict" / "ict_facehead_f16.npz")
    points, normals, _ = protocol.scan_points(truth, "now", "area")
    official = protocol.evaluate(mean, truth, "sim")
    start = torch.from_numpy(mean.landmarks), torch.from_numpy(truth.landmarks)
    ours = scan_to_mesh(
        torch.from_numpy(points),
        torch.from_numpy(mean.vertices),
        torch.from_numpy(mean.faces),
        normals=torch.from_numpy(normals),
        alignment="similarity",
        pairs=start,
    )
    assert ours.median == pytest.approx(official.median, rel=2e-3)
    assert ours.scale == pytest.approx(official.scale, abs=1e-4)
    assert ours.normal_mean == pytest.approx(official.normal_mean, rel=0.01)
