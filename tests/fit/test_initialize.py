"""The start from landmarks, on a small linear face of our own with known unknowns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.fit.focal import lowest_point
from hrnfit.fit.initialize import LandmarkStart, initialize
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.face_model import LandmarkSet, ModelInfo, ShapeTangent, forward_tangent
from hrnfit.observe.facemesh import IBUG68
from hrnfit.observe.observation import Landmarks, View

POINTS, IDENTITY, EXPRESSION = 68, 4, 3


def bowl() -> Tensor:
    """68 points of a bowl with a nose, mm, head frame."""
    generator = torch.Generator().manual_seed(3)
    xy = 140 * (torch.rand(POINTS, 2, generator=generator) - 0.5)
    z = -0.008 * xy.square().sum(-1) + 25 * torch.exp(-xy.square().sum(-1) / 300)
    return torch.cat([xy, z[:, None]], -1)


def smooth_modes(count: int, size: float) -> Tensor:
    """Smooth displacement fields of the bowl, mm at coefficient 1."""
    generator = torch.Generator().manual_seed(count)
    phase = torch.rand(count, 3, 3, generator=generator) * 6
    return size * torch.sin(
        bowl() @ (0.02 * torch.randn(count, 3, 3, generator=generator)) + phase[:, :1]
    )


@dataclass(frozen=True)
class SmallFace:
    """A `FaceModel` whose vertices are its landmarks."""

    mean: Tensor = field(default_factory=bowl)
    identity_basis: Tensor = field(default_factory=lambda: smooth_modes(IDENTITY, 4.0))
    expression_basis: Tensor = field(default_factory=lambda: smooth_modes(EXPRESSION, 6.0))
    expression_is_blendshape: bool = True

    info = ModelInfo("small", "Apache-2.0", True, "this test")
    n_identity, n_expression, n_albedo = IDENTITY, EXPRESSION, 0
    expression_names = ("a", "b", "c")
    shape_is_linear = True
    regions: dict[str, Tensor] = field(default_factory=dict)
    mirror: Tensor | None = None

    @property
    def faces(self) -> Tensor:
        i = torch.arange(POINTS, dtype=torch.int32)
        return torch.stack([i, i.roll(1), i.roll(2)], -1)

    @property
    def uv(self) -> Tensor:
        return torch.zeros(POINTS, 2)

    @property
    def uv_faces(self) -> Tensor:
        return self.faces

    @property
    def jaw_contour(self) -> Tensor:
        return torch.full((17, 1), -1, dtype=torch.int32)

    @property
    def landmarks(self) -> dict[str, LandmarkSet]:
        corner = torch.tensor([1.0, 0.0, 0.0]).repeat(POINTS, 1)
        index = torch.arange(POINTS, dtype=torch.int32)
        return {"ibug68": LandmarkSet(index, corner, torch.zeros(POINTS))}

    def shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        offset = torch.tensordot(identity, self.identity_basis, 1)
        return self.mean + offset + torch.tensordot(expression, self.expression_basis, 1)

    def tangent(self, identity: Tensor, expression: Tensor) -> ShapeTangent:
        return forward_tangent(self, identity, expression)

    def albedo(self, coefficients: Tensor) -> Tensor:
        return torch.full((2, 2, 3), 0.5)

    def to(self, target: torch.dtype | torch.device | str) -> SmallFace:
        return self


IDENTITY_TRUTH = torch.tensor([0.8, -0.5, 0.6, -0.3])
EXPRESSION_TRUTH = torch.tensor([0.5, 0.0, 0.2])
HEAD = pose_matrix(
    torch.tensor([0.1, 0.6, -0.2, 300.0, -4000.0, 900.0]).double(), torch.eye(4).double()
)
LOOSE = LandmarkStart(evidence=1e6)
"""Landmarks without noise deserve more trust than a detector's."""


def face_points(pose: Tensor = HEAD) -> Tensor:
    x = SmallFace().shape(IDENTITY_TRUTH, EXPRESSION_TRUTH).double()
    return x @ pose[:3, :3].mT + pose[:3, 3]


