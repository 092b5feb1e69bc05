"""The raw set of the Basel model of 2009 and Guo's expressions, turned into Deep3D's arrays.

`01_MorphableModel.mat` has 53,490 vertices in micrometres; `Exp_Pca.bin` a mesh without the inner mouth,
which `BFM_exp_idx.mat` places in it; `BFM_front_idx.mat` crops that one to the front. Decimetres are
micrometres / 1e5. Deep3D keeps the first 80, 64 and 80 modes and leaves out the mean of the
expressions; so do we.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from hrnfit.importers.bfm09_layout import indices
from hrnfit.importers.isolated import read_isolated
from hrnfit.model.format_error import ModelFormatError

MAIN = "01_MorphableModel.mat"
EXPRESSIONS = "Exp_Pca.bin"
DEVIATIONS = "std_exp.txt"
NO_MOUTH = "BFM_exp_idx.mat"
FRONT = "BFM_front_idx.mat"
MESH = "facemodel_info.mat"
FILES = (MAIN, EXPRESSIONS, DEVIATIONS, NO_MOUTH, FRONT, MESH)

MESH_KEYS = ("tri", "point_buf", "tri_mask2", "keypoints", "frontmask2_idx", "skinmask")
MICROMETRES = 1e5
"""Per decimetre."""

IDENTITIES, EXPRESSION_MODES, COLOURS = 80, 64, 80
LONGEST_TEXT = 100_000
"""Bytes; the published `std_exp.txt` has 615."""


def raw_arrays(files: dict[str, Path]) -> dict[str, np.ndarray]:
    """The arrays of `BFM_model_front.mat` from the files of `FILES`, by name.

    Raises ModelFormatError naming the file and the key, shape or count that is off.
    """
    main = _main(files[MAIN])
    mesh = _mat(files[MESH], MESH_KEYS)
    n_full = main["shapeMU"].size // 3
    trim = _mat(files[NO_MOUTH], ("trimIndex",))["trimIndex"]
    trim = _indices(files[NO_MOUTH], "trimIndex", trim, n_full)
    front = _mat(files[FRONT], ("idx",))["idx"]
    front = _indices(files[FRONT], "idx", front, len(trim))
    deviations = _deviations(files[DEVIATIONS])
    modes = expression_modes(files[EXPRESSIONS], len(trim), EXPRESSION_MODES)
    if len(deviations) < len(modes):
        raise ModelFormatError(
            f"{files[DEVIATIONS]}: {len(deviations)} numbers, but {EXPRESSIONS} needs {len(modes)}"
        )
    scale = deviations[: len(modes), None, None] / MICROMETRES
    with np.errstate(over="ignore", invalid="ignore"):  # absurd numbers are found by their range
        cropped = _cropped(main, trim[front])
        return mesh | cropped | {"exBase": _columns(modes[:, front] * scale)}


def _cropped(main: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Means, identity and colour of some vertices; modes times their deviations."""
    shape = main["shapePC"].reshape(-1, 3, main["shapePC"].shape[1])[chosen]
    colour = main["texPC"].reshape(-1, 3, main["texPC"].shape[1])[chosen]
    identity = shape * (main["shapeEV"].ravel()[: shape.shape[2]] / MICROMETRES)
    return {
        "meanshape": main["shapeMU"].reshape(-1, 3)[chosen].reshape(1, -1) / MICROMETRES,
        "meantex": main["texMU"].reshape(-1, 3)[chosen].reshape(1, -1),
        "idBase": identity.reshape(-1, shape.shape[2]),
        "texBase": (colour * main["texEV"].ravel()[: colour.shape[2]]).reshape(-1, colour.shape[2]),
    }


def _main(path: Path) -> dict[str, np.ndarray]:
    """Means, first modes and deviations of the published model, their shapes checked."""
    keys = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV")
    columns = {"shapePC": IDENTITIES, "texPC": COLOURS}
    found = _mat(path, keys, columns)
    size = found["shapeMU"].size
    if size == 0 or size % 3:
        raise ModelFormatError(f"{path}: shapeMU: expected (3 N, 1), got {found['shapeMU'].shape}")
    if found["texMU"].size != size:
        raise ModelFormatError(
            f"{path}: texMU: expected ({size}, 1) like shapeMU, got {found['texMU'].shape}"
        )
    for modes, deviations in (("shapePC", "shapeEV"), ("texPC", "texEV")):
        shape = found[modes].shape
        if len(shape) != 2 or shape[0] != size or shape[1] == 0:
            raise ModelFormatError(f"{path}: {modes}: expected ({size}, modes), got {shape}")
        if found[deviations].size < shape[1]:
            raise ModelFormatError(
                f"{path}: {deviations}: expected one number per column of {modes}, got "
                f"{found[deviations].size} for {shape[1]}"
            )
    return found


def expression_modes(path: Path, n_vertices: int, most: int) -> Float[np.ndarray, "K N 3"]:
    """The first modes of `Exp_Pca.bin`: int32 K, a float32 mean, K modes, 3 n_vertices numbers each.

    Raises ModelFormatError unless the file is as long as its own count says.
    """
    row = 12 * n_vertices
    size = path.stat().st_size
    with path.open("rb") as opened:
        count = int.from_bytes(opened.read(4), "little", signed=True)
        expected = 4 + row * (count + 1)
        if count < 1 or size != expected:
            raise ModelFormatError(
                f"{path}: states {count} modes of {n_vertices} vertices, which takes {expected} bytes, "
                f"but it has {size}; the file is cut short or does not belong to {NO_MOUTH}"
            )
        opened.seek(4 + row)
        kept = min(count, most)
        flat = np.frombuffer(opened.read(kept * row), dtype="<f4")
    return flat.reshape(kept, n_vertices, 3)


def _deviations(path: Path) -> Float[np.ndarray, "K"]:
    """The numbers of `std_exp.txt`."""
    if path.stat().st_size > LONGEST_TEXT:
        raise ModelFormatError(f"{path}: {path.stat().st_size} bytes, expected a line of numbers")
    try:
        return np.array(path.read_text(encoding="ascii").split(), dtype=np.float64)
    except ValueError as error:
        raise ModelFormatError(f"{path}: expected numbers with spaces between ({error})") from error


def _columns(modes: Float[np.ndarray, "K N 3"]) -> Float[np.ndarray, "N3 K"]:
    """Modes as columns of x y z x y z ..."""
    return modes.reshape(len(modes), -1).T


def _mat(
    path: Path, keys: tuple[str, ...], columns: dict[str, int] | None = None
) -> dict[str, np.ndarray]:
    return read_isolated(
        "hrnfit.importers.mat_arrays:read", path, keys=list(keys), columns=columns or {}
    )


def _indices(path: Path, key: str, values: np.ndarray, count: int) -> np.ndarray:
    try:
        return indices(key, values, count, "vertices")
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from error
