"""Measuring landmarks: points that a stand-in detector marks come back as their own embedding."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from hrnfit.fit.dense_landmarks import (
    DenseSettings,
    Shot,
    back_project,
    measure_landmarks,
    take_shot,
    with_dense_landmarks,
)
from hrnfit.model.linear import landmark_positions
from hrnfit.model.load import load_model
from hrnfit.model.painting import painted_scene
from hrnfit.observe.landmarks import MediaPipeDetector
from hrnfit.observe.observation import Landmarks
from hrnfit.render.cpu import CpuRasterizer
from tests.model.faces import small_model

SMALL = DenseSettings(yaws_deg=(-25.0, 0.0, 25.0), pitches_deg=(0.0,), samples=2, size=128)


@dataclass
class Recorder:
    """A rasterizer that remembers where it drew the vertices."""

    inner: CpuRasterizer = field(default_factory=CpuRasterizer)
    points: Tensor | None = None

    def rasterize(self, points, faces, height, width):
        self.points = points[0]
        return self.inner.rasterize(points, faces, height, width)

    def interpolate(self, attributes, raster, faces):
        return self.inner.interpolate(attributes, raster, faces)

    def sample_texture(self, texture, uv):
        return self.inner.sample_texture(texture, uv)

    def antialias(self, image, raster, points, faces):
        return self.inner.antialias(image, raster, points, faces)


@dataclass
class KnowingDetector:
    """Marks given vertices, `noise` px off; sees nothing in the first `blind` pictures."""

    recorder: Recorder
    vertices: Tensor
    noise: float = 0.0
    blind: int = 0
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(3))

    def __call__(self, image):
        self.blind -= 1
        if self.blind >= 0:
            return None
        assert self.recorder.points is not None
        marks = 0.5 * self.recorder.points[self.vertices, :2]  # drawn at twice the size
        marks = marks + self.noise * torch.randn(marks.shape, generator=self.generator)
        return Landmarks(marks, torch.ones(len(marks)), "mediapipe478")


def frontal(model, places):
    distance = torch.cdist(torch.tensor(places), model.mean[:, :2])
    return distance.argmin(dim=1)


PLACES = [[0.0, 80.0], [25.0, 5.0], [-25.0, 5.0], [0.0, -2.0], [20.0, -70.0], [-20.0, -70.0]]


def test_marked_vertices_come_back():
    model = small_model()
    recorder = Recorder()
    vertices = frontal(model, PLACES)
    seen: list[tuple[int, int]] = []
    found = measure_landmarks(
        model, KnowingDetector(recorder, vertices), recorder, SMALL, lambda *n: seen.append(n)
    )
    places = landmark_positions(model.mean, model.faces, found)
    assert (places - model.mean[vertices]).norm(dim=1).max() < 0.5
    assert found.spread.max() < 0.5
    assert seen[-1] == (9, 9)


def test_noise_becomes_spread():
    model = small_model()
    recorder = Recorder()
    mm_per_px = SMALL.field / SMALL.size
    detector = KnowingDetector(recorder, frontal(model, PLACES), noise=1.0)
    found = measure_landmarks(model, detector, recorder, SMALL)
    assert 0.5 * mm_per_px < float(found.spread.mean()) < 2.0 * mm_per_px


def test_too_few_faces_is_an_error():
    model = small_model()
    recorder = Recorder()
    detector = KnowingDetector(recorder, frontal(model, PLACES), blind=5)
    with pytest.raises(ValueError, match="a face was found in 4 of 9 renders"):
        measure_landmarks(model, detector, recorder, SMALL)


def test_back_projection_inverts_projection():
    model = small_model()
    scene = painted_scene(model, model.mean)
    shot = take_shot(scene, torch.zeros(3), torch.eye(3), (0.0, 0.0, 1.0), CpuRasterizer(), SMALL)
    vertices = frontal(model, PLACES)
    hits = back_project(0.5 * shot.points[vertices, :2], torch.ones(6), shot, scene.faces)
    corners = scene.vertices[scene.faces[hits.triangles.long()].long()]
    places = (corners * hits.barycentric[..., None]).sum(dim=1)
    assert torch.allclose(places, model.mean[vertices], atol=0.05)
    assert hits.weight.min() > 0.3
    outside = back_project(torch.tensor([[1.0, 1.0]]), torch.ones(1), shot, scene.faces)
    assert outside.weight.item() == 0.0


def test_light_from_the_left_brightens_the_left():
    model = small_model()
    scene = painted_scene(model, model.mean)

    def sides(light) -> tuple[float, float]:
        shot: Shot = take_shot(scene, torch.zeros(3), torch.eye(3), light, CpuRasterizer(), SMALL)
        half = SMALL.size // 2
        return float(shot.image[:, :half].mean()), float(shot.image[:, half:].mean())

    image_left, image_right = sides((0.8, 0.5, 0.7))
    assert image_right > 1.05 * image_left  # the subject's left is +x, the picture's right


def test_a_measured_model_is_left_alone():
    model = small_model()
    recorder = Recorder()
    detector = KnowingDetector(recorder, frontal(model, PLACES))
    first = with_dense_landmarks(model, detector, recorder, SMALL)
    assert "mediapipe478" in first.landmarks
    recorder.points = None
    assert with_dense_landmarks(first, detector, recorder) is first
    assert recorder.points is None


def test_mediapipe_sees_the_shipped_points_on_the_real_mean(data_dir, mediapipe):
    model = load_model(data_dir / "ict" / "ict_facehead_f16.npz")
    scene = painted_scene(model, model.mean)
    settings = DenseSettings(size=384)
    marks = model.landmarks["mediapipe478"]
    focus = landmark_positions(model.mean, model.faces, marks)[:468].mean(dim=0)
    shot = take_shot(scene, focus, torch.eye(3), (0.0, 0.3, 1.0), CpuRasterizer(), settings)
    found = MediaPipeDetector().detect(shot.image)
    assert found is not None
    expected = 0.5 * landmark_positions(shot.points, model.faces, marks)[:468, :2]
    gap_mm = (found.points[:468] - expected).norm(dim=1) * settings.field / settings.size
    assert gap_mm.median() < 1.5
