"""A small ICT-like head with everything the published one has: head ring, mouth's bag, gums, teeth, eyeballs.

As in the published files one tooth's island of the chart is mirrored, and behind each eyeball's front lies an
iris, which is not to be kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch

from hrnfit.geometry.mesh import boundary_loops
from tests.model.faces import ibug_vertices, sheet

EYES = ((32.0, 35.0, 38.0), (-32.0, 35.0, 38.0))
"""Middles of the left and the right eyeball, mm."""

RADIUS = 12.0


@dataclass
class Mesh:
    """A mesh that grows piece by piece; mm, v up."""

    points: list[np.ndarray] = field(default_factory=list)
    faces: list[np.ndarray] = field(default_factory=list)
    uv: list[np.ndarray] = field(default_factory=list)
    uv_faces: list[np.ndarray] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.points))

    def add(self, points, faces, uv, uv_faces) -> tuple[int, int]:
        """Append a piece: `faces` in numbers of the whole, `uv_faces` of the piece; its range."""
        first = self.count
        self.uv_faces.append(np.asarray(uv_faces) + sum(map(len, self.uv)))
        self.points.append(np.asarray(points, dtype=float))
        self.faces.append(np.asarray(faces))
        self.uv.append(np.asarray(uv, dtype=float))
        return (first, self.count)


@dataclass(frozen=True)
class Head:
    points: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    uv_faces: np.ndarray
    slices: dict[str, tuple[int, int]]
    marks: np.ndarray
    irises: np.ndarray
    """Mask of the vertices of the irises."""


@cache
def small_head() -> Head:
    mesh, slices = Mesh(), {}
    face, triangles = (t.numpy() for t in sheet())
    face = face.astype(float)
    border, *holes = sorted(
        boundary_loops(torch.from_numpy(triangles)),
        key=lambda loop: -np.ptp(face[loop.numpy()], axis=0).sum(),
    )
    slices["face"] = mesh.add(face, triangles, _spread(face), triangles)
    ring = face[border] * [1.08, 1.08, 1.0] - [0.0, 0.0, 25.0]
    strip = _strip(border.numpy(), mesh.count + np.arange(len(border)))
    slices["head_neck"] = mesh.add(ring, strip, np.zeros((1, 2)), np.zeros_like(strip))
    mouth = min(holes, key=lambda loop: face[loop.numpy()][:, 1].mean()).numpy()
    slices["mouth_socket"] = _bag(mesh, face, mouth)
    slices["gums_tongue"] = _patch(mesh, (0.0, -35.0, 28.0), 10.0, 5, (2.05, 0.05, 0.9))
    teeth = _patch(mesh, (4.0, -35.0, 34.0), 3.0, 4, (3.05, 0.55, 0.4))
    other = _patch(mesh, (-4.0, -35.0, 34.0), 3.0, 4, (3.55, 0.55, 0.4), mirrored=True)
    slices["teeth"] = (teeth[0], other[1])
    irises = []
    for name, middle in zip(("sclera_l", "sclera_r"), EYES, strict=True):
        slices[name], iris = _eyeball(mesh, np.array(middle))
        irises.append(iris)
    inside = np.zeros(mesh.count, dtype=bool)
    inside[np.concatenate(irises)] = True
    return Head(
        *(np.concatenate(part) for part in (mesh.points, mesh.faces, mesh.uv, mesh.uv_faces)),
        slices,
        ibug_vertices(torch.from_numpy(face).float()).numpy(),
        inside,
    )


def _spread(points: np.ndarray) -> np.ndarray:
    flat = points[:, :2]
    return (flat - flat.min(axis=0)) / np.ptp(flat, axis=0)


def _strip(rim: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Triangles between a boundary loop and another one beyond it."""
    after, beyond = np.roll(rim, -1), np.roll(outside, -1)
    return np.concatenate(
        [np.stack([after, rim, outside], 1), np.stack([after, outside, beyond], 1)]
    )


def _bag(mesh: Mesh, face: np.ndarray, rim: np.ndarray) -> tuple[int, int]:
    """Rings behind the lips, and an apex."""
    middle, first, rings = face[rim].mean(axis=0), mesh.count, []
    points, triangles = [], []
    rings.append(rim)
    for share, depth in ((0.5, 12.0),):
        rings.append(first + len(rim) * len(points) + np.arange(len(rim)))
        points.append(middle + share * (face[rim] - middle) - [0.0, 0.0, depth])
        triangles.append(_strip(rings[-2], rings[-1]))
    apex = np.full(len(rim), first + len(rim) * len(points))
    triangles.append(np.stack([np.roll(rings[-1], -1), rings[-1], apex], 1))
    every = np.concatenate([*points, [middle - [0.0, 0.0, 22.0]]])
    faces = np.concatenate(triangles)
    return mesh.add(every, faces, np.zeros((1, 2)), np.zeros_like(faces))


def _patch(
    mesh: Mesh, middle, half: float, side: int, tile: tuple[float, float, float], mirrored=False
) -> tuple[int, int]:
    """A square sheet that looks along +z, with its place in a tile: left, bottom, size."""
    at = np.linspace(-1.0, 1.0, side)
    y, x = np.meshgrid(at[::-1], at, indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3) * half + middle
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = (
        i.ravel() for i in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:])
    )
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    across = -x if mirrored else x
    uv = np.stack([across, y], -1).reshape(-1, 2) * 0.5 + 0.5
    left, bottom, size = tile
    return mesh.add(points, faces + mesh.count, np.array([left, bottom]) + size * uv, faces)


def _eyeball(mesh: Mesh, middle: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """A ball that looks a little outwards, and an iris inside; the ball's range and the iris' vertices."""
    sides, rings = 16, 9
    around = np.arange(sides) * 2.0 * np.pi / sides
    circle = np.stack([np.cos(around), np.sin(around)], 1)
    polar = np.linspace(0.0, np.pi, rings)[1:-1]
    ball = [np.array([[0.0, 0.0, 1.0]])]
    ball += [np.concatenate([np.sin(p) * circle, np.full((sides, 1), np.cos(p))], 1) for p in polar]
    ball.append(np.array([[0.0, 0.0, -1.0]]))
    index = [np.zeros(sides, dtype=int)]
    index += [1 + sides * k + np.arange(sides) for k in range(len(polar))]
    index.append(np.full(sides, 1 + sides * len(polar)))
    bands = [
        band
        for k in range(rings - 1)
        for band in _quads(index[k], index[k + 1], top=k == 0, bottom=k == rings - 2)
    ]
    turn = np.sign(middle[0]) * 0.07
    gaze = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    faces = np.concatenate(bands)
    points = middle + RADIUS * np.concatenate(ball) @ gaze.T
    place = mesh.add(points, faces + mesh.count, np.zeros((1, 2)), np.zeros_like(faces))
    disc = [np.concatenate([r * circle, np.full((sides, 1), 0.7)], 1) for r in (0.25, 0.4)]
    ring = np.concatenate(_quads(np.arange(sides), sides + np.arange(sides)))
    points = middle + RADIUS * np.concatenate(disc) @ gaze.T
    iris = mesh.add(points, ring + mesh.count, np.zeros((1, 2)), np.zeros_like(ring))
    return place, np.arange(*iris)


def _quads(inner, outer, top=False, bottom=False) -> list[np.ndarray]:
    """A band between two rings, counter-clockwise from outside; a pole has no second triangle."""
    after, beyond = np.roll(inner, -1), np.roll(outer, -1)
    falling, rising = np.stack([inner, outer, beyond], 1), np.stack([inner, beyond, after], 1)
    return [falling] if top else [rising] if bottom else [falling, rising]
