"""What the GPU benchmarks fit: the rig at 512 px as arrays, so that no file is read inside what is timed.

Every subject is another choice of five of the rig's nine cameras (126 of them), or one camera alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks import data, prepared
from hrnfit.camera import Camera
from hrnfit.io.cameras import load_cameras
from hrnfit.io.image import encode_srgb, load_image
from hrnfit.observe.landmarks import LandmarkDetector, MediaPipeDetector
from hrnfit.observe.observation import Landmarks

RIG = "12467"
"""Five cameras, 15 to 45 degrees apart."""
SOME = 16
"""Every so many pixels tell a photograph from the others: encoding all of them is no detection, and took 8 ms."""


@dataclass(frozen=True)
class Photographs:
    """Arguments of one fit; images (H, W, 3) uint8, masks (H, W) float32, landmarks in their pixels."""

    name: str
    images: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    cameras: tuple[Camera, ...]

    def only(self, views: Sequence[str], name: str) -> Photographs:
        """Some of the views."""
        return Photographs(
            name,
            {v: self.images[v] for v in views},
            {v: self.masks[v] for v in views},
            tuple(c for c in self.cameras if c.name in views),
        )


@cache
def whole_rig(size: int) -> Photographs:
    """All nine views of the rig at a size, px per side."""
    names = [f"cam_{i}" for i in range(9)]
    folder = data.data_folder() / "rig_t1"
    cameras = {c.name: c for c in load_cameras(folder / "cameras.json")}
    images, masks = {}, {}
    for name in names:
        linear = load_image(folder / "images" / f"{name}.png").image.numpy()
        images[name] = encode_srgb(torch.from_numpy(_shrunk(linear, size)))
        mask = cv2.imread(str(folder / "masks" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        masks[name] = _shrunk((mask > 127).astype(np.float32), size)
    return Photographs(
        f"rig_t1 {size} px", images, masks, tuple(cameras[n].resize(size, size) for n in names)
    )


def rig(size: int = 512, cameras: str = RIG) -> Photographs:
    """Some cameras of the rig by their digits."""
    return whole_rig(size).only([f"cam_{i}" for i in cameras], f"rig_t1 {cameras} {size} px")


def subjects(count: int, size: int = 512) -> list[Photographs]:
    """So many choices of five cameras out of nine; those of `RIG` first."""
    chosen = ["".join(c) for c in combinations("012345678", len(RIG))]
    chosen.remove(RIG)
    return [rig(size, digits) for digits in [RIG, *chosen][:count]]


def _shrunk(image: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


@dataclass
class Detected:
    """Landmarks found before, in photographs that were shrunk since: a detector for machines without one."""

    known: Mapping[bytes, Landmarks | None]
    """By the 8-bit codes of some of the photograph's pixels."""

    def detect(self, image: torch.Tensor) -> Landmarks | None:
        """What was found in this photograph."""
        return self.known[encode_srgb(image[::SOME, ::SOME]).tobytes()]


def detector(path: str | Path | None, sizes: Sequence[int]) -> LandmarkDetector:
    """MediaPipe, or the landmarks of a file of `benchmarks.prepared`, scaled to the rig at these sizes."""
    if path is None:
        return MediaPipeDetector()
    found = prepared.load(path)
    if found is None:
        raise FileNotFoundError(
            f"{path}: no such file; write it with python -m benchmarks.prepared"
        )
    known: dict[bytes, Landmarks | None] = {}
    for name in (f"cam_{i}" for i in range(9)):
        photograph = load_image(data.data_folder() / "rig_t1" / "images" / f"{name}.png").image
        marks = found.landmarks.get(prepared.checksum(photograph))
        for size in sizes:
            scale = size / photograph.shape[0]
            moved = None if marks is None else replace(marks, points=marks.points * scale)
            known[whole_rig(size).images[name][::SOME, ::SOME].tobytes()] = moved
    return Detected(known)


def arguments(case: Photographs) -> dict[str, Any]:
    """Of `hrnfit.fit`, but for model and device."""
    return {"images": case.images, "cams": case.cameras, "masks": case.masks}
