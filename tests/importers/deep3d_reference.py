"""Deep3D's law of a coefficient vector, plain and slow, in their units and axes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy.io import loadmat

IDENTITY, EXPRESSION, ALBEDO = 5, 4, 6
"""Modes of the files that the tests write."""

SHAPE = IDENTITY + EXPRESSION
POSE = SHAPE + ALBEDO


def their_rotation(x: float, y: float, z: float) -> np.ndarray:
    c, s = math.cos, math.sin
    about_x = np.array([[1, 0, 0], [0, c(x), -s(x)], [0, s(x), c(x)]])
    about_y = np.array([[c(y), 0, s(y)], [0, 1, 0], [-s(y), 0, c(y)]])
    about_z = np.array([[c(z), -s(z), 0], [s(z), c(z), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def their_vertices(file: Path, given: np.ndarray) -> np.ndarray:
    """Posed vertices, decimetres, from the file's own arrays."""
    arrays = {k: v.astype(np.float64) for k, v in loadmat(file).items() if k[0] != "_"}
    mean = arrays["meanshape"].reshape(-1, 3)
    offset = arrays["idBase"] @ given[:IDENTITY] + arrays["exBase"] @ given[IDENTITY:SHAPE]
    shape = mean - mean.mean(axis=0) + offset.reshape(-1, 3)
    angles, translation = given[POSE : POSE + 3], given[-3:]
    R = their_rotation(*angles)
    return np.array([R @ vertex + translation for vertex in shape])


def their_pixels(posed: np.ndarray) -> np.ndarray:
    """Column and row of vertices; row 0 at the top, edges of pixels at whole numbers."""
    depth = 10.0 - posed[:, 2]
    up = 1015.0 * posed[:, 1] / depth + 112.0
    return np.stack([1015.0 * posed[:, 0] / depth + 112.0, 224.0 - up], axis=1)


def their_shading(normals: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """(N, 3) of unit normals after the rotation."""
    k0, k1, k2 = 0.886226925, 1.772453851, 2.427033
    x, y, z = normals.T
    basis = [
        k0 * np.ones(len(x)),
        -k1 * y,
        k1 * z,
        -k1 * x,
        k2 * x * y,
        -k2 * y * z,
        k2 / (2 * math.sqrt(3)) * (3 * z * z - 1),
        -k2 * x * z,
        k2 / 2 * (x * x - y * y),
    ]
    light = gamma.reshape(3, 9) + 0.8 * np.eye(9)[:1]
    return np.stack([sum(b * w for b, w in zip(basis, row, strict=True)) for row in light], axis=1)