def rig(yaws: tuple[float, ...], distortion: tuple[float, ...] = ()) -> tuple[View, ...]:
    """Cameras around the head, wherever it lies in the world."""
    centre, R = HEAD[:3, 3], HEAD[:3, :3]
    views = []
    for i, yaw in enumerate(yaws):
        direction = torch.tensor([yaw, 0.1, 1.0]).double()
        camera = Camera.look_at(
            centre + R @ (800 * direction / direction.norm()), centre, up=R[:, 1],
            focal=1800.0, height=600, width=640, name=f"cam_{i}",
        )  # fmt: skip
        camera = replace(camera, distortion=torch.tensor(distortion, dtype=torch.float64))
        views.append(seen(camera, 0, known=True))
    return tuple(views)


def seen(camera: Camera, frame: int, known: bool, points: Tensor | None = None) -> View:
    pixels = camera.project(face_points() if points is None else points).float()
    marks = Landmarks(pixels, torch.ones(POINTS), "ibug68")
    image = torch.zeros(camera.height, camera.width, 3)
    return View(camera.name, image, camera, known, frame, marks)


def photo(i: int, log_focal: float, distance: float, yaw: float) -> View:
    """A photograph whose camera is guessed wrongly by a factor."""
    tangent = torch.tensor([torch.pi, 0.0, 0.0, 10.0, -5.0, distance]).double()
    turn = pose_matrix(torch.tensor([0.05, yaw, 0, 0, 0, 0]).double(), torch.eye(4).double())
    pose = pose_matrix(tangent, torch.eye(4).double()) @ turn
    K = torch.tensor([[1500.0, 0, 400], [0, 1500.0, 400], [0, 0, 1]]).double()
    true_K = K.clone()
    true_K[:2, :2] *= torch.tensor(log_focal).exp()
    true = Camera.create(true_K, height=800, width=800, name=f"photo_{i}")
    view = seen(true, i, known=False, points=face_points(pose))
    return replace(view, camera=replace(true, K=K))


@pytest.mark.parametrize(
    ("yaws", "distortion"),
    [((0.0,), ()), ((-0.5, 0.5), ()), ((-0.6, 0.0, 0.6), (-0.12, 0.05, 0.001, -0.0007, 0.0))],
)
def test_a_calibrated_head_is_found_anywhere_in_the_world(yaws, distortion):
    start = initialize(rig(yaws, distortion), SmallFace(), settings=LOOSE)
    vertices = SmallFace().shape(start.identity, start.expression[0])
    T = start.pose_reference[0]
    error = (vertices @ T[:3, :3].mT + T[:3, 3] - face_points().float()).norm(dim=-1)
    assert error.mean() < (0.1 if len(yaws) > 1 else 1.0)
    assert (start.dropped, start.warnings) == ((), ())
    assert max(start.errors.values()) < 0.1
    assert torch.equal(start.log_focal, torch.zeros(len(yaws)))


def test_the_world_may_turn():
    """Head and cameras moved together: the same coefficients."""
    views = rig((-0.4, 0.4))
    G = pose_matrix(
        torch.tensor([1.0, -2.0, 0.5, 100.0, 2e3, -50.0]).double(), torch.eye(4).double()
    )
    moved = tuple(
        replace(
            view,
            camera=replace(view.camera, T_cam_world=view.camera.T_cam_world @ torch.linalg.inv(G)),
        )
        for view in views
    )
    here, there = (initialize(v, SmallFace()) for v in (views, moved))
    assert torch.allclose(here.identity, there.identity, atol=1e-3)
    assert torch.allclose(G.float() @ here.pose_reference[0], there.pose_reference[0], atol=2e-2)


def test_priors_hold_identity_back_and_activations_stay_in_bounds():
    tight = initialize(
        rig((-0.5, 0.5)), SmallFace(), settings=LandmarkStart(identity_deviation=1e-3)
    )
    assert tight.identity.norm() < 1e-2
    start = initialize(rig((-0.5, 0.5)), SmallFace(), settings=LOOSE)
    assert start.expression.min() >= 0.0
    assert start.expression.max() <= 1.0
    assert torch.allclose(start.expression[0], EXPRESSION_TRUTH, atol=0.05)


