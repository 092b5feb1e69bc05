"""The rig: cameras around the subject, and their photographs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.geometry import mesh
from hrnfit.geometry.rotation import rigid_matrix, rotation_exp
from hrnfit.io.image import encode_srgb, linear_from_srgb
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import Landmarks
from hrnfit.render.shade import sh_basis
from hrnfit.synthetic.paint import paint, studio_light
from hrnfit.synthetic.subject import Subject, Truth, sample_shape

FRAMING = 1.35
"""Height of the picture at the head over the height of the model."""


@dataclass(frozen=True)
class SyntheticRig:
    """Photographs of one synthetic subject at one instant, and the truth behind them."""

    images: dict[str, Float[Tensor, "H W 3"]]
    """Linear RGB by camera name, rounded as in a file of 8 bits per channel."""
    cameras: tuple[Camera, ...]
    """The world has z up and its origin on the floor, as in a studio."""
    masks: dict[str, Float[Tensor, "H W"]]
    """Share of each pixel that the head covers."""
    landmarks: dict[str, Landmarks]
    """True positions of the model's points, px; occlusion is ignored."""
    seen: Bool[Tensor, "N"]
    """Vertices of the model that at least one camera sees."""
    truth: Truth


def synthetic_rig(
    model: FaceModel,
    *,
    seed: int = 0,
    yaws: Sequence[float] = (-30.0, 0.0, 30.0),
    size: int = 512,
    supersample: int = 2,
    subject: Subject | None = None,
    scheme: str = "mediapipe478",
) -> SyntheticRig:
    """A subject and its photographs, the same for the same arguments.

    yaws: direction of each camera, degrees, negative from the subject's right. size: the images are
    size x size px. scheme: of the landmarks.
    """
    subject = subject or Subject()
    rng = np.random.default_rng(seed)
    truth, dense = _subject_in_world(model, subject, rng)
    cameras = rig_cameras(truth, yaws, size, rng)
    images: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    seen = torch.zeros(len(dense), dtype=torch.bool)
    for camera in cameras:
        image, mask, triangles = _photograph(truth, dense, camera, supersample)
        seen[truth.shape.faces[triangles].long().reshape(-1)] = True
        images[camera.name] = _develop(image, mask, subject.noise, rng)
        masks[camera.name] = mask
    landmarks = _landmarks(model, truth, cameras, scheme)
    return SyntheticRig(images, cameras, masks, landmarks, seen[: len(truth.mid)], truth)


def rig_cameras(
    truth: Truth, yaws: Sequence[float], size: int, rng: np.random.Generator
) -> tuple[Camera, ...]:
    """Cameras named cam_0 ... that look at the head, each with a lens of its own."""
    R = truth.T_world_head[:3, :3].double()
    head = truth.mid.double() @ R
    low, high = head.amin(0), head.amax(0)
    centre = R @ ((low + high) / 2)
    framed = FRAMING * float(high[1] - low[1])
    cameras = []
    for i, yaw in enumerate(yaws):
        angle, rise = math.radians(yaw), math.radians(rng.uniform(-8, 12))
        focal = size * rng.uniform(2.0, 3.0)
        forwards = [math.sin(angle), math.tan(rise), math.cos(angle)]
        towards = torch.nn.functional.normalize(torch.tensor(forwards, dtype=torch.float64), dim=0)
        position = centre + R @ towards * (focal * framed / size)
        straight = Camera.look_at(position, centre, R[:, 1], focal=focal, height=size, width=size)
        K = straight.K.clone()
        K[1, 1] *= 1 + rng.uniform(-0.003, 0.003)
        K[:2, 2] += torch.from_numpy(rng.uniform(-0.02, 0.02, 2)) * size
        pose = straight.T_cam_world
        cameras.append(Camera.create(K, pose, height=size, width=size, name=f"cam_{i}"))
    return tuple(cameras)


