"""FLAME's texture spaces as linear albedo, and the texture coordinates they come with.

The files hold images of 512 texels in the order blue, green, red (their makers wrote them with OpenCV)
and modes per standard deviation: `FLAME_texture.npz` in codes 0..255, the conversions of Basel colours
in 0..1, both as encoded for a screen; AlbedoMM (told by `specMU`) in linear light. Encoded modes become
linear to first order at the mean, because the fit wants an albedo that is affine.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from hrnfit.importers.flame_chart import Chart, checked_chart
from hrnfit.importers.vertex_albedo import srgb_slope
from hrnfit.io.image import linear_from_srgb
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.npz_bands import npz_shapes, read_npz_bands, read_npz_keys

FILES = {
    "FLAME_texture.npz": ("mean", "tex_dir"),
    "FLAME_albedo_from_BFM.npz": ("MU", "PC"),
    "albedoModel2020_FLAME_albedoPart.npz": ("MU", "PC"),
}
"""Names of texture spaces, and their keys of mean and modes."""

BASIS = 256
"""Largest side of the modes' maps, texels."""


class Texture(NamedTuple):
    """An albedo space and its chart."""

    mean: Float[np.ndarray, "H W 3"]
    """Linear RGB."""
    basis: Float[np.ndarray, "A h w 3"]
    """Linear RGB per standard deviation, float16."""
    chart: Chart | None
    """As the file has it."""
    path: Path


def find_texture(folder: Path, faces: Int[np.ndarray, "F 3"]) -> Texture | None:
    """The first texture space in a folder."""
    for name, (mean_key, basis_key) in FILES.items():
        if (folder / name).is_file():
            return _texture(folder / name, mean_key, basis_key, faces)
    return None


def _texture(path: Path, mean_key: str, basis_key: str, faces: Int[np.ndarray, "F 3"]) -> Texture:
    shapes = npz_shapes(path)
    missing = [key for key in (mean_key, basis_key) if key not in shapes]
    if missing:
        raise ModelFormatError(f"{path}: missing {', '.join(missing)}; it has {', '.join(shapes)}")
    some = [key for key in (mean_key, "vt", "ft") if key in shapes]
    small = read_npz_keys(path, some)
    mean = _image(path, mean_key, small[mean_key])
    side, modes = len(mean), shapes[basis_key][-1]
    if int(np.prod(shapes[basis_key])) != side * side * 3 * modes:
        raise ModelFormatError(
            f"{path}: {basis_key}: shape {shapes[basis_key]}, expected {side} x {side} x 3 x modes"
        )
    scale = 1.0 / 255.0 if float(mean.max()) > 1.5 else 1.0
    encoded = mean.astype(np.float64) * scale
    if not np.isfinite(encoded).all() or encoded.min() < -0.5 or encoded.max() > 2.0:
        raise ModelFormatError(f"{path}: {mean_key}: expected colours in 0..1 or 0..255")
    linear, slope = _linear(encoded, "specMU" in shapes)
    basis = _modes(path, basis_key, (side, modes), slope * scale)
    chart = None
    if "vt" in small and "ft" in small:
        chart = checked_chart(path, small["vt"], small["ft"], faces)
    return Texture(linear[..., ::-1].astype(np.float32), basis, chart, path)


def _image(path: Path, key: str, array: np.ndarray) -> np.ndarray:
    """A square image, also of flat files."""
    side = round((array.size / 3) ** 0.5)
    if array.dtype.kind not in "fiu" or side == 0 or side * side * 3 != array.size:
        raise ModelFormatError(f"{path}: {key}: shape {array.shape}, expected a square RGB image")
    return array.reshape(side, side, 3)


def _linear(
    encoded: Float[np.ndarray, "H W 3"], is_linear: bool
) -> tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W 3"]]:
    """Linear values, and the slope of the curve there."""
    if is_linear:
        return encoded, np.ones_like(encoded)
    value = torch.from_numpy(encoded.clip(0.0, 1.0))
    return linear_from_srgb(value).numpy(), srgb_slope(value).numpy()


def _modes(
    path: Path, key: str, size: tuple[int, int], slope: Float[np.ndarray, "H W 3"]
) -> Float[np.ndarray, "A h w 3"]:
    """All modes, linear, red first, averaged down to `BASIS` texels. Read in bands of rows: whole, those
    of 200 modes fill 1.3 GB."""
    side, modes = size
    step = max(1, side // BASIS)
    if side % step:
        raise ModelFormatError(f"{path}: {key}: {side} texels per side, expected 512")
    small = side // step
    basis = np.zeros((modes, small, small, 3), dtype=np.float16)
    for at, band in enumerate(read_npz_bands(path, key, step * side * 3 * modes)):
        image = band.reshape(step, side, 3, modes) * slope[at * step : (at + 1) * step, ..., None]
        if not np.isfinite(image).all() or np.abs(image).max() > 5.0:
            raise ModelFormatError(f"{path}: {key}: a mode changes colour beyond all skin")
        pooled = image.reshape(step, small, step, 3, modes).mean(axis=(0, 2))
        basis[:, at] = pooled[:, ::-1].transpose(2, 0, 1)
    return basis
