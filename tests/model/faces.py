"""Small face-like models for the tests: a bulged sheet with two eye holes and a mouth hole."""

from __future__ import annotations

import torch
from torch import Tensor

from hrnfit.geometry.uv import disk_chart
from hrnfit.model.appearance import smooth_albedo
from hrnfit.model.face_model import LandmarkSet, ModelInfo
from hrnfit.model.linear import LinearFaceModel

HOLES = ((-32.0, 35.0, 12.0), (32.0, 35.0, 12.0), (0.0, -35.0, 14.0))
"""x, y and half-width of the eyes and the mouth, mm."""


def sheet(columns: int = 29, rows: int = 33) -> tuple[Tensor, Tensor]:
    """Vertices (N, 3) mm of half an egg with a nose, y up, and triangles, counter-clockwise outside."""
    x = torch.linspace(-75.0, 75.0, columns)
    y = torch.linspace(100.0, -100.0, rows)
    gy, gx = torch.meshgrid(y, x, indexing="ij")
    z = 60.0 * (1.0 - (gx / 95.0) ** 2 - (gy / 130.0) ** 2)
    z = z + 22.0 * torch.exp(-((gx / 12.0) ** 2) - ((gy + 2.0) / 18.0) ** 2)
    points = torch.stack([gx, gy, z], dim=-1).reshape(-1, 3)
    index = torch.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    half = (columns - 1) // 2  # diagonals mirror each other, so the mesh is symmetric
    falling = [torch.stack([a, c, d], dim=-1), torch.stack([a, d, b], dim=-1)]
    rising = [torch.stack([a, c, b], dim=-1), torch.stack([b, c, d], dim=-1)]
    cells = [part[:, :half] for part in falling] + [part[:, half:] for part in rising]
    triangles = torch.cat([part.reshape(-1, 3) for part in cells])
    middle = points[triangles].mean(dim=1)
    keep = torch.ones(len(triangles), dtype=torch.bool)
    for x0, y0, half in HOLES:
        keep &= ((middle[:, 0] - x0) / half) ** 2 + ((middle[:, 1] - y0) / (0.6 * half)) ** 2 > 1.0
    return compact(points, triangles[keep])


def compact(points: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    """The mesh without vertices that no triangle uses."""
    used = triangles.unique()
    number = torch.full((len(points),), -1)
    number[used] = torch.arange(len(used))
    return points[used], number[triangles].int()


def ibug_vertices(points: Tensor) -> Tensor:
    """Vertices (68,) near where the iBUG points of this sheet would lie."""
    places: list[tuple[float, float]] = []
    for k in range(17):
        angle = torch.tensor(-3.1416 * k / 16.0)
        places.append((-62.0 * float(angle.cos()), 25.0 + 110.0 * float(angle.sin())))
    places += [(-54.0 + 11.0 * k, 52.0) for k in range(5)]
    places += [(10.0 + 11.0 * k, 52.0) for k in range(5)]
    places += [(0.0, 30.0 - 11.0 * k) for k in range(4)]
    places += [(-14.0 + 7.0 * k, -16.0) for k in range(5)]
    for x0 in (-32.0, 32.0):
        places += [
            (x0 - 15, 35),
            (x0 - 6, 44),
            (x0 + 6, 44),
            (x0 + 15, 35),
            (x0 + 6, 26),
            (x0 - 6, 26),
        ]
    turn = torch.arange(12) * (2.0 * 3.14159 / 12.0)
    places += [(-24.0 * float(t.cos()), -35.0 + 17.0 * float(t.sin())) for t in turn]
    turn = torch.arange(8) * (2.0 * 3.14159 / 8.0)
    places += [(-15.0 * float(t.cos()), -35.0 + 9.0 * float(t.sin())) for t in turn]
    return torch.cdist(torch.tensor(places), points[:, :2]).argmin(dim=1)


def small_model(seed: int = 0, identity: int = 4, expression: int = 3) -> LinearFaceModel:
    """A sheet with smooth random modes and every optional part."""
    from hrnfit.model.ict import vertex_landmarks
    from hrnfit.model.regions import regions_from_landmarks

    points, faces = sheet()
    generator = torch.Generator().manual_seed(seed)
    marks = ibug_vertices(points)
    uv = disk_chart(points, faces)
    mean_albedo, basis = smooth_albedo(count=5, size=16)

    def modes(count: int) -> Tensor:
        return torch.randn(count, points.numel(), generator=generator)

    return LinearFaceModel(
        info=ModelInfo("sheet", "Apache-2.0", True, "tests"),
        mean=points,
        identity_basis=modes(identity),
        expression_basis=modes(expression),
        expression_names=tuple(f"expression{k}" for k in range(expression)),
        expression_is_blendshape=True,
        faces=faces,
        uv=uv,
        uv_faces=faces,
        albedo_mean=mean_albedo,
        albedo_basis=basis,
        regions=regions_from_landmarks(points, faces, uv, points[marks]),
        landmarks={"ibug68": vertex_landmarks(marks, faces)},
    )


def landmark_set(triangles: Tensor, barycentric: Tensor) -> LandmarkSet:
    """A set without measured spread."""
    return LandmarkSet(triangles.int(), barycentric, torch.zeros(len(triangles)))
