"""Pictures inside the report: maps in false colour with their scale, and shrinking for the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hrnfit.fit.photographs import encode_webp
from hrnfit.fit.result import Maps
from hrnfit.io.image import encode_srgb

DIVERGING = ((33, 92, 168), (122, 170, 214), (240, 240, 238), (226, 150, 110), (168, 46, 40))
"""sRGB from the negative to the positive end."""

SEQUENTIAL = ((22, 24, 40), (38, 72, 110), (40, 130, 130), (126, 188, 110), (246, 230, 120))
"""sRGB from zero to the top."""

MAP_SIZE = 384
"""Longer side of a map on the page, px."""


@dataclass(frozen=True)
class MapPicture:
    """One map as the page shows it."""

    title: str
    note: str
    picture: str
    """data: URI."""
    gradient: str = ""
    """CSS gradient of the scale; empty where colours are not numbers."""
    low: str = ""
    high: str = ""


def map_pictures(maps: Maps) -> tuple[MapPicture, ...]:
    """All maps of a result in false colour."""
    peak = _top(maps.displacement.abs())
    length = maps.deformation.norm(dim=-1)
    far = _top(length)
    signed = colours(maps.displacement / (2 * peak) + 0.5, DIVERGING)
    return (
        MapPicture("Albedo", "without light", _uri(encode_srgb(maps.albedo))),
        MapPicture("Normal", "fine surface, head frame", _uri(_normals(maps.normal))),
        MapPicture(
            "Displacement",
            "mm along the mid normal",
            _uri(signed),
            _gradient(DIVERGING),
            f"−{peak:.2g}",
            f"+{peak:.2g}",
        ),
        MapPicture(
            "Deformation",
            "length of the offset, mm",
            _uri(colours(length / far, SEQUENTIAL)),
            _gradient(SEQUENTIAL),
            "0",
            f"{far:.2g}",
        ),
        MapPicture(
            "Confidence",
            "of the displacement",
            _uri(colours(maps.confidence, SEQUENTIAL)),
            _gradient(SEQUENTIAL),
            "0",
            "1",
        ),
    )


def colours(
    values: Float[Tensor, "H W"], ramp: tuple[tuple[int, int, int], ...]
) -> UInt8[np.ndarray, "H W 3"]:
    """sRGB of values 0..1 along a ramp of equally spaced colours; clipped, NaN at the low end."""
    unit = torch.nan_to_num(values.detach().cpu().double()).clamp(0, 1).numpy()
    stops = np.linspace(0, 1, len(ramp))
    channels = [np.interp(unit, stops, [stop[c] for stop in ramp]) for c in range(3)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def shrink(pixels: UInt8[np.ndarray, "H W C"], size: int) -> UInt8[np.ndarray, "h w C"]:
    """At most `size` px on the longer side, by area."""
    scale = size / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    width, height = (max(1, round(n * scale)) for n in (pixels.shape[1], pixels.shape[0]))
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def data_uri(content: bytes, kind: str) -> str:
    """A file's content as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _uri(pixels: np.ndarray) -> str:
    return data_uri(encode_webp(shrink(pixels, MAP_SIZE), 84), "image/webp")


def _normals(normal: Tensor) -> np.ndarray:
    unit = torch.nan_to_num(normal.detach().cpu().double()).clamp(-1, 1).numpy()
    return np.rint((unit * 0.5 + 0.5) * 255).astype(np.uint8)


def _top(values: Tensor) -> float:
    """A robust maximum that is never zero: the 99.5th percentile."""
    finite = torch.nan_to_num(values.detach().cpu().double()).flatten().numpy()
    return max(float(np.percentile(finite, 99.5)), 1e-3) if finite.size else 1.0


def _gradient(ramp: tuple[tuple[int, int, int], ...]) -> str:
    stops = ", ".join("#{:02x}{:02x}{:02x}".format(*stop) for stop in ramp)
    return f"linear-gradient(90deg, {stops})"
