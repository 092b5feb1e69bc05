"""Measure where a landmark detector sees its points on a model: render, detect, back-project.

The mean and a few mild samples are seen from several sides under several lights; what the detector
marks is carried to the mean by barycentric coordinates and centred robustly (`model/`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.model.dense_landmarks import MAX_GAP, closest_on_surface, robust_embedding
from hrnfit.model.face_model import FaceModel, LandmarkSet
from hrnfit.model.linear import landmark_positions
from hrnfit.model.lip_landmarks import on_own_lips
from hrnfit.model.painting import Scene, painted_scene
from hrnfit.model.stored import StoredModel, with_landmarks
from hrnfit.observe.observation import Landmarks
from hrnfit.render.rasterizer import Rasterizer

LIGHTS = ((0.0, 0.3, 1.0), (-0.8, 0.5, 0.7), (0.8, 0.5, 0.7))
"""Directions to the key light in the camera's frame with y up; turn by turn."""

AMBIENT, KEY = 0.45, 0.6

FIRST_IRIS = 468
"""FaceMesh points from here on lie on the irises."""

Detect = Callable[[Tensor], Landmarks | None]
"""Landmarks of the face in a picture (H, W, 3), linear RGB; `MediaPipeDetector().detect` is one."""


@dataclass(frozen=True)
class DenseSettings:
    """From where and how often the model is looked at."""

    yaws_deg: tuple[float, ...] = (-50.0, -35.0, -20.0, -8.0, 0.0, 8.0, 20.0, 35.0, 50.0)
    pitches_deg: tuple[float, ...] = (-10.0, 0.0, 10.0)
    """Every yaw is seen level; every second one also from above and below."""
    samples: int = 4
    """Identities beside the mean."""
    sample_std: float = 0.6
    """Strength of the samples, standard deviations on the first 20 modes."""
    size: int = 640
    """Side of the renders, px."""
    distance: float = 900.0
    """Camera to face, mm."""
    field: float = 270.0
    """Width of the picture at the face, mm: a face fills about two thirds of it."""
    seed: int = 7


class Hits(NamedTuple):
    """Surface points under the detected landmarks of one render."""

    triangles: Int[Tensor, "L"]
    """-1 where the landmark lies beside the mesh."""
    barycentric: Float[Tensor, "L 3"]
    weight: Float[Tensor, "L"]


class Shot(NamedTuple):
    """One render, and what its pixels see."""

    image: Float[Tensor, "S S 3"]
    triangle: Int[Tensor, "S S"]
    points: Float[Tensor, "M 3"]
    """Pixels and camera depth of the vertices."""
    normals: Float[Tensor, "M 3"]
    """Unit normals in the camera's frame."""


