"""Landmark detection: the protocol, and MediaPipe FaceMesh behind it (extra `detect`).

A detector sees one whole photograph and answers in its pixels; every crop made inside is undone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.io.image import encode_srgb
from hrnfit.observe.facemesh import N_POINTS, eye_line, mirror_index
from hrnfit.observe.observation import Landmarks
from hrnfit.observe.selfocclusion import visibility
from hrnfit.quiet import without_stderr, without_warnings

FIRST_SIZE = 1024
"""Long side of the image in which faces are first looked for, px."""

TILE_SIZE = 384
"""Side of the tiles in which small faces are looked for, px; MediaPipe's detector sees 128."""

CROP_SIZE = 640
"""Side of the refining crops, px. FaceMesh itself works at 256 px on two thirds of them."""

MARGINS = (1.5, 1.7, 1.95)
"""Sides of the refining crops over the face's extent. Averaging three crops and their mirror images
removes most of the jitter that a single crop's placement causes."""


@runtime_checkable
class LandmarkDetector(Protocol):
    """Finds the face in a photograph.

    One of the user's own says its terms in an attribute `part`, a `hrnfit.licences.Part`; without it they
    count as unknown, which a commercial fit refuses.
    """

    def detect(self, image: Float[Tensor, "H W 3"]) -> Landmarks | None:
        """Landmarks of the largest face in linear RGB, original pixels; None when there is none."""
        ...


@dataclass(frozen=True)
class MediaPipeDetector:
    """478 FaceMesh points, the largest face, refined in upright crops. Deterministic, offline."""

    margins: Sequence[float] = MARGINS
    """Sides of the refining crops over the face's extent; none: the first detection stands."""
    mesh: Any = field(default=None, repr=False, compare=False)
    """MediaPipe's graph, made on construction."""

    def __post_init__(self) -> None:
        if self.mesh is None:
            object.__setattr__(self, "mesh", _face_mesh())

    def detect(self, image: Float[Tensor, "H W 3"]) -> Landmarks | None:
        """Largest face, `mediapipe478`, original pixels; None when no face is found."""
        codes = encode_srgb(image)
        first = self._search(codes)
        if first is None:
            return None
        points = first
        for margin in self.margins[:1]:  # one crop first: the first search was at low resolution
            again = self._in_crop(codes, points, margin, flipped=False)
            if again is None:  # nothing there when looked at closely: a false alarm
                return None
            points = again
        crops = [
            self._in_crop(codes, points, margin, flipped)
            for margin in self.margins
            for flipped in (False, True)
        ]
        found = [crop for crop in crops if crop is not None]
        if found:
            points = np.mean(found, 0)
        tensor = torch.from_numpy(points).float()
        return Landmarks(tensor[:, :2].contiguous(), visibility(tensor), "mediapipe478")

    def _search(self, codes: np.ndarray) -> np.ndarray | None:
        """Points (478, 3) of the largest face, px: whole image, then padded, tiled and turned."""
        for transform in _search_windows(*codes.shape[:2]):
            found = self._run(_warp(codes, *transform))
            if found:
                return _map_back(max(found, key=_extent), transform[0])
        return None

    def _in_crop(
        self, codes: np.ndarray, points: np.ndarray, margin: float, flipped: bool
    ) -> np.ndarray | None:
        """Points (478, 3), px, from one upright square crop around the known face."""
        matrix = _upright_crop(points, margin)
        window = _warp(codes, matrix, (CROP_SIZE, CROP_SIZE))
        if flipped:
            window = np.ascontiguousarray(window[:, ::-1])
        found = self._run(window)
        if not found:
            return None
        if flipped:
            found = [_mirrored(face) for face in found]
        faces = [_map_back(face, matrix) for face in found]
        centre = points[:, :2].mean(0)
        face = min(faces, key=lambda f: float(np.linalg.norm(f[:, :2].mean(0) - centre)))
        # Another face in the crop is farther away than half a face.
        near = np.linalg.norm(face[:, :2].mean(0) - centre) < 0.5 * _extent(points)
        return face if near else None

    def _run(self, window: np.ndarray) -> list[np.ndarray]:
        """All faces in an sRGB window (h, w, 3) uint8: (478, 3) px each; z smaller is nearer."""
        with _quiet():
            result = self.mesh.process(np.ascontiguousarray(window)).multi_face_landmarks
        scale = np.array([window.shape[1], window.shape[0], window.shape[1]], dtype=np.float64)
        return [np.array([[p.x, p.y, p.z] for p in face.landmark]) * scale for face in result or ()]


def _face_mesh() -> Any:
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _quiet():
            from mediapipe.python.solutions.face_mesh import FaceMesh

            mesh = FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=4)
            # Its threads load the networks, and log, after the constructor returns: wait for them.
            mesh.process(np.zeros((64, 64, 3), np.uint8))
            return mesh
    except ImportError as error:
        raise ImportError(
            "finding faces needs MediaPipe: pip install 'hrnfit[detect]'; or pass landmarks="
        ) from error


