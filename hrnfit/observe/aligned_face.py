"""A face turned upright and scaled to the 112 px that recognition networks were trained on.

Law: the similarity that carries five points of the face nearest, in least squares, to ArcFace's five
(Deng et al. 2019; Umeyama 1991 in the plane, written with complex numbers); what leaves the window goes
on with its border. Pixel centres lie at +0.5 here; the published points count from the first centre.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.check import check_one_of
from hrnfit.observe.facemesh import five_from_mediapipe
from hrnfit.observe.observation import Landmarks

SIZE = 112
"""Side of the aligned picture, px."""

POINTS = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Eye centres, nose tip and mouth corners in the aligned picture, image-left first; px from the centre
of the first pixel."""

EYE_CORNERS_68, SINGLE_68 = ((36, 39), (42, 45)), (30, 48, 54)
"""The five among the iBUG points: eyes as the middle of their corners, nose tip, mouth corners."""


def five_points(landmarks: Landmarks) -> Landmarks:
    """Scheme `five` of landmarks in any scheme. Raises ValueError for an unknown scheme."""
    check_one_of("landmark scheme", landmarks.scheme, ("ibug68", "mediapipe478", "five"))
    if landmarks.scheme == "mediapipe478":
        return five_from_mediapipe(landmarks)
    if landmarks.scheme == "five":
        return landmarks
    pairs, single = torch.tensor(EYE_CORNERS_68), torch.tensor(SINGLE_68)
    points, confidence = landmarks.points, landmarks.confidence
    return Landmarks(
        torch.cat([points[pairs].mean(1), points[single]]),
        torch.cat([confidence[pairs].amin(1), confidence[single]]),
        "five",
    )


def window_from_aligned(
    points: Float[Tensor, "V 5 2"],
) -> tuple[Float[Tensor, "V 2 3"], Bool[Tensor, "V"]]:
    """Matrices from px of the aligned picture to px of the window, and where the points tell one.

    Five equal points tell none, nor do points mirrored or scattered so that no similarity is nearer than
    a single point; their matrix is the identity.
    """
    target = torch.complex(*(points.new_tensor(POINTS) + 0.5).unbind(-1))
    source = torch.complex(*points.unbind(-1))
    centre, aim = source.mean(-1, keepdim=True), target.mean()
    spread = (source - centre).abs().square().sum(-1)
    turn = ((source - centre).conj() * (target - aim)).sum(-1)  # scale and angle, times the spread
    told = (spread > 0) & (turn.abs() > 0)
    inverse = spread / torch.where(told, turn, torch.ones_like(turn))
    inverse = torch.where(told, inverse, torch.ones_like(inverse))
    shift = torch.where(told, centre[:, 0] - inverse * aim, torch.zeros_like(aim))
    rows = (inverse.real, -inverse.imag, shift.real, inverse.imag, inverse.real, shift.imag)
    return torch.stack(rows, -1).view(-1, 2, 3), told


def aligned(
    images: Float[Tensor, "V S S C"], matrix: Float[Tensor, "V 2 3"]
) -> Float[Tensor, "V C 112 112"]:
    """Windows seen through `window_from_aligned`. Differentiable in the images.

    A larger window is averaged over as many look-ups per pixel and axis as it has times 112 px: a face
    that fills it would be skipped over otherwise. The number follows from the shape alone.
    """
    size = images.shape[1]
    per_pixel = max(1, math.ceil(size / SIZE))
    count = SIZE * per_pixel
    at = (torch.arange(count, dtype=images.dtype, device=images.device) + 0.5) / per_pixel
    x, y = torch.meshgrid(at, at, indexing="xy")
    homogeneous = torch.stack([x, y, torch.ones_like(x)], -1)
    pixels = torch.einsum("vij,hwj->vhwi", matrix, homogeneous)
    seen = torch.nn.functional.grid_sample(
        images.movedim(-1, 1),
        pixels * (2.0 / size) - 1.0,
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return torch.nn.functional.avg_pool2d(seen, per_pixel)