def measure_landmarks(
    model: FaceModel,
    detect: Detect,
    rasterizer: Rasterizer,
    settings: DenseSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LandmarkSet:
    """Embedding of the detector's points in the model, with the spread over views and samples.

    Raises ValueError when the detector finds a face in fewer than half of the renders.
    """
    settings = settings or DenseSettings()
    shapes, poses = _shapes(model, settings), _poses(settings)
    focus = _middle(model, shapes[0])
    found: list[Hits] = []
    done, total = 0, len(shapes) * len(poses)
    for shape in shapes:
        scene = painted_scene(model, shape)
        for k, R in enumerate(poses):
            shot = take_shot(scene, focus, R, LIGHTS[k % len(LIGHTS)], rasterizer, settings)
            marks = detect(shot.image)
            if marks is not None:
                hits = back_project(marks.points, marks.confidence, shot, scene.faces)
                found.append(on_model(hits, scene, model.faces))
            done += 1
            if progress is not None:
                progress(done, total)
    if 2 * len(found) < total:
        raise ValueError(
            f"model '{model.info.name}': a face was found in {len(found)} of {total} renders, too "
            "few to measure landmarks; check its albedo and region masks"
        )
    measured = robust_embedding(
        shapes[0],
        model.faces,
        torch.stack([hits.triangles for hits in found]),
        torch.stack([hits.barycentric for hits in found]),
        torch.stack([hits.weight for hits in found]),
    )
    if "ibug68" not in model.landmarks:
        return measured
    inside = model.regions.get("mouth_interior")
    return on_own_lips(shapes[0], model.faces, measured, model.landmarks["ibug68"], inside)


def with_dense_landmarks(
    model: StoredModel,
    detect: Detect,
    rasterizer: Rasterizer,
    settings: DenseSettings | None = None,
) -> StoredModel:
    """The model with a measured `mediapipe478` set; unchanged when it has one."""
    if "mediapipe478" in model.landmarks:
        return model
    marks = measure_landmarks(model, detect, rasterizer, settings)
    return with_landmarks(model, "mediapipe478", marks)


def take_shot(
    scene: Scene,
    focus: Float[Tensor, "3"],
    R: Float[Tensor, "3 3"],
    light: tuple[float, float, float],
    rasterizer: Rasterizer,
    settings: DenseSettings,
) -> Shot:
    """Lambertian render of the scene turned by R about `focus`, on grey, twice supersampled."""
    size = 2 * settings.size
    turned = scene.vertices @ R.T
    focal = size * settings.distance / settings.field
    centred = (turned - focus @ R.T) * torch.tensor([1.0, -1.0, -1.0])
    depth = centred[:, 2:] + settings.distance
    points = torch.cat([focal * centred[:, :2] / depth + 0.5 * size, depth], dim=1)
    normals = _vertex_normals(turned, scene.faces)
    towards = torch.tensor(light) / torch.tensor(light).norm()
    shade = AMBIENT + KEY * (normals @ towards).clamp_min(0.0)
    raster = rasterizer.rasterize(points[None], scene.faces.int(), size, size)
    colours = (scene.colours * shade[:, None])[None]
    image = rasterizer.interpolate(colours, raster, scene.faces.int())[0]
    image = torch.where(raster.triangle[0, ..., None] >= 0, image, 0.25)
    half = image.reshape(settings.size, 2, settings.size, 2, 3).mean(dim=(1, 3))
    flipped = normals * torch.tensor([1.0, -1.0, -1.0])
    return Shot(half, raster.triangle[0], points, flipped)


def back_project(
    marks: Float[Tensor, "L 2"],
    confidence: Float[Tensor, "L"],
    shot: Shot,
    faces: Int[Tensor, "G 3"],
) -> Hits:
    """Triangle and barycentric coordinates under each landmark, weighted by how squarely it is seen.

    Seen at a slant the place on the surface is badly known: the weight is the squared cosine, 0 below
    0.3."""
    marks = marks.to(shot.points) * (shot.triangle.shape[0] / shot.image.shape[0])
    column, row = marks.floor().long().clamp(0, shot.triangle.shape[0] - 1).unbind(dim=1)
    triangle = shot.triangle[row, column]
    corners = faces[triangle.clamp_min(0).long()].long()
    barycentric = _perspective_barycentric(marks, shot.points[corners])
    normal = (shot.normals[corners] * barycentric[..., None]).sum(dim=1)
    cosine = -torch.nn.functional.normalize(normal, dim=1)[:, 2]
    squarely = torch.where(cosine > 0.3, cosine**2, 0.0)
    weight = confidence.to(squarely) * squarely * (triangle >= 0)
    return Hits(triangle, barycentric, weight)


def on_model(hits: Hits, scene: Scene, faces: Int[Tensor, "F 3"]) -> Hits:
    """Hits on the filling of a hole moved to the closest point of the model itself, at most 4 mm away.

    Lid points often land on the painted eyeball next to the lid. Iris points there mean the eyeball,
    which the model lacks: they count as not seen.
    """
    filling = hits.triangles >= len(faces)
    if not bool(filling.any()):
        return hits
    corners = scene.faces[hits.triangles[filling].long()].long()
    places = (scene.vertices[corners] * hits.barycentric[filling][..., None]).sum(dim=1)
    used = int(faces.max()) + 1
    triangles, barycentric, gap = closest_on_surface(scene.vertices[:used], faces, places)
    moved = Hits(hits.triangles.clone(), hits.barycentric.clone(), hits.weight.clone())
    moved.triangles[filling] = triangles.to(moved.triangles)
    moved.barycentric[filling] = barycentric
    moved.weight[filling] *= gap < MAX_GAP
    if bool(filling[FIRST_IRIS:].any()):
        moved.weight[FIRST_IRIS:] = 0.0
    return moved


def _perspective_barycentric(
    marks: Float[Tensor, "L 2"], corners: Float[Tensor, "L 3 3"]
) -> Float[Tensor, "L 3"]:
    """Weights of the triangle's corners (px, px, depth) at the pixel positions."""
    offset = corners[..., :2] - marks[:, None]
    x, y = offset.unbind(dim=2)
    cross = x.roll(-1, 1) * y.roll(-2, 1) - y.roll(-1, 1) * x.roll(-2, 1)
    weights = cross / corners[..., 2]
    total = weights.sum(dim=1, keepdim=True)
    safe = torch.where(total.abs() < 1e-12, torch.ones_like(total), total)
    return torch.where(total.abs() < 1e-12, 1.0 / 3.0, weights / safe)


def _middle(model: FaceModel, mean: Float[Tensor, "N 3"]) -> Float[Tensor, "3"]:
    """Middle of the face: of the landmarks where there are any, else of the vertices."""
    if "ibug68" not in model.landmarks:
        return mean.mean(dim=0)
    return landmark_positions(mean, model.faces, model.landmarks["ibug68"])[17:].mean(dim=0)


def _shapes(model: FaceModel, settings: DenseSettings) -> list[Float[Tensor, "N 3"]]:
    """The mean, then samples in opposite pairs so that their average stays the mean."""
    generator = torch.Generator().manual_seed(settings.seed)
    identity = torch.zeros(settings.samples + 1, model.n_identity)
    used = min(20, model.n_identity)
    for k in range(settings.samples):
        if k % 2 == 0:
            draw = torch.randn(used, generator=generator) * settings.sample_std
        identity[k + 1, :used] = draw if k % 2 == 0 else -draw  # pyright: ignore
    expression = torch.zeros(len(identity), model.n_expression)
    return list(model.shape(identity, expression))


def _poses(settings: DenseSettings) -> list[Float[Tensor, "3 3"]]:
    """Rotations of the head: yaw about y, then pitch about x."""
    poses: list[Tensor] = []
    for k, yaw in enumerate(settings.yaws_deg):
        for pitch in settings.pitches_deg:
            if pitch != 0.0 and k % 2 == 1:
                continue
            y, x = torch.deg2rad(torch.tensor([yaw, pitch])).tolist()
            cy, sy = torch.cos(torch.tensor(y)).item(), torch.sin(torch.tensor(y)).item()
            cx, sx = torch.cos(torch.tensor(x)).item(), torch.sin(torch.tensor(x)).item()
            R_yaw = torch.tensor([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
            R_pitch = torch.tensor([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
            poses.append(R_pitch @ R_yaw)
    return poses


def _vertex_normals(
    vertices: Float[Tensor, "M 3"], faces: Int[Tensor, "G 3"]
) -> Float[Tensor, "M 3"]:
    """Area-weighted unit normals."""
    index = faces.long()
    a, b, c = vertices[index].unbind(dim=1)
    normal = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total.index_add_(0, index[:, k], normal)
    return torch.nn.functional.normalize(total, dim=1)
