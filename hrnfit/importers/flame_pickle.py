"""FLAME's pickles as plain arrays, for the child process: the model, and landmark embeddings.

Files differ in how they were pickled: FLAME 2020 by Python 2 with chumpy and scipy objects, 2023 by
Python 3 as plain arrays; DECA's embedding holds tensors. `restricted_pickle` reads them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hrnfit.importers.npy_dict import saved_object
from hrnfit.importers.pickled_arrays import array_of
from hrnfit.importers.restricted_pickle import read_pickle
from hrnfit.model.format_error import ModelFormatError

MODEL_KEYS = (
    *("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f"),
)
"""What a model must hold."""

OPEN_MARK = "supr_expression_metadata"
"""A key of FLAME 2023 Open that the other releases lack: how its expressions came about."""

EMBEDDING_KEYS = (
    *("lmk_face_idx", "lmk_b_coords"),
    *("static_lmk_faces_idx", "static_lmk_bary_coords"),
    *("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"),
    *("full_lmk_faces_idx", "full_lmk_bary_coords"),
)
"""Triangles and weights of landmarks, by all the names they have been given."""


def model(path: Path, _options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of a FLAME model, real ones as float32; with `n_expression` where the file says it."""
    content = _dictionary(read_pickle(path), "a FLAME model")
    missing = [key for key in MODEL_KEYS if key not in content]
    if missing:
        raise ModelFormatError(
            f"missing {', '.join(missing)}; a FLAME model (generic_model.pkl, flame2023.pkl) has "
            f"{', '.join(MODEL_KEYS)}"
        )
    arrays = {key: _compact(key, content[key]) for key in MODEL_KEYS}
    about = content.get(OPEN_MARK)
    if isinstance(about, dict):
        arrays["open_mark"] = np.array(True)
        if "n_expr" in about:
            arrays["n_expression"] = _compact("n_expr", about["n_expr"])
    return arrays


def embedding(path: Path, _options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of a landmark embedding, a pickle or what `np.save` makes of a dictionary."""
    content = read_pickle(path) if path.suffix == ".pkl" else saved_object(path)
    found = _dictionary(content, "a landmark embedding")
    arrays = {key: _compact(key, found[key]) for key in EMBEDDING_KEYS if key in found}
    if not arrays:
        raise ModelFormatError(
            f"no landmarks in it; an embedding has {EMBEDDING_KEYS[0]} and {EMBEDDING_KEYS[1]}"
        )
    return arrays


def _dictionary(content: Any, what: str) -> dict[Any, Any]:
    if not isinstance(content, dict):
        raise ModelFormatError(f"it holds a {type(content).__name__}; {what} is a dictionary")
    return content


def _compact(key: str, value: Any) -> np.ndarray:
    """The array of a key, real numbers as float32."""
    try:
        array = array_of(value)
    except ValueError as error:
        raise ModelFormatError(f"{key}: {error}") from error
    if array.dtype.kind != "f":
        return array.astype(array.dtype.newbyteorder("="))
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # the importer says which number is too large
        return array.astype(np.float32)
