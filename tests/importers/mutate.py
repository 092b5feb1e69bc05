"""Damage for model files: bytes flipped, cut short, keys dropped, NaN, huge and wrong shapes.

Damage of the content needs the container opened: one reader and writer per file ending.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Content = dict[str, Any]
HUGE = 2**40
"""A length that no machine has memory for."""


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    """One to sixteen bytes changed, half of the time in the first kilobyte, where headers lie."""
    out = bytearray(data)
    reach = min(len(out), 1024) if rng.random() < 0.5 else len(out)
    for _ in range(int(rng.integers(1, 17))):
        out[int(rng.integers(reach))] ^= int(rng.integers(1, 256))
    return bytes(out)


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    """The file ends early, anywhere."""
    return data[: int(rng.integers(len(data)))]


def overwrite(rng: np.random.Generator, data: bytes) -> bytes:
    """A run of bytes replaced by ones, as in sizes and counts of the largest value."""
    at, length = int(rng.integers(len(data))), int(rng.integers(4, 64))
    return data[:at] + b"\xff" * min(length, len(data) - at) + data[at + length :]


BYTES: dict[str, Callable[[np.random.Generator, bytes], bytes]] = {
    "flip": flip,
    "cut": cut,
    "overwrite": overwrite,
}


def numeric_keys(content: Content) -> list[str]:
    """Keys of numeric arrays with at least one axis."""
    return [
        k
        for k, v in content.items()
        if isinstance(v, np.ndarray) and v.ndim and v.dtype.kind in "fiu"
    ]


def drop(rng: np.random.Generator, content: Content, key: str) -> Content:
    """One key gone."""
    return {k: v for k, v in content.items() if k != key}


def not_a_number(rng: np.random.Generator, content: Content, key: str) -> Content:
    """A NaN or an infinity somewhere in one array."""
    value = content[key].astype(
        np.float64 if content[key].dtype.kind != "f" else content[key].dtype
    )
    # not reshape(-1), which copies what MATLAB's readers give, column by column
    value.flat[int(rng.integers(value.size))] = rng.choice([np.nan, np.inf])
    return content | {key: value}


def reshaped(rng: np.random.Generator, content: Content, key: str) -> Content:
    """One array a row short, flattened, or with an axis too many."""
    value = content[key]
    forms = [value[:-1], value[None], value.reshape(-1)]
    return content | {key: forms[int(rng.integers(3 if value.ndim > 1 else 2))]}


def emptied(rng: np.random.Generator, content: Content, key: str) -> Content:
    """One array without rows."""
    return content | {key: content[key][:0]}


def enormous(rng: np.random.Generator, content: Content, key: str) -> Content:
    """Values of one array beyond any index or length."""
    value = content[key]
    top = np.iinfo(value.dtype).max if value.dtype.kind in "iu" else np.finfo(value.dtype).max
    changed = value.copy()
    changed.flat[int(rng.integers(value.size))] = top
    return content | {key: changed}


def as_text(rng: np.random.Generator, content: Content, key: str) -> Content:
    """Text where numbers belong."""
    return content | {key: np.array(["text"])}


CONTENT: dict[str, Callable[[np.random.Generator, Content, str], Content]] = {
    "drop": drop,
    "nan": not_a_number,
    "reshape": reshaped,
    "empty": emptied,
    "enormous": enormous,
    "text": as_text,
}


def read_content(path: Path) -> Content:
    """Arrays of a file by key; groups of HDF5 joined by slashes."""
    suffix = path.suffix
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    if suffix == ".mat":
        from scipy.io import loadmat

        return {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    if suffix == ".h5":
        return _read_h5(path)
    with path.open("rb") as file:
        return pickle.load(file, encoding="latin1")


def write_content(path: Path, content: Content) -> None:
    """The same container again."""
    suffix = path.suffix
    if suffix == ".npz":
        np.savez(path, **content)
    elif suffix == ".mat":
        from scipy.io import savemat

        savemat(path, content)
    elif suffix == ".h5":
        _write_h5(path, content)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))


def _read_h5(path: Path) -> Content:
    import h5py

    content: Content = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            content[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return content


def _write_h5(path: Path, content: Content) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for key, value in content.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "U":
                value = value.astype("S")
            file.create_dataset(key, data=value)
