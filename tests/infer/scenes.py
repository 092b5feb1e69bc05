"""Heads before cameras of every kind, their crops, and their photographs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.rotation import rigid_matrix, rotation_exp, rotation_log
from hrnfit.infer.alignment import align_five, five_points
from hrnfit.infer.crop import Crop, crop_from_alignment
from hrnfit.model.linear import LinearFaceModel
from hrnfit.observe.observation import Landmarks
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.shade import safe_normalize, shade
from tests.model.faces import sheet, small_model

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
"""The head frame of an upright face that looks at the camera, in the camera's axes."""


@cache
def head() -> tuple[Tensor, Tensor]:
    points, faces = sheet()
    return points.double(), faces


@cache
def model() -> LinearFaceModel:
    return small_model().to(torch.float64)


def turned(pitch: float, yaw: float, roll: float) -> Tensor:
    """Rotation of the head in camera axes, degrees."""
    axes = torch.eye(3, dtype=torch.float64)
    p, y, r = (rotation_exp(axes[k] * math.radians(a)) for k, a in enumerate((pitch, yaw, roll)))
    return FLIP @ r @ p @ y


@dataclass(frozen=True)
class Case:
    camera: Camera
    T: Tensor
    """T_cam_head, mm."""
    crop: Crop


def case(
    *,
    focal: float = 1.5,
    distance: float = 600.0,
    angles: tuple[float, float, float] = (5.0, 20.0, -8.0),
    place: tuple[float, float] = (0.5, 0.5),
    lens: tuple[float, ...] = (),
    nudge: tuple[float, float] = (0.0, 0.0),
) -> Case:
    """A head seen at `place` (shares of the picture), focal length in picture widths."""
    width, height = 1000, 800
    f = focal * width
    K = [[f, 0.3, 0.52 * width], [0.0, 1.01 * f, 0.47 * height], [0.0, 0.0, 1.0]]
    camera = Camera.create(K, None, lens, height=height, width=width, name="known")
    pixel = torch.tensor([place[0] * width, place[1] * height], dtype=torch.float64)
    position = camera.unproject(pixel, pixel.new_tensor(distance))
    scale = 1.02 * distance / f  # 102 px per decimetre at the head's origin
    left, top = (int(float(p) * scale - 112 + n) for p, n in zip(pixel, nudge, strict=True))
    crop = Crop(height, width, int(height * scale), int(width * scale), left, top, 224)
    return Case(camera, rigid_matrix(turned(*angles), position), crop)


def random_case(rng: np.random.Generator) -> Case:
    """Any of what a user may come with: see the ranges."""
    return case(
        focal=float(np.exp(rng.uniform(np.log(0.8), np.log(6.0)))),
        distance=float(np.exp(rng.uniform(np.log(300.0), np.log(3000.0)))),
        angles=(rng.uniform(-30, 30), rng.uniform(-60, 60), rng.uniform(-40, 40)),
        place=(rng.uniform(0, 1), rng.uniform(0, 1)),
        lens=(rng.uniform(-0.2, 0.2), rng.uniform(-0.02, 0.02), *rng.uniform(-0.005, 0.005, 2)),
        nudge=(rng.uniform(-8, 8), rng.uniform(-8, 8)),
    )


def apart(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Difference of two poses: mm at the head's origin, degrees."""
    angle = rotation_log(a[:3, :3] @ b[:3, :3].mT).norm()
    return float((a[:3, 3] - b[:3, 3]).norm()), math.degrees(float(angle))


def five_crop(camera: Camera, T: Tensor, shape: Tensor, size: int = 224) -> Crop:
    """The crop by the head's own landmarks, as a detector would give them."""
    marks = model().landmarks["ibug68"]
    corners = shape[model().faces[marks.triangles.long()].long()]
    points = (corners * marks.barycentric.to(corners)[..., None]).sum(-2)
    pixels = replace(camera, T_cam_world=T).project(points)
    landmarks = Landmarks(pixels, torch.ones(68), "ibug68")
    alignment = align_five(five_points(landmarks), camera.height, camera.width)
    return crop_from_alignment(alignment, size)


def photograph(camera: Camera, T: Tensor, shape: Tensor, albedo: Tensor, light: Tensor) -> Tensor:
    """Linear RGB (H, W, 3) of the head at T in the camera's world, light in that world."""
    world = shape @ T[:3, :3].mT + T[:3, 3]
    points = torch.cat([camera.project(world), camera.depth(world)[:, None]], 1)[None]
    renderer, faces = CpuRasterizer(), model().faces
    raster = renderer.rasterize(points, faces, camera.height, camera.width)
    normals = renderer.interpolate(vertex_normals(world, faces)[None], raster, faces)
    uv = renderer.interpolate(model().uv[None], raster, model().uv_faces)
    colour = renderer.sample_texture(model().albedo(albedo)[None], uv)
    colour = colour * shade(safe_normalize(normals), light).clamp_min(0.0)
    colour = torch.where(raster.triangle[..., None] >= 0, colour, 0.0)
    return renderer.antialias(colour, raster, points, faces)[0]
