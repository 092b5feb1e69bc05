"""Photographs and their encodings: files or arrays in, linear RGB out; and PNG writing.

The only place where sRGB (IEC 61966-2-1) and linear light are converted. Integer pixels are sRGB,
floating-point ones are linear light. Masks and maps carry no colour: see `read_mask` and `maps.py`. Files are
decoded in `image_file.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.io.image_file import check_size, read_pixels
from hrnfit.tree import write_bytes

BLOCK = 2**20
"""Values encoded at a time: whole photographs of 64 MP took 4.5 GB of intermediates."""

ImageSource = str | Path | np.ndarray | Tensor


@dataclass(frozen=True)
class Photograph:
    """One image as it was taken."""

    image: Float[Tensor, "H W 3"]
    """Linear RGB, float32, upright."""
    alpha: Float[Tensor, "H W"] | None = None
    """Opacity 0..1 where the file has it."""
    focal: float | None = None
    """Focal length from EXIF, px of this image; None when the file does not say."""
    full_size: tuple[int, int] | None = None
    """Height and width before `max_size` shrank it; None when it did not."""


def load_image(source: ImageSource, max_size: int | None = None) -> Photograph:
    """Read a file or take an array, and check that it can be a photograph.

    `max_size`: longest side, px; larger images are averaged down to it. Without it images over
    `image_file.MAX_PIXELS` are an error. Raises FileNotFoundError and ValueError.
    """
    photograph = _from_array(source) if isinstance(source, (np.ndarray, Tensor)) else None
    if photograph is None:
        photograph = _from_file(Path(str(source)), max_size)
    height, width = photograph.image.shape[:2]
    label = "image array" if isinstance(source, (np.ndarray, Tensor)) else str(source)
    check_size(label, height, width, max_size)
    if max_size is not None and max(height, width) > max_size:
        photograph = _shrunk(photograph, max_size)
    return photograph


def read_mask(source: ImageSource) -> Float[Tensor, "H W"]:
    """A mask as 0..1: files and integer arrays by their full range, bool and float as they are."""
    if isinstance(source, (str, Path)):
        pixels = read_pixels(Path(source))[0]
    else:
        pixels = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
    if pixels.ndim == 3:  # an opaque picture: its colours; a cut-out: its alpha
        pixels = pixels[..., 3] if pixels.shape[-1] == 4 else pixels[..., :3].max(-1)
    if pixels.ndim != 2:
        raise ValueError(f"mask: expected (H, W), got {tuple(pixels.shape)}")
    if pixels.dtype == np.bool_ or pixels.dtype.kind == "f":
        mask = pixels.astype(np.float32)
    else:
        # Some tools write 0 and 1 into 8 bits.
        peak = 1 if pixels.max(initial=0) <= 1 else np.iinfo(pixels.dtype).max
        mask = pixels.astype(np.float32) / peak
    if not np.isfinite(mask).all() or mask.min() < 0 or mask.max() > 1:
        raise ValueError("mask: expected values from 0 to 1; 1 keeps a pixel, 0 leaves it out")
    return torch.from_numpy(mask)


def write_png(
    path: str | Path, image: Float[Tensor, "H W *C"], bits: int = 8, alpha: Tensor | None = None
) -> None:
    """Write linear RGB (H, W, 3) or grey (H, W) as sRGB, 8 or 16 bits per channel, atomically."""
    codes = encode_srgb(image, bits)
    if alpha is not None:
        top = 2**bits - 1
        opacity = np.rint(alpha.detach().cpu().numpy().clip(0, 1)[..., None] * top)
        codes = np.concatenate([codes, opacity.astype(codes.dtype)], -1)
    write_bytes(path, png_bytes(codes))


def png_bytes(codes: np.ndarray) -> bytes:
    """Integer pixels, grey or RGB(A), as the bytes of a PNG file; no colour conversion."""
    if codes.ndim == 3:
        order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}[codes.shape[-1]]
        codes = codes[..., order]
    ok, buffer = cv2.imencode(".png", np.ascontiguousarray(codes))
    if not ok:
        raise ValueError(f"png: cannot encode an array of shape {codes.shape}, {codes.dtype}")
    return buffer.tobytes()


def encode_srgb(image: Float[Tensor, "*B"], bits: int = 8) -> np.ndarray:
    """Integer sRGB codes of linear light, rounded, clipped to 0..1; uint8 or uint16."""
    if bits not in (8, 16):
        raise ValueError(f"bits: 8 or 16 per channel, got {bits}")
    linear = image.detach().cpu().reshape(-1)
    codes = np.empty(len(linear), np.uint8 if bits == 8 else np.uint16)
    for i in range(0, len(linear), BLOCK):
        encoded = srgb_from_linear(linear[i : i + BLOCK].float().clamp(0, 1)).numpy()
        codes[i : i + BLOCK] = np.rint(encoded * (2**bits - 1))
    return codes.reshape(image.shape)


def linear_from_srgb(encoded: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Linear light of sRGB values 0..1 (IEC 61966-2-1); differentiable, odd below zero."""
    size = encoded.abs()
    power = ((size.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(size <= 0.04045, encoded / 12.92, torch.sign(encoded) * power)


def srgb_from_linear(linear: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """sRGB values of linear light (IEC 61966-2-1); differentiable, odd below zero."""
    size = linear.abs()
    power = 1.055 * size.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(size <= 0.0031308, linear * 12.92, torch.sign(linear) * power)


def _from_array(array: np.ndarray | Tensor) -> Photograph:
    pixels = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"image array: expected (H, W, 3), got {pixels.shape}; move the channels to the end: "
            "image.transpose(1, 2, 0)"
        )
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] not in (1, 3, 4)):
        raise ValueError(
            f"image array: expected (H, W), (H, W, 3) or (H, W, 4), got {pixels.shape}"
        )
    if pixels.dtype.kind == "f":
        _check_float_range(pixels)
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise TypeError(
            f"image array: expected uint8 or uint16 (sRGB) or float (linear, 0..1), got {pixels.dtype}"
        )
    return Photograph(*_split(pixels))


