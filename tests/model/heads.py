"""A small whole head with joints: an egg on a neck that is open below, with holes for eyes and mouth, and
two closed eyeballs behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hrnfit.model.appearance import smooth_albedo
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.flame import DEVIATIONS, FlameModel
from hrnfit.model.head_chart import head_chart
from hrnfit.model.ict import vertex_landmarks
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.skeleton import Skeleton
from tests.importers.written import smooth_fields
from tests.model.faces import HOLES, ibug_vertices

RADII = np.array([75.0, 110.0, 90.0])
"""Half axes of the egg, mm."""

EYES = np.array([[-32.0, 35.0, 60.0], [32.0, 35.0, 60.0]])
"""Centres of the eyeballs, the subject's right one first, mm."""

PARENTS = (-1, 0, 1, 1, 1)


@dataclass(frozen=True)
class Head:
    """Arrays of a FLAME-like head, mm."""

    points: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    """(N, 5): root, neck, jaw, left eye, right eye."""
    regressor: np.ndarray
    """(5, N)."""
    marks: np.ndarray
    """(68,) vertices near the iBUG points."""


def head(columns: int = 40, rows: int = 34) -> Head:
    """The head; its skin has (rows - 1) * columns + 1 vertices before holes are cut."""
    points, faces = _egg(columns, rows)
    middle = points[faces].mean(axis=1)
    keep = np.ones(len(faces), dtype=bool)
    for x, y, half in HOLES:
        hole = ((middle[:, 0] - x) / half) ** 2 + ((middle[:, 1] - y) / (0.6 * half)) ** 2
        keep &= (hole > 1.0) | (middle[:, 2] < 0.0)
    used, faces = np.unique(faces[keep], return_inverse=True)
    points, faces = points[used], faces.reshape(-1, 3)
    skin = len(points)
    for centre in EYES[::-1]:  # the left one first, as its joint
        ball, triangles = _ball(centre, 13.0)
        faces = np.concatenate([faces, triangles + len(points)])
        points = np.concatenate([points, ball])
    return Head(
        points,
        faces,
        _weights(points, skin),
        _regressor(points, skin),
        _marks(points[:skin]),
    )


