"""Where MediaPipe's 478 points lie on the mean: `python -m priors.generic.detect`.

Renders the mean from several sides under several lights and detects. Each point goes where its
image lies nearest to what was detected, over all views at once and on both sides of the face alike.
(The middle of the detections thrown back on the surface is a worse place: as the head turns, a ray
past the outline hits the ear or misses, so that points of the outline scattered over 40 mm.)
Position and spread are kept as texture coordinates in `mediapipe478.csv`, from which `build.py`
makes the landmarks. Needs the extra `detect`; run again after a change of the mean's shape or albedo.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from .build import DEFAULT
from .landmarks import TABLE
from .views import FIELD, LIGHTS, projected, render

POSES = tuple(
    (yaw, pitch)
    for pitch in (-12.0, 0.0, 12.0)
    for yaw in (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
)
SIZE = 640
TOLERANCE = 4.0
"""Distance in the image plane beyond which a detection counts less than squared, mm."""
REACH = 5.0
"""Radius of the fine search about the best point of the coarse one, mm."""


@dataclass(frozen=True)
class Views:
    """What was detected on renders of the mean."""

    poses: tuple[tuple[float, float], ...]
    """S pairs of yaw and pitch, degrees."""
    marks: np.ndarray
    """(S, 478, 2) pixels."""
    seen: np.ndarray
    """(T,) triangles seen in any render."""


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


def observed(model: dict[str, np.ndarray]) -> Views:
    """Detections on renders of the mean from `POSES` under `LIGHTS`; without those that fail."""
    mean, mesh = model["mean"].astype(float), detector()
    poses, marks, seen = [], [], np.zeros(len(model["faces"]) + 1, dtype=bool)
    for yaw, pitch in POSES:
        for light in LIGHTS.values():
            picture = render(model, mean, yaw, pitch, light, SIZE)
            found = detect(mesh, picture.image)
            if found is not None:
                poses.append((yaw, pitch))
                marks.append(found[:, :2])
                seen[picture.triangle] = True  # -1, the background, is the last
    return Views(tuple(poses), np.array(marks), np.flatnonzero(seen[:-1]))


class Search:
    """Looks for the surface points whose images lie nearest to the detections."""

    def __init__(self, views: Views, points: np.ndarray, partner: np.ndarray) -> None:
        """Surface points (P, 3) to choose from and the mirror partner (478,) of each mark."""
        self.views, self.partner, self.tree = views, partner, cKDTree(points)
        self.pixels = {
            pose: [projected(p, *pose, SIZE)[:, :2] for p in (points, points * [-1, 1, 1])]
            for pose in set(views.poses)
        }
        self.coarse = np.arange(0, len(points), 40)

    def distances(self, mark: int, choice: np.ndarray) -> np.ndarray:
        """Image distances (2 S, K), mm, of chosen points from a mark, and of their mirror images
        from its partner."""
        out = []
        for side, index in enumerate((mark, self.partner[mark])):
            for pose, marks in zip(self.views.poses, self.views.marks, strict=True):
                offset = self.pixels[pose][side][choice] - marks[index]
                out.append(np.linalg.norm(offset, axis=1) * FIELD / SIZE)
        return np.array(out)

    def best(self, mark: int, choice: np.ndarray) -> int:
        """Of chosen points (K,), the one of least pseudo-Huber cost."""
        ratio = self.distances(mark, choice) / TOLERANCE
        return int(choice[np.argmin((np.sqrt(1 + ratio**2) - 1).sum(axis=0))])

    def __call__(self, mark: int) -> tuple[int, float]:
        """Index of the surface point of a mark, and its spread, mm."""
        start = self.best(mark, self.coarse)
        near = np.array(self.tree.query_ball_point(self.tree.data[start], REACH))
        found = self.best(mark, np.sort(near))
        # the median distance of a plane normal distribution is 1.177 of its SD
        return found, float(np.median(self.distances(mark, np.array([found])))) / 1.177


def partners(marks: np.ndarray) -> np.ndarray:
    """Index (478,) of each point's mirror image, from a detection (478, 2) on a frontal render."""
    mirrored = np.array([SIZE, 0.0]) + marks * [-1, 1]
    distance = np.linalg.norm(marks[:, None] - mirrored[None], axis=2)
    return linear_sum_assignment(distance + distance.T)[1]


def main() -> None:
    with np.load(DEFAULT) as file:
        model = {key: file[key] for key in ("mean", "faces", "uv", "albedo_mean", "mirror")}
    mean, views = model["mean"].astype(float), observed(model)
    frontal = views.marks[views.poses.index((0.0, 0.0))]
    partner, faces = partners(frontal), model["faces"][views.seen]
    bary = np.random.default_rng(0).dirichlet(np.ones(3), size=(len(faces), 6))
    points, uv = (
        np.einsum("fsk,fkc->fsc", bary, values[faces]).reshape(len(faces) * 6, -1)
        for values in (mean, model["uv"].astype(float))
    )
    search = Search(views, points, partner)
    index, spread = (np.array(x) for x in zip(*map(search, range(478)), strict=True))
    table = np.column_stack([uv[index], np.clip(spread, 0.3, None)])
    mirrored = np.column_stack([1 - table[partner, 0], table[partner, 1:]])
    header = f"u, v, spread in mm; from {len(views.poses)} detections on renders of the mean"
    np.savetxt(TABLE, 0.5 * (table + mirrored), fmt="%.5f", delimiter=",", header=header)
    logging.getLogger(__name__).info(
        "%d detections, spread median %.2f mm", len(views.poses), np.median(spread)
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
