"""Square pinhole windows of one size onto the views: undistorted, anti-aliased, exact to the pixel.

Laws: a world point projects to the same feature in the window as in the photograph; a window pixel
is the mean linear light over its area.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.check import check_finite, check_shape
from hrnfit.observe.facemesh import five_from_mediapipe, ibug68_from_mediapipe
from hrnfit.observe.observation import Landmarks, View, WorkingViews
from hrnfit.observe.undistorted import undistorted


def working_views(
    views: Sequence[View],
    boxes: Float[Tensor, "V 4"],
    size: int,
    dtype: torch.dtype = torch.float32,
    marks: PinholeLandmarks | None = None,
) -> WorkingViews:
    """Windows of `size` px onto the views.

    boxes: left, top, right, bottom in each view's undistorted pixels (those of `camera.pinhole()`);
    the shorter side is widened about its centre to a square. Windows may reach beyond the photograph:
    there the mask is 0, and the image goes on with the photograph's border. marks: the views'
    `pinhole_landmarks`, where more windows of the same views follow.
    """
    check_shape("boxes", boxes, (len(views), 4), "one left, top, right, bottom per view")
    check_finite("boxes", boxes)
    check_window_size(size)
    windows = [window_camera(v.camera, box, size) for v, box in zip(views, boxes, strict=True)]
    looks = [_resampled(v, w, size) for v, w in zip(views, windows, strict=True)]
    marks = pinhole_landmarks(views) if marks is None else marks
    return WorkingViews(
        images=torch.stack([image for image, _, _ in looks]).to(dtype),
        masks=torch.stack([mask for _, mask, _ in looks]).to(dtype),
        inside=torch.stack([inside for _, _, inside in looks]),
        K=torch.stack([w.K for w in windows]).to(dtype),
        T_cam_world=torch.stack([w.T_cam_world for w in windows]).to(dtype),
        landmarks=_window_landmarks(marks, views, windows).to(dtype),
        landmark_confidence=marks.confidence.to(dtype),
        names=tuple(v.name for v in views),
        landmark_scheme=marks.scheme,
    )


def check_window_size(size: int) -> None:
    """A window has pixels."""
    if size < 1:
        raise ValueError(f"size: expected a positive number of pixels, got {size}")


def window_camera(camera: Camera, box: Float[Tensor, "4"], size: int) -> Camera:
    """Pinhole camera of the square window of `size` px around a box of undistorted pixels."""
    left, top, right, bottom = (float(b) for b in box)
    side = max(right - left, bottom - top)
    if not side > 0:
        raise ValueError(f"boxes: expected left < right and top < bottom, got {box.tolist()}")
    corner = ((left + right - side) / 2, (top + bottom - side) / 2)
    # `crop` counts whole pixels only, so the fractional side goes into the scale of K by hand.
    scale = size / side
    K = camera.K.clone()
    K[0, 2] -= corner[0]
    K[1, 2] -= corner[1]
    K[:2] *= scale
    empty = camera.distortion.new_zeros(0)
    return Camera(K, camera.T_cam_world, empty, size, size, camera.name)


def face_boxes(
    points: Float[Tensor, "V L 2"],
    margin: float = 0.3,
    confidence: Float[Tensor, "V L"] | None = None,
) -> Float[Tensor, "V 4"]:
    """Square boxes (left, top, right, bottom) around each view's points, wider by `margin` of the
    extent on every side. Points of zero confidence or NaN do not count."""
    boxes = boxes_around(points, margin, confidence)
    check_boxes(boxes)
    return boxes


def boxes_around(
    points: Float[Tensor, "V L 2"],
    margin: float,
    confidence: Float[Tensor, "V L"] | None = None,
) -> Float[Tensor, "V 4"]:
    """`face_boxes` without a look at the values: not finite where a view has no usable point."""
    used = torch.isfinite(points).all(-1)
    if confidence is not None:
        used &= confidence > 0
    inf = torch.full_like(points, torch.inf)
    low = torch.where(used[..., None], points, inf).amin(-2)  # (V, 2)
    high = torch.where(used[..., None], points, -inf).amax(-2)
    half = (0.5 + margin) * (high - low).amax(-1, keepdim=True)
    centre = (low + high) / 2
    return torch.cat([centre - half, centre + half], -1)


def check_boxes(boxes: Float[Tensor, "V 4"]) -> None:
    """Every view had a point for its box."""
    if not bool(torch.isfinite(boxes).all()):
        raise ValueError("face_boxes: a view has no usable point; give its box another way")


def landmark_boxes(views: Sequence[View], margin: float = 0.3) -> Float[Tensor, "V 4"]:
    """`face_boxes` of the views' own landmarks, undistorted; the whole image where there are none."""
    boxes = []
    for view in views:
        whole = torch.tensor([0.0, 0.0, view.camera.width, view.camera.height])
        if view.landmarks is None:
            boxes.append(whole)
            continue
        points = view.camera.undistort(view.landmarks.points.to(view.camera.K))
        boxes.append(face_boxes(points[None], margin, view.landmarks.confidence[None])[0].float())
    return torch.stack(boxes)


