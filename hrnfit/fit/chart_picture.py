"""A chart as a picture: how many texels each part of the surface gets, and a checker to lay on it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hrnfit.fit.report_pictures import DIVERGING, colours
from hrnfit.geometry.uv import chart_quality
from hrnfit.model.face_model import FaceModel

FLIPPED = (230, 0, 200)
"""sRGB of triangles that are turned over."""

OUTSIDE = (255, 255, 255)
SCALE = 4
"""Samples per pixel and axis of the picture."""

OCTAVES = 2.0
"""Density at the ends of the colours: a fourth and four times the mean."""


def chart_picture(
    model: FaceModel, shape: Float[Tensor, "N 3"], side: int
) -> UInt8[np.ndarray, "S S 3"]:
    """The chart's triangles coloured by texels per mm^2 against their mean, on a log scale; blue
    few, red many, flipped ones pink."""
    quality = chart_quality(shape, model.faces, model.uv, model.uv_faces)
    level = quality.area_ratio.clamp_min(1e-6).log2() / (2.0 * OCTAVES) + 0.5
    paint = colours(level[None].float(), DIVERGING)[0]
    paint[(quality.area_ratio <= 0).numpy()] = FLIPPED
    size = side * SCALE
    image = np.full((size, size, 3), OUTSIDE, np.uint8)
    corners = model.uv.detach().cpu().double().numpy()[model.uv_faces.cpu().numpy()]
    for triangle, colour in zip(np.rint(corners * size).astype(np.int32), paint, strict=True):
        cv2.fillConvexPoly(image, triangle, colour.tolist())
        cv2.polylines(image, [triangle], True, (0.8 * colour).tolist(), 1)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def checker(cells: int = 24, size: int = 960) -> Float[Tensor, "H W 3"]:
    """Squares over the chart, tinted by their place, linear RGB: where it is torn, colours jump; where it
    is stretched, squares are long."""
    at = (torch.arange(size) + 0.5) / size
    v, u = torch.meshgrid(at, at, indexing="ij")
    dark = ((u * cells).floor() + (v * cells).floor()) % 2
    tint = torch.stack([0.25 + 0.7 * u, 0.25 + 0.7 * v, 0.9 - 0.5 * u], dim=-1)
    return tint * (0.35 + 0.65 * dark[..., None])