def test_focal_lengths_of_photographs_within_ten_per_cent():
    model = replace(SmallFace(), mean=SmallFace().shape(IDENTITY_TRUTH, EXPRESSION_TRUTH))
    truth = (-0.35, 0.0, 0.4)
    views = tuple(
        photo(i, f, 650.0 * 2.718**f, yaw)
        for i, (f, yaw) in enumerate(zip(truth, (0.3, -0.4, 0.6), strict=False))
    )
    x = model.shape(torch.zeros(IDENTITY), torch.zeros(EXPRESSION))
    assert torch.allclose(x, SmallFace().shape(IDENTITY_TRUTH, EXPRESSION_TRUTH))
    start = initialize(views, model)
    assert torch.allclose(start.log_focal, torch.tensor(truth), atol=0.1)
    assert start.pose_reference.shape == (3, 4, 4)


def test_a_trusted_focal_length_is_kept():
    view = photo(0, 0.4, 900.0, 0.3)
    start = initialize((view,), SmallFace(), focal_known=(True,))
    assert abs(float(start.log_focal)) < 0.05


def test_a_view_that_contradicts_the_rig_is_named_and_left_out():
    views = list(rig((-0.6, -0.2, 0.2, 0.6)))
    wrong = views[1].landmarks
    assert wrong is not None
    turned = wrong.points + torch.tensor([120.0, -60.0])  # its camera was knocked
    views[1] = replace(views[1], landmarks=replace(wrong, points=turned))
    start = initialize(tuple(views), SmallFace(), settings=LOOSE)
    assert start.dropped == ("cam_1",)
    assert "'cam_1' is left out" in start.warnings[0]
    assert max(start.errors.values()) < 0.1


def test_a_photo_without_a_face_is_left_out():
    views = (photo(0, 0.0, 700.0, 0.2), replace(photo(1, 0.0, 700.0, 0.1), landmarks=None))
    start = initialize(views, SmallFace())
    assert start.dropped == ("photo_1",)
    assert "no face was found" in start.warnings[0]
    assert start.expression.shape == (2, EXPRESSION)


def test_a_calibrated_view_without_landmarks_stays():
    views = rig((-0.4, 0.0, 0.4))
    start = initialize((*views[:2], replace(views[2], landmarks=None)), SmallFace())
    assert start.dropped == ()
    assert set(start.errors) == {"cam_0", "cam_1"}


def test_no_face_anywhere_says_what_to_do():
    views = tuple(replace(view, landmarks=None) for view in rig((0.0, 0.4)))
    with pytest.raises(ValueError, match=r"no face was found; pass landmarks=.*hrnfit\[detect\]"):
        initialize(views, SmallFace())


def test_a_scheme_that_the_model_lacks_is_named():
    @dataclass(frozen=True)
    class Bare(SmallFace):
        @property
        def landmarks(self) -> dict[str, LandmarkSet]:
            return {}

    with pytest.raises(ValueError, match="'small' has no 'ibug68' landmarks"):
        initialize(rig((0.0,)), Bare())


def test_dense_detections_start_a_model_that_knows_68_points():
    (view,) = rig((0.0,))
    assert view.landmarks is not None
    dense = torch.zeros(478, 2)
    dense[list(IBUG68)] = view.landmarks.points
    marks = Landmarks(dense, torch.ones(478), "mediapipe478")
    start = initialize((replace(view, landmarks=marks),), SmallFace(), settings=LOOSE)
    assert start.errors["cam_0"] < 0.5


def test_views_of_one_instant_need_cameras():
    views = tuple(replace(view, camera_known=False) for view in rig((0.0, 0.4)))
    with pytest.raises(ValueError, match="share frame 0, but the camera of 'cam_0' is unknown"):
        initialize(views, SmallFace())


def test_five_points_place_a_head():
    (view,) = rig((0.0,))
    marks = view.landmarks
    assert marks is not None
    p = marks.points
    five = torch.stack([p[36:42].mean(0), p[42:48].mean(0), p[30], p[48], p[54]])
    few = replace(view, landmarks=Landmarks(five, torch.ones(5), "five"))
    start = initialize((few,), SmallFace())
    T = start.pose_reference[0].double()
    centre = face_points().mean(0)
    mean = SmallFace().mean.double() @ T[:3, :3].mT + T[:3, 3]
    assert (view.camera.project(mean.mean(0)) - view.camera.project(centre)).norm() < 40


def test_lowest_point_of_a_parabola():
    grid = (-1.0, 0.0, 1.0, 2.0)
    assert lowest_point(grid, [(x - 0.4) ** 2 for x in grid]) == pytest.approx(0.4)
    assert lowest_point(grid, list(grid)) == -1.0
