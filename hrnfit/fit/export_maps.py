"""Map files of a result, and what one must know to read them back as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.result import Maps
from hrnfit.io.image import png_bytes, write_png
from hrnfit.io.maps import ZERO_CODE, write_exr, write_signed_png
from hrnfit.tree import write_bytes


def write_maps(maps: Maps, directory: Path) -> dict[str, Any]:
    """Write every map; returns their description for `result.json`."""
    write_exr(directory / "deformation.exr", maps.deformation)
    write_exr(directory / "displacement.exr", maps.displacement)
    scale = write_signed_png(directory / "displacement.png", maps.displacement)
    write_png(directory / "albedo.png", maps.albedo)
    write_bytes(directory / "normal.png", png_bytes(normal_codes(maps.normal)))
    write_bytes(directory / "confidence.png", png_bytes(grey_codes(maps.confidence)))
    return {
        "deformation.exr": _entry(maps.deformation, "mm, x y z of the head frame"),
        "displacement.exr": _entry(maps.displacement, "mm along the mid normal"),
        "displacement.png": _entry(
            maps.displacement, "mm along the mid normal = (code - zero_code) * mm_per_code"
        )
        | {"bits": 16, "zero_code": ZERO_CODE, "mm_per_code": scale},
        "albedo.png": _entry(maps.albedo, "sRGB, 8 bit"),
        "normal.png": _entry(maps.normal, "unit normal of the head frame = code / 32767.5 - 1")
        | {"bits": 16},
        "confidence.png": _entry(maps.confidence, "code / 255; 0 where no view saw the texel"),
    }


def normal_codes(normal: Float[Tensor, "H W 3"]) -> np.ndarray:
    """16-bit codes of unit vectors, x y z in R G B; half a code of rounding is 0.001 degrees."""
    half = 65535 / 2
    values = normal.detach().cpu().double().clamp(-1, 1).numpy()
    return np.rint((values + 1) * half).astype(np.uint16)


def grey_codes(values: Float[Tensor, "H W"]) -> np.ndarray:
    """8-bit codes of 0..1, linear: data, not a picture."""
    unit = torch.nan_to_num(values.detach().cpu().double()).clamp(0, 1)
    return np.rint(unit.numpy() * 255).astype(np.uint8)


def _entry(values: Tensor, meaning: str) -> dict[str, Any]:
    return {"meaning": meaning, "height": values.shape[0], "width": values.shape[1]}
