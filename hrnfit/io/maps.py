"""UV maps as data: float32 EXR, and signed 16-bit PNG with its scale. No colour conversion.

Values are what they are in memory (mm for deformation and displacement); row 0 is v = 0.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.check import check_finite
from hrnfit.io.image import png_bytes
from hrnfit.tree import atomic_path, write_bytes

ZERO_CODE = 32768
"""16-bit code of the value 0."""


def write_exr(path: str | Path, values: Float[Tensor, "H W *C"]) -> None:
    """Write a map (H, W) as channel Y or (H, W, 3) as R, G, B; float32, lossless, atomic."""
    import OpenEXR

    array = np.ascontiguousarray(values.detach().cpu().numpy(), dtype=np.float32)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[-1] != 3:
        raise ValueError(f"{path}: expected a map (H, W) or (H, W, 3), got {array.shape}")
    channels = {"Y" if array.ndim == 2 else "RGB": array}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with atomic_path(path) as temporary:
        try:
            OpenEXR.File(header, channels).write(str(temporary))
        except RuntimeError as error:  # how the C++ library tells of a full disk
            raise OSError(None, str(error)) from error
        # The library does not report every failed write; a truncated file has no full header.
        if temporary.stat().st_size < array.shape[0]:
            raise OSError(None, "the file came out truncated")


def read_exr(path: str | Path) -> Float[Tensor, "H W *C"]:
    """Read a map: (H, W) for one channel, (H, W, 3) for R, G, B; float32."""
    import OpenEXR

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such map")
    try:
        with OpenEXR.File(str(path)) as file:
            channels = {name: np.array(c.pixels) for name, c in file.channels().items()}
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: not an EXR file that can be read ({error})") from error
    if "RGB" in channels:
        array = channels["RGB"]
    elif len(channels) == 1:
        array = next(iter(channels.values()))
    else:
        raise ValueError(f"{path}: expected one channel or R, G, B; got {', '.join(channels)}")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def write_signed_png(
    path: str | Path, values: Float[Tensor, "H W"], scale: float | None = None
) -> float:
    """Write a signed map as 16-bit grey PNG; returns the scale, value per code.

    value = (code - `ZERO_CODE`) * scale. Without `scale` the largest magnitude takes the full range.
    """
    check_finite("values", values)
    array = values.detach().cpu().double().numpy()
    peak = float(np.abs(array).max(initial=0.0))
    if scale is None:
        scale = peak / (ZERO_CODE - 1) if peak > 0 else 1.0
    if scale <= 0 or peak > scale * (ZERO_CODE - 1) * (1 + 1e-9):
        raise ValueError(
            f"scale: {scale:g} per code cannot hold values up to {peak:g}; "
            f"use at least {peak / (ZERO_CODE - 1):g}"
        )
    codes = np.rint(array / scale + ZERO_CODE).clip(0, 65535).astype(np.uint16)
    write_bytes(path, png_bytes(codes))
    return scale


def read_signed_png(path: str | Path, scale: float) -> Float[Tensor, "H W"]:
    """Read back what `write_signed_png` wrote with the given scale."""
    try:
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such map") from error
    codes = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if codes is None or codes.ndim != 2 or codes.dtype != np.uint16:
        raise ValueError(f"{path}: not a 16-bit grey PNG")
    return torch.from_numpy((codes.astype(np.float64) - ZERO_CODE) * scale).float()
