"""A perfect analyzer written without the library: the released camera, scipy, and points.

Its law is that of the released code (pitch, yaw, roll; decimetres; 1015 px at 10 decimetres; 112 px in the
middle) and of `crop_pose.py` (squares weighed by area and squared cosine at the answer itself).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation


def reported(shape: np.ndarray, faces: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Angles (3, rad) and translation (3, decimetres) for vertices (N, 3) mm seen at (N, 2) px of a crop."""
    corners = shape[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals, areas = np.zeros_like(shape), np.zeros(len(shape))
    for k in range(3):
        np.add.at(normals, faces[:, k], cross)
        np.add.at(areas, faces[:, k], np.linalg.norm(cross, axis=1) / 6)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)

    def posed(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turn = Rotation.from_euler("xyz", pose[:3])
        return turn.apply(shape / 100) + pose[3:], turn.apply(normals)

    def weights(pose: np.ndarray) -> np.ndarray:
        points, outwards = posed(pose)
        ray = np.array([0.0, 0.0, 10.0]) - points
        cosine = (ray * outwards).sum(1) / np.linalg.norm(ray, axis=1)
        return areas * np.maximum(cosine, 0) ** 2

    def residual(pose: np.ndarray, weight: np.ndarray) -> np.ndarray:
        x, y, z = posed(pose)[0].T
        u, v = 112 + 1015 * x / (10 - z), 112 - 1015 * y / (10 - z)
        off = np.stack([u, v], 1) - seen
        return (np.sqrt(weight / weight.sum())[:, None] * off).ravel()

    pose = np.zeros(6)
    for _ in range(60):
        before, weight = pose, weights(pose)
        pose = least_squares(
            residual, pose, args=(weight,), method="lm", xtol=1e-14, ftol=1e-14, gtol=1e-14
        ).x
        if np.abs(pose - before).max() < 1e-11:
            break
    return pose
