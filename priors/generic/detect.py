"""Where MediaPipe's 478 points lie on the mean: `python -m priors.generic.detect`.

Renders the mean from several sides under several lights, detects, back-projects each detection to
the triangle it hits, and keeps the geometric median and the spread per point as texture
coordinates in `mediapipe478.csv`, from which `build.py` makes the landmarks. Needs the extra
`detect`; run again after a change of the mean's shape or albedo.
"""

from __future__ import annotations

import logging

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment

from .build import DEFAULT
from .landmarks import TABLE
from .views import LIGHTS, projected, render

POSES = tuple(
    (yaw, pitch)
    for pitch in (-12.0, 0.0, 12.0)
    for yaw in (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
)
SIZE = 640


def detector():
    """MediaPipe FaceMesh with irises, for single images."""
    import mediapipe

    return mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.5
    )


def detect(mesh, image: np.ndarray) -> np.ndarray | None:
    """Detected points (478, 3): pixels, and depth in the detector's unit; None without a face."""
    found = mesh.process(image).multi_face_landmarks
    if not found:
        return None
    size = np.array([image.shape[1], image.shape[0], image.shape[1]])
    return np.array([(p.x, p.y, p.z) for p in found[0].landmark]) * size


def observations(model: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Surface points (S, 478, 3), mm, and weights (S, 478): how frontally the surface was seen."""
    mean, faces, mesh = model["mean"].astype(float), model["faces"], detector()
    places, weights = [], []
    for yaw, pitch in POSES:
        for light in LIGHTS.values():
            picture = render(model, mean, yaw, pitch, light, SIZE)
            marks = detect(mesh, picture.image)
            if marks is None:
                continue
            column, row = np.clip(np.floor(marks[:, :2]).astype(int), 0, SIZE - 1).T
            # a point beside the outline counts, a little, for the nearest pixel of the face
            beside = picture.triangle[row, column] < 0
            nearest = distance_transform_edt(
                picture.triangle < 0, return_distances=False, return_indices=True
            )
            row, column = nearest[:, row, column]
            triangle = picture.triangle[row, column]
            corners = mean[faces[triangle]]
            places.append((corners * picture.barycentric[row, column][..., None]).sum(axis=1))
            pixels = projected(mean, yaw, pitch, SIZE)[faces[triangle]][..., :2]
            e, f = pixels[:, 1] - pixels[:, 0], pixels[:, 2] - pixels[:, 0]
            area = np.abs(e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0])
            solid = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            facing = area / np.maximum(np.linalg.norm(solid, axis=1), 1e-9) / (SIZE / 280.0) ** 2
            weights.append(np.where(beside, 0.01, np.clip(facing, 0.05, 1) ** 2))
    return np.array(places), np.array(weights)


def centres(places: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Geometric medians (478, 3) and spreads (478,), mm."""
    middle = (places * weights[..., None]).sum(0) / np.maximum(weights.sum(0), 1e-9)[:, None]
    for _ in range(40):
        distance = np.linalg.norm(places - middle, axis=2)
        pull = weights / np.maximum(distance, 0.05)
        middle = (places * pull[..., None]).sum(0) / np.maximum(pull.sum(0), 1e-9)[:, None]
    distance = np.linalg.norm(places - middle, axis=2)
    order = np.argsort(distance, axis=0)
    share = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    half = (share >= 0.5 * share[-1]).argmax(axis=0)
    middle_distance = np.take_along_axis(distance, order, axis=0)[half, np.arange(len(half))]
    spread = middle_distance / 1.177  # the median distance of a plane normal distribution, in SD
    return middle, spread


def partners(marks: np.ndarray) -> np.ndarray:
    """Index (478,) of each point's mirror image, from a detection (478, 2) on a frontal render."""
    mirrored = np.array([SIZE, 0.0]) + marks * [-1, 1]
    distance = np.linalg.norm(marks[:, None] - mirrored[None], axis=2)
    return linear_sum_assignment(distance + distance.T)[1]


def symmetric(table: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Table (478, 3) of u, v, spread with both sides averaged, the steadier side counting more.

    The mean is symmetric, the detector is not: of 3 points one side was scattered over more than
    twice the spread of the other.
    """
    other = np.column_stack([1 - table[partner, 0], table[partner, 1:]])
    own = other[:, 2] ** 2 / (table[:, 2] ** 2 + other[:, 2] ** 2)
    return own[:, None] * table + (1 - own[:, None]) * other


def main() -> None:
    from scipy.spatial import cKDTree

    with np.load(DEFAULT) as file:
        model = {key: file[key] for key in ("mean", "faces", "uv", "albedo_mean", "mirror")}
    places, weights = observations(model)
    middle, spread = centres(places, weights)
    faces, mean = model["faces"], model["mean"].astype(float)
    # uv of the nearest surface point, from a dense sample of the triangles
    rng = np.random.default_rng(0)
    bary = rng.dirichlet(np.ones(3), size=(len(faces), 12))
    dense = np.einsum("fsk,fkc->fsc", bary, mean[faces]).reshape(-1, 3)
    texture = np.einsum("fsk,fkc->fsc", bary, model["uv"][faces]).reshape(-1, 2)
    _, near = cKDTree(dense).query(middle, k=4)
    uv = texture[near].mean(axis=1)
    frontal = detect(detector(), render(model, mean, size=SIZE).image)
    table = np.column_stack([uv, np.clip(spread, 0.3, None)])
    if frontal is not None:
        table = symmetric(table, partners(frontal[:, :2]))
    header = f"u, v, spread in mm; from {len(places)} detections on renders of the mean"
    np.savetxt(TABLE, table, fmt="%.5f", delimiter=",", header=header)
    logging.getLogger(__name__).info(
        "%d detections, spread median %.2f mm", len(places), np.median(spread)
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
