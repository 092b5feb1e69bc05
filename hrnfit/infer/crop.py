"""The square that a network sees of a photograph, with the transform kept in both directions.

Law (released code): the photograph w0 x h0 is resized to int(s w0) x int(s h0) by Pillow's bicubic filter
and cut at whole pixels, black outside. In our pixels (centres at +0.5) that is exactly
p_crop = p (w / w0, h / h0) - (left, top), so a crop is a camera too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.check import check_shape
from hrnfit.infer.alignment import Alignment
from hrnfit.io.image import encode_srgb

ANALYZER_SIZE = 224
"""Side, px, at which a decimetre has 102 px; other sizes show the same square finer."""

TEXTURE_SIZE = 512
"""Side of the crop that textures are sampled from, px."""


@dataclass(frozen=True)
class Crop:
    """A square window of `size` px onto a photograph resized as a whole."""

    height: int
    """Photograph's height, px."""
    width: int
    """Photograph's width, px."""
    resized_height: int
    """Height of the resized photograph, px."""
    resized_width: int
    """Width of the resized photograph, px."""
    left: int
    """Column of the window's left edge in the resized photograph; negative beyond its border."""
    top: int
    """Row of the window's upper edge in the resized photograph."""
    size: int
    """Side of the window, px."""

    def pixels(self, points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Pixels of the crop of pixels of the photograph."""
        factor, corner = self._transform(points)
        return points * factor - corner

    def photograph_pixels(self, points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Pixels of the photograph of pixels of the crop; the inverse of `pixels`."""
        factor, corner = self._transform(points)
        return (points + corner) / factor

    def camera(self, camera: Camera) -> Camera:
        """The camera of the crop, exactly: `pixels` after the photograph's own camera, lens kept.

        Raises ValueError when the camera is of another picture size.
        """
        if (camera.height, camera.width) != (self.height, self.width):
            raise ValueError(
                f"camera {camera.name!r}: for {camera.width}x{camera.height} px, but the crop is of a "
                f"photograph of {self.width}x{self.height} px; pass the photograph's own camera"
            )
        resized = camera.resize(self.resized_height, self.resized_width)
        return resized.crop(self.left, self.top, self.size, self.size)

    def finer(self, factor: int) -> Crop:
        """The same window with `factor` times as many pixels a side, exactly."""
        if factor < 1:
            raise ValueError(f"factor: at least 1, got {factor}")
        height, width = factor * self.resized_height, factor * self.resized_width
        left, top, size = factor * self.left, factor * self.top, factor * self.size
        return Crop(self.height, self.width, height, width, left, top, size)

    def image(self, linear: Float[Tensor, "H W 3"]) -> Float[Tensor, "3 S S"]:
        """The network's input, sRGB 0..1, float32 on the CPU, from the photograph in linear light.

        Only the part of the photograph under the window is encoded and resized. Against resizing the
        whole, values differ by at most one of 255 steps, and on white noise 0.2 % of them do (Pillow
        keeps a box in float32). Memory follows the window, not the photograph or the face.
        """
        check_shape("image", linear, (self.height, self.width, 3), "pass the crop's own photograph")
        codes = self._cut(encode_srgb(linear[self._source()]), Image.Resampling.BICUBIC)
        return torch.from_numpy(codes.astype(np.float32) / 255.0).movedim(-1, 0).contiguous()

    def mask(self, mask: Float[Tensor, "H W"]) -> Float[Tensor, "S S"]:
        """A mask of the photograph, 0..1, in the crop: averaged or interpolated linearly, 0 outside."""
        check_shape("mask", mask, (self.height, self.width), "pass the crop's own photograph's")
        part = mask[self._source()].detach().cpu().float().numpy()
        return torch.from_numpy(self._cut(part, Image.Resampling.BILINEAR)).clamp(0.0, 1.0)

    def _transform(self, like: Tensor) -> tuple[Tensor, Tensor]:
        factor = [self.resized_width / self.width, self.resized_height / self.height]
        return like.new_tensor(factor), like.new_tensor([self.left, self.top])

    def _spans(self) -> tuple[_Span, _Span]:
        """Rows and columns."""
        return (
            _span(self.height, self.resized_height, self.top, self.size),
            _span(self.width, self.resized_width, self.left, self.size),
        )

    def _source(self) -> tuple[slice, slice]:
        """Part of the photograph that the window's pixels depend on."""
        rows, columns = self._spans()
        return slice(*rows.source), slice(*columns.source)

    def _cut(self, part: np.ndarray, filter_: Image.Resampling) -> np.ndarray:
        """The window, from the part of the photograph that `_source` names."""
        rows, columns = self._spans()
        size = columns.window[1] - columns.window[0], rows.window[1] - rows.window[0]
        box = (columns.box[0], rows.box[0], columns.box[1], rows.box[1])
        picture = Image.fromarray(np.ascontiguousarray(part)).resize(size, filter_, box)
        out = np.zeros((self.size, self.size, *part.shape[2:]), part.dtype)
        out[slice(*rows.window), slice(*columns.window)] = np.asarray(picture)
        return out


@dataclass(frozen=True)
class _Span:
    """One axis of a crop."""

    window: tuple[int, int]
    """Pixels of the window that show the photograph."""
    source: tuple[int, int]
    """Pixels of the photograph they depend on, the filter's support included."""
    box: tuple[float, float]
    """Ends of what they show, counted in `source`."""


def _span(length: int, resized: int, start: int, size: int) -> _Span:
    low, high = max(start, 0), min(start + size, resized)
    step = length / resized
    support = 2.0 * max(step, 1.0) + 2.0  # bicubic: two pixels of the coarser picture; and rounding
    first = max(0, math.floor(low * step - support))
    last = min(length, math.ceil(high * step + support))
    box = (max(low * step - first, 0.0), min(high * step - first, float(last - first)))
    return _Span((low - start, high - start), (first, last), box)


def crop_from_alignment(
    alignment: Alignment, size: int = ANALYZER_SIZE, name: str = "photograph"
) -> Crop:
    """The window of `size` px: 224 for the analyzer, 512 for textures; integers as the released code has them.

    Raises ValueError when the window does not touch the photograph; `name` says which one.
    """
    if size < 1:
        raise ValueError(f"crop size: at least 1 px, got {size}")
    scale = alignment.scale * size / ANALYZER_SIZE
    height, width = int(alignment.height * scale), int(alignment.width * scale)
    x, y = alignment.translation
    # int() cuts towards zero, also left of the picture, as the weights saw it in training
    left = int(width / 2 - size / 2 + (x - alignment.width / 2) * scale)
    top = int(height / 2 - size / 2 + (alignment.height / 2 - y) * scale)
    if left >= width or top >= height or left + size <= 0 or top + size <= 0:
        raise ValueError(
            f"{name}: the face lies outside the {alignment.width}x{alignment.height} px of the photograph; "
            "landmarks and photograph do not belong together"
        )
    return Crop(alignment.height, alignment.width, height, width, left, top, size)
