"""One array of an npy file that nobody vouches for: mapped, once its length agrees with its header."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.npz_arrays import DAMAGE, npy_header


def map_npy(path: Path) -> np.ndarray:
    """The array, read only when used.

    Raises ModelFormatError for a damaged file, for Python objects and for anything but real numbers;
    OSError when the file cannot be opened.
    """
    size = path.stat().st_size
    with path.open("rb") as opened:
        try:
            shape, fortran, dtype = npy_header(opened)
        except DAMAGE as error:
            raise ModelFormatError(
                f"{path}: not a readable npy file ({error}); copy or export it again"
            ) from error
        offset = opened.tell()
    needed = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "fiu" or min(shape, default=0) < 0 or needed != size - offset:
        raise ModelFormatError(
            f"{path}: {dtype} {shape} needs {needed} bytes, the file has {size - offset}; expected real "
            "numbers, whole"
        )
    if needed == 0:
        raise ModelFormatError(f"{path}: is empty, shape {shape}")
    order = "F" if fortran else "C"
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)
