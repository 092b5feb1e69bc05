"""The real scan, painted and photographed by a rig: a face that no model made.

The scan has no colours, so a solid skin texture is laid through it: blotches, mottling and grain as noise
in space, brows and lips along its landmarks. Light, lenses and sensor noise are those of the
synthetic rigs; the detector looks at the pictures.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks import data
from benchmarks.cases import Case
from hrnfit.camera import Camera
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.io.image import encode_srgb, linear_from_srgb
from hrnfit.render.shade import sh_basis
from hrnfit.synthetic.paint import studio_light

SIZE = 1024
SUPERSAMPLE = 2
YAWS = {3: (-30.0, 0.0, 30.0), 5: (-60.0, -30.0, 0.0, 30.0, 60.0)}
SKIN = (0.40, 0.23, 0.16)
LIPS = (0.30, 0.11, 0.09)
BROWS = (0.08, 0.05, 0.035)
OCTAVES = ((14.0, 0.05), (5.0, 0.05), (2.0, 0.06), (1.0, 0.05))
"""Size (mm) and contrast (share of the albedo) of the texture."""
NOISE = 0.004
SEED = 11


@cache
def scan_case(views: int) -> Case:
    """The scan before a calibrated rig of 3 or 5 cameras."""
    truth = data.protocol().load_truth(data.data_folder() / "scan" / "ground_truth.npz")
    rng = np.random.default_rng(SEED)
    vertices = torch.from_numpy(truth.vertices)
    faces = torch.from_numpy(truth.faces).int()
    colour = painted(truth.vertices, rng)
    cameras = rig(YAWS[views], rng)
    light = studio_light(rng, torch.eye(3))
    normals = vertex_normals(vertices.float(), faces)
    radiance = colour * (sh_basis(normals) @ light).clamp_min(0)
    images: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for camera in cameras:
        images[camera.name], masks[camera.name] = photographed(
            vertices, faces, radiance, camera, rng
        )
    return Case("scan", images, truth, cameras, masks)


def painted(vertices: Float[np.ndarray, "N 3"], rng: np.random.Generator) -> Float[Tensor, "N 3"]:
    """Linear albedo per vertex."""
    with np.load(data.data_folder() / "scan" / "ground_truth.npz") as file:
        marks = np.concatenate([np.full((17, 3), np.nan), file["lm51"]])
    stops = sum(contrast * solid_noise(vertices, size, rng) for size, contrast in OCTAVES)
    albedo = np.tile(SKIN, (len(vertices), 1)) * np.exp(stops)[:, None]
    for row, reach, tone in (
        (marks[17:22], 3.5, BROWS),
        (marks[22:27], 3.5, BROWS),
        (marks[[48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 48]], 3.5, LIPS),
        (marks[[60, 61, 62, 63, 64]], 1.0, BROWS),
        (marks[[36, 41, 40, 39]], 1.2, BROWS),
        (marks[[42, 47, 46, 45]], 1.2, BROWS),
    ):
        share = np.exp(-((line_distance(vertices, row) / reach) ** 4))[:, None]
        albedo = albedo * (1 - share) + share * np.array(tone)
    return torch.from_numpy(albedo).float().clamp(0.01, 0.95)


def solid_noise(
    points: Float[np.ndarray, "N 3"], size: float, rng: np.random.Generator, waves: int = 64
) -> Float[np.ndarray, "N"]:
    """Noise of unit variance through space, alike over about `size` mm."""
    directions = rng.normal(size=(waves, 3)) / size
    phases = rng.uniform(0, 2 * np.pi, waves)
    return np.cos(points @ directions.T + phases).sum(1) * np.sqrt(2.0 / waves)


def line_distance(
    points: Float[np.ndarray, "N 3"], line: Float[np.ndarray, "K 3"]
) -> Float[np.ndarray, "N"]:
    """Distance to a polyline in space, mm."""
    best = np.full(len(points), np.inf)
    for a, b in itertools.pairwise(line):
        along = b - a
        t = np.clip((points - a) @ along / (along @ along), 0, 1)[:, None]
        best = np.minimum(best, np.linalg.norm(points - a - t * along, axis=1))
    return best


def rig(yaws: tuple[float, ...], rng: np.random.Generator) -> tuple[Camera, ...]:
    """Cameras around the face, each with a lens of its own."""
    centre = torch.tensor([0.0, -20.0, 20.0], dtype=torch.float64)
    cameras = []
    for i, yaw in enumerate(yaws):
        angle, rise = math.radians(yaw), math.radians(rng.uniform(-8, 12))
        focal = SIZE * rng.uniform(2.0, 3.0)
        towards = torch.tensor([math.sin(angle), math.tan(rise), math.cos(angle)]).double()
        place = centre + towards / towards.norm() * (focal * 300.0 / SIZE)
        up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
        plain = Camera.look_at(place, centre, up, focal=focal, height=SIZE, width=SIZE)
        K = plain.K.clone()
        K[:2, 2] += torch.from_numpy(rng.uniform(-0.02, 0.02, 2)) * SIZE
        pose = plain.T_cam_world
        cameras.append(Camera.create(K, pose, height=SIZE, width=SIZE, name=f"cam_{i}"))
    return tuple(cameras)


def photographed(
    vertices: Float[Tensor, "N 3"],
    faces: Tensor,
    radiance: Float[Tensor, "N 3"],
    camera: Camera,
    rng: np.random.Generator,
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """Image before a grey backdrop with sensor noise in 8 bits, and the true mask."""
    from hrnfit.render.cpu import CpuRasterizer  # local: numba

    renderer, side = CpuRasterizer(), SIZE * SUPERSAMPLE
    pixels = camera.project(vertices) * SUPERSAMPLE
    points = torch.cat([pixels, camera.depth(vertices)[:, None]], -1).float()[None]
    raster = renderer.rasterize(points, faces, side, side)
    stack = torch.cat([radiance, torch.ones(len(radiance), 1)], 1)
    layers: Any = renderer.interpolate(stack[None], raster, faces)[0].movedim(-1, 0)
    pooled = torch.nn.functional.avg_pool2d(layers, SUPERSAMPLE).movedim(0, -1)
    image, mask = pooled[..., :3], pooled[..., 3]
    image = image + (1 - mask[..., None]) * 0.18
    image = image + NOISE * torch.from_numpy(rng.normal(size=image.shape)).float()
    codes = encode_srgb(image.clamp(0, 1))
    return linear_from_srgb(torch.from_numpy(codes.astype(np.float32)) / 255), mask
