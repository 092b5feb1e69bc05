"""Masks and landmarks that the user gives, matched to images by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrnfit.check import check_kind, check_one_of
from hrnfit.io.image import ImageSource
from hrnfit.observe.observation import Landmarks

SCHEME_BY_COUNT = {68: "ibug68", 478: "mediapipe478", 468: "mediapipe478", 5: "five"}
"""Scheme of a landmark list by its length; 468 is FaceMesh without the ten iris points."""

MASK_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")

Points = Landmarks | Tensor | np.ndarray | Sequence[Sequence[float]]
GivenLandmarks = (
    str | Path | Landmarks | Mapping[str, Any] | Sequence[Any] | np.ndarray | Tensor | None
)
"""A JSON file, points of one image, or `Points` of several by name or in order (None: not given)."""


def masks_by_name(
    names: list[str],
    masks: str | Path | Sequence[ImageSource | None] | Mapping[str, ImageSource] | None,
    warnings: list[str],
) -> dict[str, ImageSource]:
    """Mask of each image that has one."""
    if masks is None:
        return {}
    if isinstance(masks, (str, Path)):
        folder = Path(masks)
        if not folder.is_dir():
            raise ValueError(
                f"masks: {folder} is not a folder; its files are named like the images"
            )
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in MASK_SUFFIXES)
        masks = {path.stem: path for path in files}
        if not any(name in masks for name in names):
            raise ValueError(
                f"masks: no file in {folder} is named like an image; images: {', '.join(names)}; "
                f"masks: {', '.join(masks) or '(none)'}"
            )
    if not isinstance(masks, Mapping):
        check_kind("masks", masks, (Sequence,), "a folder, or masks by image name or in order")
        if len(masks) != len(names):
            raise ValueError(f"masks: {len(masks)} given for {len(names)} images; give one each")
        masks = {n: m for n, m in zip(names, masks, strict=True) if m is not None}
    _warn_missing("mask", names, masks, warnings)
    return {name: masks[name] for name in names if name in masks}


def landmarks_by_name(
    names: list[str], landmarks: GivenLandmarks, warnings: list[str]
) -> dict[str, Landmarks]:
    """Landmarks of each image that has them; their values are not checked against images here."""
    if landmarks is None:
        return {}
    given: Any = landmarks
    if isinstance(landmarks, (str, Path)):
        given = _read_json(Path(landmarks))
    elif isinstance(landmarks, Landmarks):
        given = [landmarks]
    if isinstance(given, Mapping):
        if "points" in given and len(names) == 1:
            given = {names[0]: given}
        elif not any(name in given for name in names):
            raise ValueError(
                "landmarks: none is named like an image; expected {image name: [[x, y], ...]} in pixels; "
                f"images: {', '.join(names)}; landmarks: {', '.join(map(str, given)) or '(none)'}"
            )
        by_name = dict(given)
        _warn_missing("landmarks", names, by_name, warnings)
    else:
        kinds = (Sequence, np.ndarray, Tensor)
        check_kind("landmarks", given, kinds, "a JSON file, or points by image name or in order")
        listed = list(given)
        if len(names) == 1 and len(listed) in SCHEME_BY_COUNT:
            listed = [given]
        if len(listed) != len(names):
            raise ValueError(
                f"landmarks: {len(listed)} sets for {len(names)} images; give one (68 | 478 | 5, 2) "
                "array of pixels per image"
            )
        by_name = {n: p for n, p in zip(names, listed, strict=True) if p is not None}
    return {n: as_landmarks(by_name[n], f"landmarks of {n!r}") for n in names if n in by_name}


def as_landmarks(given: Any, where: str = "landmarks") -> Landmarks:
    """Landmarks from points (L, 2), or from a dict with points, and scheme and confidence if known.

    NaN marks a missing point. Pixels are original ones, counted from the corner of the first.
    """
    if isinstance(given, Landmarks):
        return given
    entry = given if isinstance(given, Mapping) else {"points": given}
    if "points" not in entry:
        raise ValueError(f"{where}: expected a list of points, or an object with 'points'")
    points = _array(entry["points"], where)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in SCHEME_BY_COUNT:
        raise ValueError(
            f"{where}: expected 68 (iBUG), 478 (MediaPipe) or 5 points of x, y; got an array of "
            f"shape {points.shape}"
        )
    scheme = SCHEME_BY_COUNT[len(points)]
    if "scheme" in entry:
        check_one_of(f"{where}: scheme", str(entry["scheme"]), set(SCHEME_BY_COUNT.values()))
        if entry["scheme"] != scheme:
            raise ValueError(
                f"{where}: scheme {entry['scheme']!r} does not have {len(points)} points"
            )
    confidence = _array(entry.get("confidence", np.ones(len(points))), f"{where}: confidence")
    ranged = np.logical_and(confidence >= 0, confidence <= 1)  # false for NaN
    if confidence.shape != (len(points),) or not ranged.all():
        raise ValueError(f"{where}: confidence must hold {len(points)} numbers from 0 to 1")
    if len(points) == 468:
        points = np.concatenate([points, np.full((10, 2), np.nan)])
        confidence = np.concatenate([confidence, np.zeros(10)])
    missing = np.logical_not(np.isfinite(points).all(-1))
    if missing.all():
        raise ValueError(f"{where}: every point is missing (NaN)")
    return Landmarks(
        torch.from_numpy(np.where(missing[:, None], 0.0, points)).float(),
        torch.from_numpy(np.where(missing, 0.0, confidence)).float(),
        scheme,
    )


def _read_json(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"landmarks: no file {path}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, (dict, list)):
        raise ValueError(f"{path}: expected an object {{image name: [[x, y], ...]}}")
    return content


def _array(values: Any, where: str) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    try:
        return np.array(values, dtype=np.float64)  # None in JSON becomes NaN
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected numbers, [[x, y], ...] ({error})") from error


def _warn_missing(
    what: str, names: list[str], given: Mapping[str, object], warnings: list[str]
) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        warnings.append(f"no {what} given for {', '.join(missing)}")