def common_scheme(landmarks: Sequence[Landmarks | None]) -> tuple[Landmarks | None, ...]:
    """All landmarks in one scheme: FaceMesh points become iBUG or five where other views have those."""
    schemes = {marks.scheme for marks in landmarks if marks is not None}
    if len(schemes) < 2:
        return tuple(landmarks)
    rest = schemes - {"mediapipe478"}
    if len(rest) > 1:
        raise ValueError(
            f"landmarks: views have the schemes {', '.join(sorted(schemes))}, which cannot be joined; "
            "give all views the same number of points"
        )
    convert = {"ibug68": ibug68_from_mediapipe, "five": five_from_mediapipe}[rest.pop()]
    return tuple(
        convert(marks) if marks is not None and marks.scheme == "mediapipe478" else marks
        for marks in landmarks
    )


def stacked(matrices: Sequence[Tensor]) -> Float[Tensor, "V m n"]:
    """Matrices of the views' cameras, float64, on the host."""
    return torch.stack([matrix.detach().double().cpu() for matrix in matrices])


@dataclass(frozen=True)
class PinholeLandmarks:
    """Landmarks of all views in one scheme, undistorted: what does not depend on the windows. float64."""

    points: Float[Tensor, "V L 2"]
    """Pixels of each view's `camera.pinhole()`; 0 where missing."""
    confidence: Float[Tensor, "V L"]
    scheme: str


def pinhole_landmarks(views: Sequence[View]) -> PinholeLandmarks:
    """The views' landmarks without the lens, for windows of any place and size."""
    joined = common_scheme([view.landmarks for view in views])
    given = next((marks for marks in joined if marks is not None), None)
    if given is None:
        none = torch.zeros(len(views), 0, 2)
        return PinholeLandmarks(none, torch.zeros(len(views), 0), "mediapipe478")
    points = torch.zeros(len(views), len(given.points), 2, dtype=torch.float64)
    confidence = torch.zeros(len(views), len(given.points), dtype=torch.float64)
    for i, (view, marks) in enumerate(zip(views, joined, strict=True)):
        if marks is not None:
            used = marks.confidence > 0
            points[i, used] = undistorted(view.camera, marks.points[used])
            confidence[i] = marks.confidence.double()
    return PinholeLandmarks(points, confidence, given.scheme)


def _window_landmarks(
    marks: PinholeLandmarks, views: Sequence[View], windows: Sequence[Camera]
) -> Float[Tensor, "V L 2"]:
    """Landmarks in window pixels; 0 where missing."""
    moved = []
    for points, view, window in zip(marks.points, views, windows, strict=True):
        K, into = view.camera.K.double().cpu(), window.K.double().cpu()
        scale = into[0, 0] / K[0, 0]
        moved.append(scale * points + (into[:2, 2] - scale * K[:2, 2]))
    seen = (marks.confidence > 0)[..., None]
    return torch.where(seen, torch.stack(moved), torch.zeros_like(marks.points))