def _check_float_range(pixels: np.ndarray) -> None:
    if not np.isfinite(pixels).all():
        raise ValueError("image array: has NaN or infinite values")
    if pixels.size and (pixels.min() < 0 or pixels.max() > 16):
        raise ValueError(
            f"image array: float images hold linear light from 0 to about 1, got {pixels.min():g} to "
            f"{pixels.max():g}; for sRGB values 0..255 pass uint8"
        )


def _from_file(path: Path, max_size: int | None) -> Photograph:
    pixels, focal = read_pixels(path, max_size)
    image, alpha = _split(pixels)
    return Photograph(image, alpha, focal)


def _split(pixels: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """Linear RGB (H, W, 3) and alpha (H, W) of integer sRGB or linear float pixels."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    alpha = None
    if pixels.shape[-1] == 4:
        peak = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
        opacity = pixels[..., 3].astype(np.float32) / peak
        alpha = torch.from_numpy(opacity) if opacity.min(initial=1) < 1 else None
        pixels = pixels[..., :3]
    if pixels.dtype.kind == "f":
        linear = pixels.astype(np.float32)
    else:
        linear = _looked_up(pixels)
    if linear.shape[-1] == 1:
        linear = np.repeat(linear, 3, -1)
    return torch.from_numpy(np.ascontiguousarray(linear)), alpha


def _looked_up(pixels: np.ndarray) -> np.ndarray:
    """Linear light of integer sRGB codes. OpenCV takes 0.3 ms for 512 x 512 px, numpy's indexing 2.4."""
    table = _table(np.iinfo(pixels.dtype).max)
    if pixels.dtype == np.uint8 and pixels.size > 0:
        return cv2.LUT(np.ascontiguousarray(pixels), table).reshape(pixels.shape)
    return table[pixels]


@lru_cache(maxsize=2)
def _table(peak: int) -> np.ndarray:
    """Linear light of every integer sRGB code: 20 times faster than the power per pixel."""
    codes = torch.arange(peak + 1, dtype=torch.float64) / peak
    return linear_from_srgb(codes).float().numpy()


def _shrunk(photograph: Photograph, max_size: int) -> Photograph:
    height, width = photograph.image.shape[:2]
    scale = max_size / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(photograph.image.numpy(), size, interpolation=cv2.INTER_AREA)
    alpha = photograph.alpha
    if alpha is not None:
        alpha = torch.from_numpy(cv2.resize(alpha.numpy(), size, interpolation=cv2.INTER_AREA))
    focal = None if photograph.focal is None else photograph.focal * scale
    return replace(
        photograph,
        image=torch.from_numpy(image),
        alpha=alpha,
        focal=focal,
        full_size=(height, width),
    )