def _search_windows(height: int, width: int) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """(2x3 matrix window-from-image, (w, h) of the window): from the likely to the desperate."""
    whole = min(1.0, FIRST_SIZE / max(height, width))
    size = (max(1, round(width * whole)), max(1, round(height * whole)))
    yield _scaled(whole, 0.0, 0.0), size
    # A face that fills the picture is found only with a border around it.
    padded = 0.5 * FIRST_SIZE / max(height, width)
    shift = (FIRST_SIZE - padded * np.array([width, height])) / 2
    yield _scaled(padded, *shift), (FIRST_SIZE, FIRST_SIZE)
    # A small face, only in overlapping tiles.
    for tiles in (2, 4, 8):
        side = max(height, width) * 2.0 / (tiles + 1)
        scale = TILE_SIZE / side
        for top in np.arange(0.0, max(height - side / 2, 1), side / 2):
            for left in np.arange(0.0, max(width - side / 2, 1), side / 2):
                yield _scaled(scale, -left * scale, -top * scale), (TILE_SIZE, TILE_SIZE)
    # A photograph without an orientation tag may lie on its side or upside down.
    centre = np.array([width, height]) / 2
    for turns in (1, 3, 2):
        cos, sin = np.cos(turns * np.pi / 2), np.sin(turns * np.pi / 2)
        linear = whole * np.array([[cos, -sin], [sin, cos]])
        offset = np.array([FIRST_SIZE / 2, FIRST_SIZE / 2]) - linear @ centre
        yield np.column_stack([linear, offset]), (FIRST_SIZE, FIRST_SIZE)


def _scaled(scale: float, x: float, y: float) -> np.ndarray:
    return np.array([[scale, 0.0, x], [0.0, scale, y]])


def _upright_crop(points: np.ndarray, margin: float) -> np.ndarray:
    """2x3 matrix from image to crop px: face centred, its eyes level, `margin` times its extent."""
    right = eye_line(torch.from_numpy(points[:, :2])).numpy()
    right = right / max(float(np.linalg.norm(right)), 1e-9)
    rotation = np.array([right, [-right[1], right[0]]])
    upright = points[:, :2] @ rotation.T
    low, high = upright.min(0), upright.max(0)
    scale = CROP_SIZE / (margin * float((high - low).max()))
    linear = scale * rotation
    return np.column_stack([linear, CROP_SIZE / 2 - scale * (low + high) / 2])


def _warp(codes: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Window of `size` (w, h) through a similarity; pixel centres at +0.5, averaged when shrinking."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    codes, matrix = _cut_out(codes, matrix, size)
    factor = max(1, int(np.floor(1 / scale + 1e-6)))
    if factor > 1:  # bilinear look-up would skip pixels: average whole blocks first
        height, width = (max(factor, n // factor * factor) for n in codes.shape[:2])
        block = (max(1, width // factor), max(1, height // factor))
        codes = cv2.resize(codes[:height, :width], block, interpolation=cv2.INTER_AREA)
        matrix = np.column_stack([matrix[:, :2] * factor, matrix[:, 2]])
    # cv2 counts from the centre of the first pixel: m(c + 0.5) - 0.5.
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(codes, shifted, size, flags=interpolation, borderValue=(127, 127, 127))


def _cut_out(
    codes: np.ndarray, matrix: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that the window sees, with a border, and the matrix from there."""
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size]) - matrix[:, 2]
    seen = np.linalg.solve(matrix[:, :2], corners.T)  # (2, 4) image px
    border = 4 + 0.02 * float(np.ptp(seen))
    limit = np.array([codes.shape[1], codes.shape[0]])
    low = np.clip(np.floor(seen.min(1) - border), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(seen.max(1) + border), low + 1, limit).astype(int)
    shifted = np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ low])
    return codes[low[1] : high[1], low[0] : high[0]], shifted


def _map_back(face: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Window px to image px; z scaled alike."""
    xy = np.linalg.solve(matrix[:, :2], (face[:, :2] - matrix[:, 2]).T).T
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    return np.column_stack([xy, face[:, 2] / scale])


def _mirrored(face: np.ndarray) -> np.ndarray:
    """Points found in a mirrored crop as they lie in the crop."""
    face = face[mirror_index().numpy()]
    return np.column_stack([CROP_SIZE - face[:, 0], face[:, 1:]])


def _extent(face: np.ndarray) -> float:
    return float((face[:N_POINTS, :2].max(0) - face[:, :2].min(0)).max())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence MediaPipe's C++ log, which knows no other switch than the stderr descriptor."""
    with without_warnings(), without_stderr():
        yield
