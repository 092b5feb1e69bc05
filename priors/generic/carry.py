"""Motions drawn on one shape, carried to another of the same mesh that differs by a smooth field."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .mesh import Mesh


class Carrier:
    """Takes motions of the drawn face to the final mean, which differs from it by a smooth field.

    A point that moves to where another one was drawn moves, on the mean, to where that one lies
    there: lids still meet, lips still touch.
    """

    WIDTH, NEIGHBOURS = 4.0, 20
    """mm; vertices averaged for the field between them."""

    def __init__(self, mesh: Mesh, mean: np.ndarray) -> None:
        skin = np.flatnonzero(mesh.inner == 0)
        self.drawn, self.field = mesh.vertices, (mean - mesh.vertices)[skin]
        self.tree = cKDTree(mesh.vertices[skin])

    def _field(self, points: np.ndarray) -> np.ndarray:
        distance, index = self.tree.query(points, k=self.NEIGHBOURS)
        weight = np.exp(-0.5 * (distance**2 - distance[:, :1] ** 2) / self.WIDTH**2)
        return (self.field[index] * (weight / weight.sum(axis=1)[:, None])[..., None]).sum(axis=1)

    def __call__(self, shape: np.ndarray) -> np.ndarray:
        moved = np.flatnonzero(np.linalg.norm(shape, axis=1) > 0.05)
        here = self.drawn[moved]
        out = shape.copy()
        out[moved] += self._field(here + shape[moved]) - self._field(here)
        return out
