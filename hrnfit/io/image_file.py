"""Files of photographs: upright pixels in their own integers, what EXIF says of the lens, and which sizes are usable.

No colour is converted here: see `image.py`.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hrnfit.io.exif import ORIENTATION, focal_from_exif, orient
from hrnfit.quiet import without_opencv_log, without_warnings

MIN_SIZE = 32
"""Shortest side of a usable photograph, px: below, a face has no measurable features."""

MAX_PIXELS = 64_000_000
"""Largest photograph read without `max_size`: 64 MP are 770 MB as float32."""


def read_pixels(path: Path, max_size: int | None = None) -> tuple[np.ndarray, float | None]:
    """Upright pixels (H, W[, 3|4]) in the file's own integers, RGB order, and the EXIF focal, px.

    Raises FileNotFoundError and ValueError, also for what `check_size` refuses, before it is decoded.
    """
    return _decode(path, _read_file(path), max_size)


def _read_file(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path}: a folder, not an image; name the image files in it")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such image; check the path") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not content:
        raise ValueError(f"{path}: the file is empty; copy it again from its source")
    return content


def _decode(path: Path, content: bytes, max_size: int | None) -> tuple[np.ndarray, float | None]:
    with without_warnings():  # Pillow's size and EXIF warnings: checked here instead
        try:
            header = Image.open(io.BytesIO(content))
        except Image.DecompressionBombError as error:
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
            raise ValueError(
                f"{path}: over {limit} megapixels, more than is ever read at once; shrink the file itself "
                "with another program"
            ) from error
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise ValueError(
                f"{path}: not an image that can be read; give PNG, JPEG or TIFF"
            ) from error
        # A PNG without EXIF at its front would be decoded just to look for it at the end.
        skip = header.format == "PNG" and "exif" not in header.info
        exif = Image.Exif() if skip else header.getexif()
        check_size(str(path), header.height, header.width, max_size)
        try:
            if header.format in ("PNG", "TIFF"):  # Pillow would cut 16-bit colour down to 8
                pixels = orient(_decode_opencv(content), _orientation(header, exif))
            else:
                pixels = _decode_pillow(header)
        except (OSError, SyntaxError, ValueError, cv2.error) as error:
            raise ValueError(
                f"{path}: the image is damaged or cut off ({error}); copy it again from its source"
            ) from error
    height, width = pixels.shape[:2]
    return pixels, focal_from_exif(exif, height, width)


def _orientation(header: Image.Image, exif: Image.Exif) -> int:
    # OpenCV turns TIFF files upright itself, and only those.
    return 1 if header.format == "TIFF" else int(exif.get(ORIENTATION, 1))


def _decode_opencv(content: bytes) -> np.ndarray:
    with without_opencv_log():  # what is wrong is said in the error, not on stderr
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("the decoder gave up")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"pixels of type {pixels.dtype}; save it with 8 or 16 bits per channel")
    if pixels.ndim == 3:
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[-1]]
        pixels = pixels[..., order]
    return pixels


def _decode_pillow(header: Image.Image) -> np.ndarray:
    upright = ImageOps.exif_transpose(header)
    if upright.mode not in ("L", "RGB", "RGBA"):
        has_alpha = "A" in upright.mode or "transparency" in upright.info
        upright = upright.convert("RGBA" if has_alpha else "RGB")
    return np.asarray(upright)


def check_size(label: str, height: int, width: int, max_size: int | None) -> None:
    """Raise unless a photograph of this size can be used, or shrunk to `max_size` px; `label` names it."""
    if min(height, width) < MIN_SIZE:
        raise ValueError(
            f"{label}: {width}x{height} pixels are too few; the shorter side must have {MIN_SIZE}"
        )
    if max_size is not None and max_size < MIN_SIZE:
        raise ValueError(f"max_size: at least {MIN_SIZE} px, got {max_size}")
    if max_size is None and height * width > MAX_PIXELS:
        raise ValueError(
            f"{label}: {width}x{height} pixels: over {MAX_PIXELS // 10**6} megapixels; shrink it, or pass "
            "max_size (--max-size), px"
        )
