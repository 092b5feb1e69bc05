"""HDF5 files as the Basel group writes them (statismo 0.9), from random bases."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from hrnfit.importers.basel_landmarks import NAMED
from hrnfit.importers.kinds import ImportOptions
from tests.importers.basel_sheet import basel_sheet
from tests.importers.written import Written, smooth_fields

COUNTS = {"shape": 5, "expression": 4, "color": 6}

NEEDED = (
    *(f"{name}/model/{key}" for name in COUNTS for key in ("mean", "pcaBasis", "pcaVariance")),
    *("shape/representer/points", "shape/representer/cells"),
)


def write_bfm17(folder: Path, seed: int = 0) -> Written:
    """Without named landmarks: the table of points must do."""
    vertices, faces, marks = basel_sheet()
    return write(folder / "model2017-1_face12_nomouth.h5", "bfm17", vertices, faces, marks, seed)


def write_bfm19(folder: Path, seed: int = 1) -> Written:
    """With named landmarks, on a face that is sheared and lies elsewhere than that of 2017."""
    vertices, faces, marks = basel_sheet()
    change = np.array([[1.04, 0.0, 0.0], [0.0, 0.97, 0.02], [0.0, 0.03, 1.05]])
    moved = vertices @ change.T + [0.0, 6.0, -4.0]
    named = {name: change @ np.array(place) + [0.0, 6.0, -4.0] for name, place in NAMED.items()}
    path = folder / "model2019_bfm.h5"
    return write(path, "bfm19", moved, faces, marks, seed, named)


def write_bfm19_by_hand(folder: Path, seed: int = 2) -> Written:
    """A mesh of unknown layout beside a landmarks68.txt."""
    vertices, faces, marks = basel_sheet()
    extras = folder / "extras"
    extras.mkdir()
    (extras / "landmarks68.txt").write_text("\n".join(str(m) for m in marks), encoding="utf-8")
    far = vertices + np.array([0.0, 300.0, 0.0])
    return write(folder / "other.h5", "bfm19", far, faces, marks, seed, extras=extras)


def write(
    path: Path,
    kind: str,
    mean: np.ndarray,
    faces: np.ndarray,
    marks: np.ndarray,
    seed: int,
    named: dict[str, np.ndarray] | None = None,
    extras: Path | None = None,
) -> Written:
    """`mean` (N, 3) mm is the shape's and the expression's mean together."""
    rng = np.random.default_rng(seed)
    expression_mean = smooth_fields(rng, mean, 1)[0] * 2.0
    colour_mean = 0.5 + 0.1 * smooth_fields(rng, mean, 1)[0].clip(-3, 3)
    means = {"shape": mean - expression_mean, "expression": expression_mean, "color": colour_mean}
    sizes = {"shape": 2.0, "expression": 1.5, "color": 0.02}
    modes: dict[str, np.ndarray] = {}
    with h5py.File(path, "w") as file:
        for name, count in COUNTS.items():
            raw = smooth_fields(rng, mean, count).reshape(count, -1).T
            basis = np.linalg.qr(raw)[0].astype(np.float32)
            fall = np.linspace(1.0, 0.4, count)
            variance = np.float32((sizes[name] * fall) ** 2 * len(mean) * 3)
            group = file.create_group(name)
            group["model/mean"] = np.float32(means[name].ravel())
            group["model/pcaBasis"] = basis
            group["model/pcaVariance"] = variance
            group["model/noiseVariance"] = np.zeros(1, dtype=np.float32)
            group["representer/points"] = np.float32(means["shape"].T)
            group["representer/cells"] = np.int32(faces.T)
            group["version/majorVersion"], group["version/minorVersion"] = 0, 9
            scaled = basis.astype(np.float64) * np.sqrt(variance.astype(np.float64))
            modes[name] = scaled.T.reshape(count, -1, 3)
        if named is not None:
            listed = [{"id": n, "coordinates": [float(x) for x in p]} for n, p in named.items()]
            file["metadata/landmarks/json"] = np.bytes_(json.dumps(listed))
    centred = mean - mean.mean(axis=0) * [0.0, 1.0, 1.0]

    def shape(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = centred.copy()
        for weight, mode in zip(a, modes["shape"], strict=True):
            out += weight * mode
        for weight, mode in zip(b, modes["expression"], strict=True):
            out += weight * mode
        return out

    def colour(c: np.ndarray) -> np.ndarray:
        slope = np.array([[slope_of(float(v)) for v in row] for row in colour_mean])
        out = np.array([[linear(float(v)) for v in row] for row in colour_mean])
        for weight, mode in zip(c, modes["color"], strict=True):
            out += weight * slope * mode
        return out

    return Written(
        kind,
        path,
        shape,
        COUNTS["shape"],
        COUNTS["expression"],
        centred[marks],
        n_albedo=COUNTS["color"],
        colour=colour,
        options=ImportOptions(extras=extras),
        needed=NEEDED,
    )


def linear(srgb: float) -> float:
    return srgb / 12.92 if srgb <= 0.04045 else ((srgb + 0.055) / 1.055) ** 2.4


def slope_of(srgb: float) -> float:
    return (linear(srgb + 1e-6) - linear(srgb - 1e-6)) / 2e-6
