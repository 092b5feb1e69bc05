"""Renders of the model for detection, checks and contact sheets, with the library's renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hrnfit.render.backend import rasterizer

LIGHTS = {"front": (0.1, 0.25, 1.0), "side": (0.85, 0.25, 0.5), "above": (-0.2, 0.95, 0.5)}
FOCAL_DISTANCE, FIELD = 900.0, 280.0


@dataclass(frozen=True)
class Picture:
    """One render."""

    image: np.ndarray
    """(S, S, 3) uint8 sRGB."""
    triangle: np.ndarray
    """(S, S) int, -1 outside."""
    barycentric: np.ndarray
    """(S, S, 3)."""


def turned(vertices: np.ndarray, yaw: float, pitch: float = 0.0) -> np.ndarray:
    """Head-frame positions (N, 3) turned by yaw, then pitch, degrees."""
    y, p = np.deg2rad(yaw), np.deg2rad(pitch)
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    return vertices @ (about_x @ about_y).T


def projected(vertices: np.ndarray, yaw: float, pitch: float, size: int) -> np.ndarray:
    """Pixels and depth (N, 3) of the turned head before a camera."""
    at = turned(vertices, yaw, pitch)
    depth = FOCAL_DISTANCE - at[:, 2]
    focal = size * FOCAL_DISTANCE / FIELD
    x, y = size / 2 + focal * at[:, 0] / depth, size / 2 - focal * at[:, 1] / depth
    return np.stack([x, y, depth], axis=1)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (N, 3), area-weighted."""
    v = vertices[faces]
    normal = np.cross(v[:, 1] - v[:, 0], v[:, 2] - v[:, 0])
    out = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(out, faces[:, k], normal)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def render(
    model: dict[str, np.ndarray],
    vertices: np.ndarray,
    yaw: float = 0.0,
    pitch: float = 0.0,
    light: tuple[float, float, float] = LIGHTS["front"],
    size: int = 640,
    albedo: np.ndarray | None = None,
) -> Picture:
    """Lambert render of a head (N, 3) with the model's topology and an albedo (H, W, 3)."""
    albedo = model["albedo_mean"] if albedo is None else albedo
    backend, faces = rasterizer("cpu"), torch.from_numpy(model["faces"])
    points = torch.from_numpy(projected(vertices, yaw, pitch, size)).float()[None]
    raster = backend.rasterize(points, faces, size, size)
    normals = turned(vertex_normals(vertices, model["faces"]), yaw, pitch)
    data = torch.from_numpy(np.concatenate([normals, model["uv"]], axis=1)).float()
    pixels = backend.interpolate(data, raster, faces)
    texture = torch.from_numpy(np.ascontiguousarray(albedo, dtype=np.float32))
    colour = backend.sample_texture(texture, pixels[..., 3:].contiguous())[0].numpy()
    normal = pixels[0, ..., :3].numpy()
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    direction = np.array(light) / np.linalg.norm(light)
    shade = 0.38 + 0.72 * np.clip(normal @ direction, 0, None)
    triangle = raster.triangle[0].numpy()
    linear = np.where(triangle[..., None] >= 0, colour * shade[..., None], 0.35).clip(0, 1)
    return Picture(srgb_bytes(linear), triangle, raster.barycentric[0].numpy())


def srgb_bytes(linear: np.ndarray) -> np.ndarray:
    """sRGB bytes of linear values in 0..1."""
    curve = 1.055 * np.clip(linear, 1e-6, 1) ** (1 / 2.4) - 0.055
    return (255 * np.where(linear <= 0.0031308, 12.92 * linear, curve) + 0.5).astype(np.uint8)


def sheet(images: list[np.ndarray], columns: int) -> np.ndarray:
    """Images of one size side by side, in rows."""
    blank = np.full_like(images[0], 255)
    images = images + [blank] * (-len(images) % columns)
    rows = [np.hstack(images[k : k + columns]) for k in range(0, len(images), columns)]
    return np.vstack(rows)
