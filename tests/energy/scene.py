"""Small stand-ins for what a term sees: a sphere before a camera, its mask, and flat maps."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import torch
from torch import Tensor

from hrnfit.observe.observation import WorkingViews
from hrnfit.state import FaceState, Sharing, zero_state

FOCAL, DISTANCE = 600.0, 600.0
"""A pixel is 1 mm wide at the sphere's centre."""


def sphere(rings: int = 24, sides: int = 48) -> tuple[Tensor, Tensor]:
    """Unit sphere (N, 3) float64, closed, and its triangles, counter-clockwise from outside."""
    polar = torch.linspace(0, math.pi, rings + 1, dtype=torch.float64)[1:-1]
    around = torch.arange(sides, dtype=torch.float64) * (2 * math.pi / sides)
    p, a = torch.meshgrid(polar, around, indexing="ij")
    body = torch.stack((p.sin() * a.cos(), p.sin() * a.sin(), p.cos()), -1).reshape(-1, 3)
    poles = torch.tensor([[0.0, 0, 1], [0, 0, -1]], dtype=torch.float64)
    n, last = len(body), (rings - 2) * sides
    faces = []
    for i in range(sides):
        j = (i + 1) % sides
        faces += [(n, i, j), (n + 1, last + j, last + i)]
        for k in range(0, last, sides):
            faces += [(k + i, k + sides + i, k + j), (k + j, k + sides + i, k + sides + j)]
    return torch.cat((body, poles)), torch.tensor(faces, dtype=torch.int32)


def project(vertices: Tensor, size: int) -> Tensor:
    """Camera coordinates, mm, to px and depth, in a window of `size` px around the axis."""
    x, y, z = vertices.unbind(-1)
    return torch.stack((FOCAL * x / z + size / 2, FOCAL * y / z + size / 2, z), -1)


def ball(radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """Vertices of a sphere at the camera's distance. y and z change sign together (a half turn), so
    triangles stay counter-clockwise from outside."""
    vertices = sphere()[0] * radius
    at = torch.tensor([*centre, DISTANCE], dtype=torch.float64)
    return vertices + at


def disc_mask(size: int, radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """Antialiased mask (1, S, S) of a disc, px."""
    axis = torch.arange(size, dtype=torch.float64) + 0.5 - size / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    distance = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2).sqrt()
    return (radius - distance + 0.5).clamp(0, 1)[None]


def working_views(
    masks: Tensor, images: Tensor | None = None, inside: Tensor | None = None
) -> WorkingViews:
    """Windows with the given masks, grey unless images are given, all inside unless said."""
    views, size, _ = masks.shape
    K = masks.new_tensor([[FOCAL, 0, size / 2], [0, FOCAL, size / 2], [0, 0, 1]])
    device = masks.device
    return WorkingViews(
        images=torch.full((views, size, size, 3), 0.5, device=device) if images is None else images,
        masks=masks,
        inside=torch.ones_like(masks, dtype=torch.bool) if inside is None else inside,
        K=K.repeat(views, 1, 1),
        T_cam_world=torch.eye(4, dtype=masks.dtype, device=device).repeat(views, 1, 1),
        landmarks=torch.zeros(views, 68, 2, device=device),
        landmark_confidence=torch.zeros(views, 68, device=device),
        names=tuple(f"view{i}" for i in range(views)),
    )


def outline_radius(radius: float) -> float:
    """Radius in px of the outline of a sphere under perspective."""
    return FOCAL * radius / math.sqrt(DISTANCE**2 - radius**2)


def state(views: int = 1, **leaves: Tensor) -> FaceState:
    """Zero state in float64, all views of one frame."""
    row = torch.zeros(views, dtype=torch.int64)
    zeros = zero_state(
        identity=3,
        expression=2,
        albedo=2,
        sharing=Sharing(frame=row, light=row, displacement=row),
        deformation=8,
        displacement=8,
        albedo_map=8,
        dtype=torch.float64,
    )
    return replace(zeros, **leaves)


def square_model(**attributes: object) -> SimpleNamespace:
    """A model whose chart is the whole unit square, two triangles."""
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    return SimpleNamespace(uv=uv, uv_faces=faces, expression_is_blendshape=True, **attributes)


def prediction(points: Tensor, faces: Tensor, size: int, covered: Tensor) -> SimpleNamespace:
    """Points in the window, and a raster that covers what is given."""
    triangle = torch.where(covered, 0, -1).to(torch.int32)
    return SimpleNamespace(
        points=points,
        state=state(len(points)).to(points.device),
        model=SimpleNamespace(faces=faces),
        raster=SimpleNamespace(triangle=triangle),
        coverage=covered.to(points.dtype),
    )
