"""Measure how the landmark detector errs on faces: `python -m priors.detector.measure OUT.npz`.

Random faces of one or more models are painted, rendered and shown to the detector; the error of a
point is what was marked less where the model's own point lies, in mm at the face. What remains
after the errors' part that is proportional to the face's deviation from the mean (`SHRINK`: detectors
report usual faces), the shift of the whole face (the pose takes it up) and the mean error of each point
(the embedding takes it up) is described by a few patterns that points share, and by the variance of
each point on its own. Output: `basis` (478, 2, K) and `variance` (478, 2), float16, in the format
of `hrnfit/fit/detector_noise.npz`. A run is deterministic for its models, number of faces and seed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBasis
from hrnfit.fit.dense_landmarks import DenseSettings, Detect, take_shot
from hrnfit.fit.detector_noise import SHRINK
from hrnfit.fit.landmark_views import scheme_points
from hrnfit.fit.surface_points import mean_expansion
from hrnfit.model.face_model import FaceModel
from hrnfit.model.linear import landmark_positions
from hrnfit.model.load import load_model
from hrnfit.model.painting import painted_scene
from hrnfit.render.rasterizer import Rasterizer

SCHEME = "mediapipe478"
PATTERNS = 24
"""Patterns that points share: they make nine tenths of the variance."""
FLOOR = 0.3
"""Least standard deviation of a point on its own, mm: renders flatter the detector."""
INNER = slice(17, None)
"""iBUG points without the jaw: their middle is the middle of the picture."""
TO_IMAGE = (1.0, -1.0)
"""The image's x and y against the head's for a level face seen from the front."""


@dataclass(frozen=True)
class Population:
    """The faces and how they are seen."""

    expressions: int = 3
    """Expression coefficients of a face that are not 0."""
    activation: float = 0.4
    """Largest of them."""
    yaw_deg: float = 12.0
    pitch_deg: float = 6.0
    """Standard deviations of the pose: photographs that look into the camera."""
    distance: tuple[float, float] = (600.0, 1600.0)
    """Camera to face, mm, uniform."""
    size: int = 512
    """Side of the renders, px."""


@dataclass(frozen=True)
class Face:
    """One face before the camera."""

    identity: Float[Tensor, "I"]
    expression: Float[Tensor, "E"]
    R: Float[Tensor, "3 3"]
    """From the head to a camera frame with y up."""
    distance: float
    light: tuple[float, float, float]


@dataclass(frozen=True)
class Errors:
    """What the detector did on N faces of one model, mm at the face, x right and y down. float64."""

    marked: Float[Tensor, "N 478 2"]
    """Marked less true position."""
    deviation: Float[Tensor, "N 478 2"]
    """True face less mean face, as the front view shows it."""
    known: Bool[Tensor, "478"]
    """Points that the model has."""


def random_face(model: FaceModel, rng: np.random.Generator, population: Population) -> Face:
    """Identity of one standard deviation, a mild expression, pose, distance and light."""
    identity = torch.from_numpy(rng.normal(size=model.n_identity)).float()
    expression = torch.zeros(model.n_expression)
    count = min(population.expressions, model.n_expression)
    for k in rng.choice(model.n_expression, count, replace=False):
        expression[k] = rng.uniform(0.0, population.activation)
    yaw = math.radians(rng.normal(0.0, population.yaw_deg))
    pitch = math.radians(rng.normal(0.0, population.pitch_deg))
    cy, sy, cx, sx = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    turn = torch.tensor([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    nod = torch.tensor([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
    light = (rng.uniform(-1.0, 1.0), rng.uniform(0.0, 0.8), 1.0)
    return Face(identity, expression, nod @ turn, rng.uniform(*population.distance), light)


def detector_errors(
    model: FaceModel,
    detect: Detect,
    rasterizer: Rasterizer,
    faces: int,
    seed: int,
    population: Population | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Errors:
    """Errors on `faces` random faces of a model; those in which no face is found are left out."""
    population, rng = population or Population(), np.random.default_rng(seed)
    points, trust = scheme_points(model, SCHEME)
    basis = points.basis(mean_expansion(model))
    marked, deviation = [], []
    for k in range(faces):
        face = random_face(model, rng, population)
        error = _error(model, basis, detect, rasterizer, face, population)
        if error is not None:
            marked.append(error)
            moved = basis.points(face.identity.double(), face.expression.double()) - basis.mean
            deviation.append(moved[:, :2] * moved.new_tensor(TO_IMAGE))
        if progress is not None:
            progress(k + 1, faces)
    if 2 * len(marked) < faces:
        raise ValueError(
            f"model {model.info.name!r}: a face was found in {len(marked)} of {faces} renders, too "
            "few to say how the detector errs; check its albedo and region masks"
        )
    return Errors(torch.stack(marked), torch.stack(deviation), trust > 0)


def _error(
    model: FaceModel,
    basis: LandmarkBasis,
    detect: Detect,
    rasterizer: Rasterizer,
    face: Face,
    population: Population,
) -> Float[Tensor, "478 2"] | None:
    """Marked less true position of the points in one render, mm at the face."""
    shape = model.shape(face.identity, face.expression)
    look = replace(DenseSettings(), distance=face.distance, size=population.size)
    focus = landmark_positions(shape, model.faces, model.landmarks["ibug68"])[INNER].mean(0)
    scene = painted_scene(model, shape)
    marks = detect(take_shot(scene, focus, face.R, face.light, rasterizer, look).image)
    if marks is None:
        return None
    points = basis.points(face.identity.double(), face.expression.double()) - focus.double()
    x_cam = points @ face.R.double().T * points.new_tensor([1.0, -1.0, -1.0])
    focal = look.size * look.distance / look.field
    pixels = focal * x_cam[:, :2] / (x_cam[:, 2:] + look.distance) + 0.5 * look.size
    return (marks.points.double() - pixels) * (look.distance / focal)


def centred(errors: Errors, shrink: float = SHRINK) -> Float[Tensor, "N 478 2"]:
    """Errors without what is proportional to the face, the shift of each face, and each point's mean."""

    def without_shift(offsets: Tensor) -> Tensor:
        return offsets - offsets[:, errors.known].mean(1, keepdim=True)

    left = without_shift(errors.marked + shrink * without_shift(errors.deviation))
    left = left - left.mean(0)
    return left * errors.known[:, None]


