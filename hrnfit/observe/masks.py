"""Where a photograph may be compared with a face: masks from a projected model, hull or skin colour.

All are (H, W) in the photograph's own pixels, 1 to keep, 0 to leave out. GrabCut: Rother,
Kolmogorov, Blake, ACM Trans. Graph. 23 (2004).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.check import check_shape
from hrnfit.io.image import encode_srgb
from hrnfit.observe.observation import Landmarks

WORK_SIZE = 256
"""Long side of the region GrabCut works on, px; its colour model needs no more."""


def mask_from_projection(
    image: Float[Tensor, "H W 3"],
    silhouette: Float[Tensor, "H W"],
    uncertainty: float = 0.06,
    iterations: int = 3,
) -> Float[Tensor, "H W"]:
    """The face in a photograph, near the silhouette of a projected model, by GrabCut.

    uncertainty: half the width of the band around the outline that colour decides, over the square
    root of the silhouette's area. Farther inside is face, farther outside is not.
    """
    check_shape("silhouette", silhouette, tuple(image.shape[:2]))
    inside = (silhouette.detach().cpu().numpy() > 0.5).astype(np.uint8)
    if not inside.any():
        raise ValueError("silhouette: is empty; does the projected model lie inside the image?")
    reach = max(1.0, uncertainty * float(np.sqrt(inside.sum())))
    rows, columns = _region(inside, 3 * reach)
    codes = encode_srgb(image[rows, columns])
    region = inside[rows, columns]
    scale = min(1.0, WORK_SIZE / max(region.shape))
    small = (max(8, round(region.shape[1] * scale)), max(8, round(region.shape[0] * scale)))
    codes = cv2.resize(codes, small, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(region * 255, small, interpolation=cv2.INTER_AREA) > 127
    labels = _seeds(coarse.astype(np.uint8), reach * scale)
    kept = _grab_cut(np.ascontiguousarray(codes[..., ::-1]), labels, iterations)
    soft = cv2.resize(kept.astype(np.float32), region.shape[::-1], interpolation=cv2.INTER_LINEAR)
    mask = np.zeros(inside.shape, np.float32)
    mask[rows, columns] = soft > 0.5
    return torch.from_numpy(mask)


def hull_mask(landmarks: Landmarks, height: int, width: int) -> Float[Tensor, "H W"]:
    """The convex hull of the landmarks that are not missing."""
    points = landmarks.points[landmarks.confidence > 0].detach().cpu().numpy()
    if len(points) < 3:
        raise ValueError(f"landmarks: a hull needs 3 points, got {len(points)}")
    hull = cv2.convexHull(points.astype(np.float32))
    mask = np.zeros((height, width), np.uint8)
    # 1/16 px steps; cv2 counts from the first pixel's centre.
    fixed = np.rint((hull - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, 1, lineType=cv2.LINE_8, shift=4)
    return torch.from_numpy(mask.astype(np.float32))


def skin_mask(
    image: Float[Tensor, "H W 3"], face: Float[Tensor, "H W"], distance: float = 4.0
) -> Float[Tensor, "H W"]:
    """Pixels of `face` with the colour of its skin: no hair, brows, eyes, glasses, background.

    The skin is one Gaussian in log light and log chromaticity, fitted to the face by trimming;
    `distance` is the Mahalanobis distance up to which a pixel counts as skin.
    """
    check_shape("face", face, tuple(image.shape[:2]))
    chosen = face.detach().cpu() > 0.5
    log = image.detach().cpu().float().clamp_min(1e-3).log()
    light = log.mean(-1)
    # Shading spreads the light far more than the chromaticity: both keep their own variance.
    features = torch.stack([0.5 * light, log[..., 0] - log[..., 1], log[..., 2] - log[..., 1]], -1)
    samples = features[chosen].double()
    if len(samples) < 100:
        raise ValueError(f"face: {len(samples)} pixels are too few to learn the colour of the skin")
    centre, precision = _trimmed_gaussian(samples)
    offset = features.double() - centre
    squared = ((offset @ precision) * offset).sum(-1)
    return (chosen & (squared < distance**2)).float()


def eroded(mask: Float[Tensor, "H W"], radius: int) -> Float[Tensor, "H W"]:
    """The mask without its outer `radius` px; the image's own border erodes nothing."""
    if radius <= 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return torch.from_numpy(cv2.erode(mask.detach().cpu().float().numpy(), kernel))


def _region(inside: np.ndarray, border: float) -> tuple[slice, slice]:
    """Rows and columns of the silhouette with a border for the background's colours."""
    ranges = []
    for axis in (1, 0):
        used = np.flatnonzero(inside.any(axis))
        low = max(0, int(used[0] - border))
        ranges.append(slice(low, min(inside.shape[1 - axis], int(used[-1] + border) + 1)))
    return ranges[0], ranges[1]


def _seeds(coarse: np.ndarray, reach: float) -> np.ndarray:
    """GrabCut labels by the signed distance to the outline."""
    # A padded frame: the border of the picture is no outline of the face.
    framed = cv2.copyMakeBorder(coarse, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    inner = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    outer = cv2.distanceTransform(1 - framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    labels = np.where(coarse > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inner > reach] = cv2.GC_FGD
    labels[outer > reach] = cv2.GC_BGD
    return labels


def _grab_cut(bgr: np.ndarray, labels: np.ndarray, iterations: int) -> np.ndarray:
    """Kept pixels; the seeds decide alone where one side has none for a colour model."""
    sure = {int(label) for label in np.unique(labels)}
    foreground = sure & {cv2.GC_FGD, cv2.GC_PR_FGD}
    background = sure & {cv2.GC_BGD, cv2.GC_PR_BGD}
    if foreground and background:
        cv2.setRNGSeed(0)  # its k-means start is random
        model = np.zeros((2, 1, 65))
        labels, *_ = cv2.grabCut(
            bgr, labels.copy(), (0, 0, 1, 1), model[0], model[1], iterations, cv2.GC_INIT_WITH_MASK
        )
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _trimmed_gaussian(samples: Tensor, rounds: int = 6) -> tuple[Tensor, Tensor]:
    """Centre (3,) and precision (3, 3) of the main cluster: the nearest 70 % are refitted."""
    centre = samples.median(0).values
    spread = (samples - centre).abs().median(0).values.clamp_min(1e-3) * 1.4826
    precision = torch.diag(1 / spread**2)
    for _ in range(rounds):
        offset = samples - centre
        squared = ((offset @ precision) * offset).sum(-1)
        thinned = squared[:: 1 + len(squared) // 10**5]  # `quantile` takes 16 million at most
        core = samples[squared <= thinned.quantile(0.7)]
        centre = core.mean(0)
        covariance = (core - centre).mT @ (core - centre) / len(core)
        # The nearest 70 % of a 3-D Gaussian have 0.573 of its variance.
        covariance = covariance / 0.573 + 1e-6 * torch.eye(3, dtype=samples.dtype)
        precision = torch.linalg.inv(covariance)
    return centre, precision