def _resampled(view: View, window: Camera, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image (S, S, 3) and mask (S, S) of the window, float32, and where the photograph is (S, S)."""
    ratio = float(view.camera.K[0, 0] / window.K[0, 0])  # photograph pixels per window pixel
    image = view.image.detach().cpu().numpy()
    given = view.mask
    mask = np.ones(image.shape[:2], np.float32) if given is None else given.cpu().numpy()
    # Far smaller windows: average whole blocks of the photograph first, or the grid below grows
    # with the photograph (at 6000 px into 256 px: 36 million samples).
    block = max(1, int(ratio // 2))
    image, mask = _block_mean(image, block), _block_mean(mask, block, border=0.0)
    samples = max(1, math.ceil(ratio / block - 1e-6))  # per window pixel and axis
    x, y, valid = _photograph_pixels(view.camera, window, size * samples)
    shape = (size, size)
    height, width = view.image.shape[:2]
    within = valid * ((x >= 0) & (x <= width) & (y >= 0) & (y <= height))
    inside = cv2.resize(within.astype(np.float32), shape, interpolation=cv2.INTER_AREA) > 1 - 1e-4
    x, y = (x / block).astype(np.float32), (y / block).astype(np.float32)
    if ratio >= 1:
        image = _sampled(image, x, y, cv2.BORDER_REPLICATE)
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    else:
        image = _cubic(image, x, y)
    mask = _sampled(mask, x, y, cv2.BORDER_CONSTANT) * valid
    mask = cv2.resize(mask, shape, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(image), torch.from_numpy(mask), torch.from_numpy(inside)


def _photograph_pixels(
    camera: Camera, window: Camera, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photograph pixels x, y (count, count) of a regular grid over the window, and where the lens
    model is valid (1 or 0)."""
    camera, window = camera.to(torch.float64, "cpu"), window.to(torch.float64, "cpu")
    scale = camera.K[0, 0] / window.K[0, 0]
    shift = camera.K[:2, 2] - scale * window.K[:2, 2]
    extent = torch.linspace(0, window.width, 33, dtype=torch.float64)
    coarse = camera.lens_valid(torch.cartesian_prod(extent, extent) * scale + shift)
    # float32 from here: 1e-4 px at 2000 px focal length, and three times faster.
    grid = (torch.arange(count, dtype=torch.float64) + 0.5) * (window.width / count)
    x, y = (grid * scale + shift[0]).float(), (grid * scale + shift[1]).float()
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    camera = camera.to(torch.float32)
    valid = torch.ones(count, count)
    if not bool(coarse.all()):  # the fold of a lens model is smooth: 33 x 33 nodes cannot miss it
        valid = camera.lens_valid(pixels).float()
    if camera.distortion.shape[0]:
        pixels = camera.distort(pixels)
    return pixels[..., 0].numpy(), pixels[..., 1].numpy(), valid.numpy()


def _sampled(image: np.ndarray, x: np.ndarray, y: np.ndarray, border: int) -> np.ndarray:
    """Image at pixels (x, y) counted from the corner; cv2 counts from the first pixel's centre."""
    return cv2.remap(image, x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=border)


def _cubic(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same, bicubic, for enlarging. OpenCV 5 rounds cubic look-ups to 1/32 px, torch does not."""
    height, width = image.shape[:2]
    grid = torch.from_numpy(np.stack([x * (2 / width) - 1, y * (2 / height) - 1], -1))
    source = torch.from_numpy(image).permute(2, 0, 1)
    sampled = torch.nn.functional.grid_sample(
        source[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False
    )[0]
    # Light cannot be negative; the cubic undershoots beside edges.
    return sampled.clamp_min(0).permute(1, 2, 0).contiguous().numpy()


def _block_mean(image: np.ndarray, block: int, border: float | None = None) -> np.ndarray:
    """Mean over `block` x `block` pixels, padded to whole blocks at the right and the bottom."""
    if block == 1:
        return image
    height, width = image.shape[:2]
    down, right = -height % block, -width % block
    if down or right:
        kind = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
        image = cv2.copyMakeBorder(image, 0, down, 0, right, kind, value=border or 0.0)
    shape = (image.shape[1] // block, image.shape[0] // block)
    return cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