def _egg(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rings from the crown down to the neck."""
    down = np.linspace(0.0, 2.2, rows - 8)[1:]
    neck = np.linspace(np.cos(2.2), -1.13, 9)[1:]
    height = np.concatenate([np.cos(down), neck])
    width = np.concatenate([np.sin(down), np.full(8, 0.76)])
    around = np.arange(columns) * (2.0 * np.pi / columns)
    unit = np.stack(
        [
            np.outer(width, np.sin(around)),
            np.outer(height, np.ones(columns)),
            np.outer(width, np.cos(around)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = np.concatenate([[[0.0, 1.0, 0.0]], unit]) * RADII
    x, y, z = points.T
    nose = 22.0 * np.exp(-((x / 12.0) ** 2) - ((y + 2.0) / 18.0) ** 2)
    points[:, 2] += np.where(z > 0.0, nose, 0.0)
    index = 1 + np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    bands = np.concatenate(
        [np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)]
    )
    cap = np.stack([np.zeros(columns, int), index[0], np.roll(index[0], -1)], -1)
    return points, np.concatenate([cap, bands])


def _ball(centre: np.ndarray, radius: float, columns: int = 12, rows: int = 8):
    """A closed sphere with poles in front and behind."""
    turn = np.linspace(0.0, np.pi, rows)[1:-1]
    around = np.arange(columns) * (2.0 * np.pi / columns)
    rings = np.stack(
        [
            np.outer(np.sin(turn), np.cos(around)),
            np.outer(np.sin(turn), np.sin(around)),
            np.outer(np.cos(turn), np.ones(columns)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = centre + radius * np.concatenate([[[0.0, 0, 1]], rings, [[0.0, 0, -1]]])
    index = 1 + np.arange(len(rings)).reshape(rows - 2, columns)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    last = len(points) - 1
    front = np.stack([np.zeros(columns, int), index[0], np.roll(index[0], -1)], -1)
    back = np.stack([np.full(columns, last), np.roll(index[-1], -1), index[-1]], -1)
    bands = [np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)]
    return points, np.concatenate([front, *bands, back])[:, ::-1]


def _weights(points: np.ndarray, skin: int) -> np.ndarray:
    """Shares of the joints: smooth on the skin, one each on the eyeballs."""
    y, z = points[:skin, 1:].T
    root = 1.0 / (1.0 + np.exp((y + 92.0) / 3.0))
    jaw = 1.0 / (1.0 + np.exp((y + 35.0 - 0.1 * z) / 5.0)) / (1.0 + np.exp((20.0 - z) / 8.0))
    weights = np.zeros((len(points), 5))
    weights[:skin, 0] = root
    weights[:skin, 2] = (1.0 - root) * jaw
    weights[:skin, 1] = 1.0 - weights[:skin, 0] - weights[:skin, 2]
    ball = (len(points) - skin) // 2
    weights[skin : skin + ball, 3] = 1.0
    weights[skin + ball :, 4] = 1.0
    return weights


def _regressor(points: np.ndarray, skin: int) -> np.ndarray:
    """Joints as means of a few vertices each."""
    y, z = points[:skin, 1:].T
    ball = (len(points) - skin) // 2
    chosen = [
        np.nonzero(y < y.min() + 8.0)[0],
        np.nonzero(np.abs(y + 84.0) < 8.0)[0],
        np.nonzero((np.abs(y + 8.0) < 9.0) & (np.abs(z) < 15.0))[0],
        np.arange(skin, skin + ball),
        np.arange(skin + ball, len(points)),
    ]
    regressor = np.zeros((5, len(points)))
    for j, rows in enumerate(chosen):
        regressor[j, rows] = 1.0 / len(rows)
    return regressor


def _marks(skin: np.ndarray) -> np.ndarray:
    """Vertices near the iBUG points, on the front."""
    front = np.nonzero(skin[:, 2] > 0.0)[0]
    return front[ibug_vertices(torch.from_numpy(skin[front]).float()).numpy()]


def flame_model(identity: int = 3, expression: int = 3) -> FlameModel:
    """A model of the head with smooth modes of 3 mm, small correctives and all joints free."""
    made = head()
    rng = np.random.default_rng(3)
    points = torch.from_numpy(made.points).float()
    faces = torch.from_numpy(made.faces).int()
    marks = torch.from_numpy(made.marks)
    chart = head_chart(points, faces, points[marks[30]])

    def modes(count: int, size: float) -> Tensor:
        fields = size * smooth_fields(rng, made.points, count)
        return torch.from_numpy(fields).float().flatten(1)

    mean, basis = smooth_albedo(count=5, size=16)
    unposed = LinearFaceModel(
        info=ModelInfo("head", "Apache-2.0", True, "tests"),
        mean=points,
        identity_basis=modes(identity, 3.0),
        expression_basis=modes(expression, 2.0),
        expression_names=tuple(f"expression{k}" for k in range(expression)),
        expression_is_blendshape=False,
        faces=faces,
        uv=chart.uv,
        uv_faces=chart.uv_faces,
        albedo_mean=mean,
        albedo_basis=basis,
        landmarks={"ibug68": vertex_landmarks(marks, faces)},
    )
    skeleton = Skeleton(
        pose_basis=modes(36, 0.5),
        joint_regressor=torch.from_numpy(made.regressor).float(),
        weights=torch.from_numpy(made.weights).float(),
        parents=PARENTS,
        turning=(1, 2, 3, 4),
        deviation=torch.tensor(list(DEVIATIONS.values())),
    )
    return FlameModel(unposed, skeleton)


def rodrigues(rotvec: np.ndarray) -> np.ndarray:
    """Rotation matrix of an axis-angle vector, from sine and cosine."""
    angle = float(np.linalg.norm(rotvec))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = rotvec / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def skinned(
    surface: np.ndarray,
    rotvecs: np.ndarray,
    weights: np.ndarray,
    regressor: np.ndarray,
    posedirs: np.ndarray,
) -> np.ndarray:
    """Linear blend skinning with pose correctives, vertex by vertex with 4 x 4 matrices. `posedirs`:
    (N, 3, 36)."""
    rotations = [rodrigues(r) for r in rotvecs]
    feature = np.concatenate([(R - np.eye(3)).reshape(-1) for R in rotations[1:]])
    corrected = surface + posedirs @ feature
    joints = regressor @ surface
    world: list[np.ndarray] = []
    for j, R in enumerate(rotations):
        local = np.eye(4)
        local[:3, :3] = R
        local[:3, 3] = joints[j] - (joints[PARENTS[j]] if j else 0.0)
        world.append(local if j == 0 else world[PARENTS[j]] @ local)
    moved = []
    for j, T in enumerate(world):
        back = np.eye(4)
        back[:3, 3] = -joints[j]
        moved.append(T @ back)
    out = np.zeros_like(surface)
    for v, point in enumerate(corrected):
        T = sum(w * M for w, M in zip(weights[v], moved, strict=True))
        out[v] = (T @ np.append(point, 1.0))[:3]
    return out