def _subject_in_world(
    model: FaceModel, subject: Subject, rng: np.random.Generator
) -> tuple[Truth, Float[Tensor, "M 3"]]:
    """The subject, seated in a studio: z up, some 1.2 m above the floor."""
    shape = sample_shape(model, subject, rng)
    upright = rotation_exp(torch.tensor([math.pi / 2, 0.0, 0.0]))
    turned = rotation_exp(torch.from_numpy(rng.normal(0, 0.1, 3)).float())
    place = torch.from_numpy(np.array([80, -40, 1200]) + rng.normal(0, 30, 3)).float()
    T = rigid_matrix(upright @ turned, place)
    coefficients, albedo = paint(model, subject, rng)
    coarse, mid, dense = (_moved(T, points) for points in (shape.coarse, shape.mid, shape.surface))
    truth = Truth(
        shape=shape,
        T_world_head=T,
        albedo_coefficients=coefficients,
        albedo=albedo,
        light=studio_light(rng, T[:3, :3]),
        coarse=coarse,
        mid=mid,
        surface=dense[: len(mid)],
        normals=mesh.vertex_normals(dense, shape.faces)[: len(mid)],
    )
    return truth, dense


def _photograph(
    truth: Truth, dense: Float[Tensor, "M 3"], camera: Camera, supersample: int
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"], Int[Tensor, "K"]]:
    """Radiance and coverage per pixel, and the triangles that are seen."""
    from hrnfit.render.cpu import CpuRasterizer  # local: numba

    shape, renderer = truth.shape, CpuRasterizer()
    height, width = camera.height * supersample, camera.width * supersample
    pixels = camera.project(dense.double()) * supersample
    points = torch.cat([pixels, camera.depth(dense.double())[:, None]], -1).float()[None]
    raster = renderer.rasterize(points, shape.faces, height, width)
    uv = renderer.interpolate(shape.uv[None], raster, shape.uv_faces)
    normals = mesh.vertex_normals(dense, shape.faces)
    normals = renderer.interpolate(normals[None], raster, shape.faces)[0]
    normals = normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    albedo = renderer.sample_texture(truth.albedo[None], uv)[0]
    radiance = albedo * (sh_basis(normals) @ truth.light).clamp_min(0)
    covered = (raster.triangle[0] >= 0).float()
    stack = torch.cat([radiance * covered[..., None], covered[..., None]], -1).movedim(-1, 0)
    pooled = torch.nn.functional.avg_pool2d(stack, supersample).movedim(0, -1)
    return pooled[..., :3], pooled[..., 3], raster.triangle[raster.triangle >= 0].unique()


def _develop(
    radiance: Float[Tensor, "H W 3"],
    mask: Float[Tensor, "H W"],
    noise: float,
    rng: np.random.Generator,
) -> Float[Tensor, "H W 3"]:
    """Before a backdrop, with sensor noise, rounded to 8 bits."""
    height, width = mask.shape
    x = torch.linspace(0, 1, width)[None, :, None]
    y = torch.linspace(0, 1, height)[:, None, None]
    tint = torch.from_numpy(rng.uniform(0.08, 0.3, 3)).float()
    backdrop = tint * (0.7 + 0.4 * x - 0.3 * y)
    image = radiance + (1 - mask[..., None]) * backdrop
    image = image + noise * torch.from_numpy(rng.normal(size=image.shape)).float()
    codes = encode_srgb(image.clamp(0, 1))
    return linear_from_srgb(torch.from_numpy(codes.astype(np.float32)) / 255)


def _landmarks(
    model: FaceModel, truth: Truth, cameras: Sequence[Camera], scheme: str
) -> dict[str, Landmarks]:
    marks = model.landmarks[scheme]
    corners = truth.surface[model.faces[marks.triangles.clamp_min(0).long()].long()]
    points = (corners * marks.barycentric.to(corners)[..., None]).sum(-2).double()
    confidence = (marks.triangles >= 0).float()
    return {c.name: Landmarks(c.project(points).float(), confidence, scheme) for c in cameras}


def _moved(T: Float[Tensor, "4 4"], points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    return points @ T[:3, :3].T + T[:3, 3]