def regression_on_faces(errors: Errors) -> float:
    """Share of a face's deviation that the detector does not report: `SHRINK`, as measured here."""
    flat = centred(errors, 0.0)
    own = centred(replace(errors, marked=errors.deviation), 0.0)
    return -float((flat * own).sum() / own.square().sum().clamp_min(1e-12))


def noise_model(
    left: Sequence[Float[Tensor, "_ 478 2"]],
    known: Sequence[Bool[Tensor, "478"]],
    patterns: int = PATTERNS,
    floor: float = FLOOR,
) -> tuple[Float[Tensor, "478 2 K"], Float[Tensor, "478 2"]]:
    """Patterns (mm per standard deviation) and the variance of what they leave, mm^2.

    left, known: centred errors of each model, and the points that it has.
    """
    rows = torch.cat([part.flatten(1) for part in left])
    counts = torch.stack(
        [len(part) * have.double() for part, have in zip(left, known, strict=True)]
    )
    seen = counts.sum(0).clamp_min(1.0).repeat_interleave(2)
    _, strength, shape = torch.linalg.svd(rows, full_matrices=False)
    k = min(patterns, len(rows) - 1)
    basis = (shape[:k] * strength[:k, None] / seen.sqrt()).T
    basis = basis * basis.sum(0).sign()  # the sign of a singular vector is the machine's choice
    rest = rows.square().sum(0) / seen - basis.square().sum(1)
    return basis.view(-1, 2, k), (rest.clamp_min(0.0) + floor**2).view(-1, 2)


def main(arguments: Sequence[str] | None = None) -> None:
    from hrnfit.observe.landmarks import MediaPipeDetector  # local: needs the extra `detect`
    from hrnfit.render.cpu import CpuRasterizer  # local: numba

    parser = argparse.ArgumentParser(prog="python -m priors.detector.measure", description=__doc__)
    parser.add_argument("output", type=Path, help="npz to write")
    parser.add_argument("--models", nargs="+", default=["generic"], help="names or files")
    parser.add_argument("--faces", type=int, default=150, help="renders per model")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    detector, rasterizer = MediaPipeDetector(margins=(1.7,)), CpuRasterizer()
    measured = [
        detector_errors(load_model(name), detector.detect, rasterizer, given.faces, given.seed)
        for name in given.models
    ]
    basis, variance = noise_model([centred(e) for e in measured], [e.known for e in measured])
    np.savez_compressed(
        given.output,
        basis=basis.numpy().astype(np.float16),
        variance=variance.numpy().astype(np.float16),
    )


if __name__ == "__main__":
    main()
