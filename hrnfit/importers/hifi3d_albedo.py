"""HIFI3D's albedo maps, `AI-NExT-Albedo-Global.mat`, read and made small in the child process.

`mu` (1, 3P), `basis` (3P, A) or (A, 3P), `sigma` (A) and `indices` (P, 2): row and column in a map of
512 texels of each of P texels; colours 0..255, sRGB; a map is mu + weights . (basis * sigma) with
standard normal weights (3DMM/scripts/test_basis_io.py of github.com/tencent-ailab/hifi3dface). All 294
modes at full size are 700 MB: the first ones at 256 texels come out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from hrnfit.importers.isolated import Options
from hrnfit.importers.mat_arrays import read as read_mat
from hrnfit.importers.plausible import check_colours, check_numbers
from hrnfit.model.format_error import ModelFormatError

SIZE = 512


def read(path: Path, options: Options) -> dict[str, np.ndarray]:
    """`mean` (512, 512, 3), `small`, the same at (256, 256, 3), `basis` (A, 256, 256, 3) per standard
    deviation, all sRGB in 0..1, and `mask` (512, 512).

    `options["modes"]`: how many. Raises ModelFormatError naming the key that is off.
    """
    small = read_mat(path, {"keys": ["mu", "sigma", "indices"]})
    at = _places(small["indices"])
    mu, sigma = small["mu"].ravel(), small["sigma"].ravel()
    if mu.size != 3 * len(at):
        raise ModelFormatError(f"mu: expected {3 * len(at)} numbers for the indices, got {mu.size}")
    check_colours("mu", mu, 255.0)
    check_numbers("sigma", sigma, 1e6, "a deviation")
    basis = read_mat(path, {"keys": ["basis"]})["basis"]
    if basis.ndim == 2 and basis.shape[0] > basis.shape[1]:
        basis = basis.T
    if basis.ndim != 2 or basis.shape != (len(sigma), mu.size):
        raise ModelFormatError(
            f"basis: expected {len(sigma)} modes of {mu.size} numbers, got {basis.shape}"
        )
    count = min(int(options["modes"]), len(sigma))
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[at[:, 0], at[:, 1]] = True
    modes = np.zeros((count, SIZE // 2, SIZE // 2, 3), dtype=np.float16)
    for k in range(count):
        check_numbers(f"basis of mode {k} times sigma", basis[k] * sigma[k], 1275.0, "a colour")
        modes[k] = halved(_map(basis[k] * sigma[k] / 255.0, at), mask)
    mean = _map(mu / 255.0, at)
    return {"mean": mean, "small": halved(mean, mask), "basis": modes, "mask": mask}


def halved(image: Float[np.ndarray, "H W 3"], mask: np.ndarray) -> Float[np.ndarray, "h w 3"]:
    """The map at half size: means of those of four texels that are inside."""
    shape = (image.shape[0] // 2, 2, image.shape[1] // 2, 2)
    weight = mask.reshape(shape).sum(axis=(1, 3))[..., None]
    total = (image * mask[..., None]).reshape(*shape, 3).sum(axis=(1, 3))
    return total / np.maximum(weight, 1)


def _places(indices: np.ndarray) -> Int[np.ndarray, "P 2"]:
    if indices.ndim != 2 or indices.shape[1] != 2 or len(indices) == 0:
        raise ModelFormatError(f"indices: expected (P, 2), got {indices.shape}")
    if not np.isfinite(indices).all() or indices.min() < 0 or indices.max() >= SIZE:
        raise ModelFormatError(
            f"indices: {indices.min():g} to {indices.max():g}, expected texels 0 to {SIZE - 1}"
        )
    return indices.astype(np.int64)


def _map(values: np.ndarray, at: Int[np.ndarray, "P 2"]) -> Float[np.ndarray, "512 512 3"]:
    """Values of the texels in a map, 0 elsewhere."""
    image = np.zeros((SIZE, SIZE, 3), dtype=np.float32)
    image[at[:, 0], at[:, 1]] = values.reshape(-1, 3)
    return image
