"""Checks of a model file's arrays: each message says which key, shape or count is off."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from hrnfit.check import check_finite, check_shape
from hrnfit.model.flame_file import check_flame_arrays
from hrnfit.model.format_error import ModelFormatError

FORMAT = "hrnfit-model-1"

REQUIRED = (
    *("format", "name", "licence", "source", "commercial", "mm_per_unit", "mean"),
    *("identity_basis", "expression_basis", "expression_names", "expression_is_blendshape"),
    *("faces", "uv", "uv_faces"),
)

REAL = ("mean", "identity_basis", "expression_basis", "uv", "albedo_mean", "albedo_basis")

LONGEST_MODE = 500.0
"""Largest move of a vertex by one unit of a coefficient, mm: more is a wrong unit or a damaged number."""

SCHEMES = {"ibug68": 68, "mediapipe478": 478, "five": 5}
"""Points of the landmark schemes that the fit knows."""

Arrays = Mapping[str, np.ndarray]

TYPES: dict[str, Callable[[Arrays], None] | None] = {"linear": None, "flame": check_flame_arrays}
"""Kinds of model that a file can hold, and the check of the keys that only they have."""


def model_type(arrays: Arrays) -> str:
    """Kind of model of a file; those without the key are linear."""
    return str(arrays.get("model_type", "linear"))


def check_model_arrays(arrays: Arrays, label: str) -> None:
    """Raise ModelFormatError with one clear sentence, prefixed by `label`, when anything is off."""
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise ModelFormatError(
            f"{label}: missing {', '.join(missing)}; it is not a complete '{FORMAT}' file "
            "(see docs/models.md)"
        )
    if str(arrays["format"]) != FORMAT:
        raise ModelFormatError(f"{label}: format '{arrays['format']}', expected '{FORMAT}'")
    kind = model_type(arrays)
    if kind not in TYPES:
        raise ModelFormatError(
            f"{label}: model_type '{kind}', expected {' or '.join(TYPES)}; update hrnfit"
        )
    try:
        _check_shapes(arrays)
        _check_indices(arrays)
        _check_landmarks(arrays)
        _check_values(arrays)
        if (check_own := TYPES[kind]) is not None:
            check_own(arrays)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelFormatError(f"{label}: {error}") from error


def _check_shapes(arrays: Arrays) -> None:
    for key in ("faces", "uv", "albedo_mean", "albedo_basis", "jaw_contour"):
        if key in arrays and 0 in arrays[key].shape[1 if key == "albedo_basis" else 0 :]:
            raise ValueError(f"{key}: is empty, shape {arrays[key].shape}")
    scale = arrays["mm_per_unit"]
    if scale.shape != () or scale.dtype.kind not in "fiu":
        raise ValueError(f"mm_per_unit: expected one number, got {scale.dtype} {scale.shape}")
    for key in ("commercial", "expression_is_blendshape"):
        if arrays[key].shape != () or arrays[key].dtype.kind != "b":
            found = f"{arrays[key].dtype} {arrays[key].shape}"
            raise ValueError(f"{key}: expected one boolean, np.array(False), got {found}")
    for key in ("format", "name", "licence", "source", "kind", "note", "model_type"):
        if key in arrays and (arrays[key].shape != () or arrays[key].dtype.kind != "U"):
            raise ValueError(
                f"{key}: expected one text, got {arrays[key].dtype} {arrays[key].shape}"
            )
    if "files" in arrays:
        check_shape("files", arrays["files"], ("K", 2), "name and SHA-256 of each file")
    check_shape("mean", arrays["mean"], ("N", 3))
    n = len(arrays["mean"])
    check_shape("identity_basis", arrays["identity_basis"], ("I", n, 3))
    check_shape("expression_basis", arrays["expression_basis"], ("E", n, 3))
    e = len(arrays["expression_basis"])
    check_shape("expression_names", arrays["expression_names"], (e,), "one name per mode")
    check_shape("faces", arrays["faces"], ("F", 3))
    f = len(arrays["faces"])
    check_shape("uv", arrays["uv"], ("Nuv", 2))
    check_shape("uv_faces", arrays["uv_faces"], (f, 3), "one texture triangle per triangle")
    if "albedo_mean" in arrays:
        check_shape("albedo_mean", arrays["albedo_mean"], ("H", "W", 3))
    if "albedo_basis" in arrays:
        check_shape("albedo_basis", arrays["albedo_basis"], ("A", "h", "w", 3))
    if "region_names" in arrays or "region_masks" in arrays:
        names = arrays.get("region_names", np.zeros(0))
        masks = arrays.get("region_masks", np.zeros((0, 0)))
        check_shape("region_names", names, ("R",))
        if len(set(names.tolist())) != len(names):
            raise ValueError("region_names: the same name twice")
        check_shape("region_masks", masks, (len(names), n), "one boolean row per region name")
        if masks.dtype != np.bool_:
            raise ValueError(f"region_masks: expected booleans, got {masks.dtype}")


def _check_indices(arrays: Arrays) -> None:
    n = len(arrays["mean"])
    _check_index("faces", arrays["faces"], 0, n, "vertices")
    _check_index("uv_faces", arrays["uv_faces"], 0, len(arrays["uv"]), "texture coordinates")
    if "mirror" in arrays:
        check_shape("mirror", arrays["mirror"], (n,))
        _check_index("mirror", arrays["mirror"], 0, n, "vertices")
        if (arrays["mirror"][arrays["mirror"]] != np.arange(n)).any():
            raise ValueError("mirror: a vertex's mirror image is not mirrored back to it")
    if "jaw_contour" in arrays:
        check_shape("jaw_contour", arrays["jaw_contour"], (17, "K"))
        _check_index("jaw_contour", arrays["jaw_contour"], -1, n, "vertices")


def _check_index(name: str, index: np.ndarray, low: int, count: int, what: str) -> None:
    """Integers in [low, count)."""
    if not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"{name}: expected integers, got {index.dtype}")
    if index.size and (index.min() < low or index.max() >= count):
        raise ValueError(
            f"{name}: values {index.min()} to {index.max()}, but there are {count} {what}"
        )


def _check_landmarks(arrays: Arrays) -> None:
    for key in arrays:
        if not (key.startswith("landmarks_") and key.endswith("_triangles")):
            continue
        stem = key.removesuffix("_triangles")
        check_shape(key, arrays[key], ("L",))
        _check_index(key, arrays[key], -1, len(arrays["faces"]), "triangles")
        count = len(arrays[key])
        expected = SCHEMES.get(stem.removeprefix("landmarks_"), count)
        if count != expected:
            raise ValueError(
                f"{key}: {count} points, the scheme has {expected}; mark those missing by -1"
            )
        if f"{stem}_barycentric" not in arrays:
            raise ValueError(f"{stem}_barycentric is missing beside {key}")
        weights = arrays[f"{stem}_barycentric"]
        check_shape(f"{stem}_barycentric", weights, (count, 3))
        check_finite(f"{stem}_barycentric", weights)
        present = arrays[key] >= 0
        if np.abs(weights[present].sum(axis=1) - 1.0).max(initial=0.0) > 1e-3:
            raise ValueError(f"{stem}_barycentric: rows must sum to 1")
        if np.abs(weights).max(initial=0.0) > 2.0:
            raise ValueError(f"{stem}_barycentric: a point lies far outside of its triangle")
        if f"{stem}_spread" in arrays:
            check_shape(f"{stem}_spread", arrays[f"{stem}_spread"], (count,))
            check_finite(f"{stem}_spread", arrays[f"{stem}_spread"])
            if arrays[f"{stem}_spread"].min(initial=0.0) < 0:
                raise ValueError(f"{stem}_spread: a standard deviation below 0")


def _check_values(arrays: Arrays) -> None:
    bounds = {key: _bounds(key, arrays[key]) for key in REAL if key in arrays}
    scale = float(arrays["mm_per_unit"])
    extent = np.ptp(arrays["mean"].astype(np.float64), axis=0) * scale
    if not 60.0 < extent[1] < 600.0:
        raise ValueError(
            f"mean: {extent[1]:.3g} mm high, which is no human face; check mm_per_unit ({scale:g})"
        )
    if extent.max() > 600.0:
        raise ValueError(
            f"mean: {extent[0]:.3g} mm wide and {extent[2]:.3g} mm deep, which is no human face"
        )
    if len(arrays["identity_basis"]) == 0:
        raise ValueError("identity_basis: has no modes; a fit needs at least one")
    for key in ("identity_basis", "expression_basis"):
        longest = max(-bounds[key][0], bounds[key][1]) * scale
        if longest > LONGEST_MODE:
            raise ValueError(
                f"{key}: one unit moves a vertex by {longest:.3g} mm; give modes per standard "
                "deviation, in the unit of the mean"
            )
    if "albedo_mean" in bounds:
        _check_colours(bounds)
    low, high = bounds["uv"]
    if low < -1e-4 or high > 1.0 + 1e-4:
        raise ValueError(f"uv: values {low:.3g} to {high:.3g}, expected one chart in [0, 1]")


def _bounds(key: str, array: np.ndarray) -> tuple[float, float]:
    """Least and largest of finite real numbers; of none, zeros.

    By torch, in float32: numpy took 0.15 s for a Basel model's 33 million numbers of float16, half of the
    time to load it.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{key}: expected real numbers, got {array.dtype}")
    if array.size == 0:
        return 0.0, 0.0
    low, high = (float(x) for x in torch.as_tensor(array).float().aminmax())
    if not (np.isfinite(low) and np.isfinite(high)):
        check_finite(key, array)
    return low, high


def _check_colours(bounds: Mapping[str, tuple[float, float]]) -> None:
    """Linear RGB: means in 0..1, a little beyond where modes of a filtered map overshoot."""
    low, high = bounds["albedo_mean"]
    if low < -0.5 or high > 2.0:
        raise ValueError(
            f"albedo_mean: values {low:.3g} to {high:.3g}, expected linear RGB in 0..1"
        )
    if "albedo_basis" in bounds:
        most = max(-bounds["albedo_basis"][0], bounds["albedo_basis"][1])
        if most > 5.0:
            raise ValueError(
                f"albedo_basis: a mode changes colour by {most:.3g}; expected linear RGB per "
                "standard deviation"
            )
