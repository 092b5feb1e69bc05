"""Checks of the embedded model that need a detector: `python -m priors.generic.check [SHEETS]`.

Renders the mean at yaw 0, +-30, +-45 under three lights; prints for each whether MediaPipe finds
the face and how far its points lie from the model's own after a similarity. With a folder, writes
the contact sheets of docs/generic_model.md there.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np

from .build import DEFAULT
from .detect import detect, detector
from .views import LIGHTS, projected, render, sheet

YAWS = (0.0, 30.0, -30.0, 45.0, -45.0)
SIZE = 640
log = logging.getLogger(__name__)


def similarity_residual(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Distances (K,) of target points (K, D) from the best similar image of the source."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, s, vt = np.linalg.svd(b.T @ a)
    d = np.ones(len(s))
    d[-1] = np.sign(np.linalg.det(u @ vt))
    return np.linalg.norm((s * d).sum() / (a**2).sum() * a @ ((u * d) @ vt).T - b, axis=1)


def own_points(model: dict[str, np.ndarray], scheme: str = "mediapipe478") -> np.ndarray:
    """The model's landmarks (L, 3) on its mean."""
    corners = model["mean"].astype(float)[model["faces"][model[f"landmarks_{scheme}_triangles"]]]
    return (corners * model[f"landmarks_{scheme}_barycentric"][..., None]).sum(axis=1)


def detection_errors(model: dict[str, np.ndarray]) -> dict[tuple[float, str], float | None]:
    """Per yaw and light: rms distance in mm in the image plane, None where no face was found."""
    mesh, own, out = detector(), own_points(model), {}
    known = model["landmarks_mediapipe478_triangles"] >= 0
    for yaw in YAWS:
        for name, light in LIGHTS.items():
            found = detect(
                mesh, render(model, model["mean"].astype(float), yaw, 0, light, SIZE).image
            )
            if found is None:
                out[yaw, name] = None
                continue
            pixels = projected(own, yaw, 0.0, SIZE)[:, :2]
            residual = similarity_residual(found[known, :2], pixels[known]) * 280.0 / SIZE
            out[yaw, name] = float(np.sqrt((residual**2).mean()))
    return out


def sheets(model: dict[str, np.ndarray], folder: Path) -> None:
    """Write mean, samples and expressions as JPEG."""
    import cv2

    mean = model["mean"].astype(float)
    grey = np.full((4, 4, 3), 0.45)
    views = ((0, 0), (-35, 0), (-80, 0), (0, -25))
    pictures = [render(model, mean, y, p, size=360).image for y, p in views]
    pictures += [render(model, mean, y, p, size=360, albedo=grey).image for y, p in views]
    _write(cv2, folder / "generic_mean.jpg", sheet(pictures, 4))
    rng = np.random.default_rng(3)
    people = []
    for _ in range(15):
        head = mean + np.tensordot(
            rng.standard_normal(80), model["identity_basis"].astype(float), 1
        )
        paint = model["albedo_mean"].astype(np.float32) + _upsampled(cv2, model, rng)
        people.append(render(model, head, -15, 0, size=260, albedo=np.clip(paint, 0.002, 1)).image)
    _write(cv2, folder / "generic_samples.jpg", sheet(people, 5))
    faces = []
    for name, shape in zip(model["expression_names"], model["expression_basis"], strict=True):
        image = render(model, mean + shape.astype(float), -12, 0, size=210).image
        cv2.putText(image, str(name), (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 0), 1)
        faces.append(image)
    _write(cv2, folder / "generic_expressions.jpg", sheet(faces, 9))


def _upsampled(cv2, model: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    basis = model["albedo_basis"].astype(np.float32)
    small = np.tensordot(rng.standard_normal(len(basis)).astype(np.float32), basis, 1)
    size = model["albedo_mean"].shape[:2]
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_LINEAR)


def _write(cv2, path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def main() -> None:
    with np.load(DEFAULT) as file:
        model = dict(file)
    for (yaw, light), error in detection_errors(model).items():
        log.info(
            "yaw %+.0f, light %s: %s", yaw, light, "no face" if error is None else f"{error:.2f} mm"
        )
    if len(sys.argv) > 1:
        sheets(model, Path(sys.argv[1]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
