"""The compact ICT file and our own npz, written from raw arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hrnfit.model.ict import COMPACT_KEYS
from tests.importers.written import Written, smooth_fields
from tests.model.faces import ibug_vertices, sheet


def write_compact_ict(folder: Path, seed: int = 0) -> Written:
    """cm, modes per standard deviation, activations 0..1; the mean of y and z moves to the origin."""
    rng = np.random.default_rng(seed)
    points, faces = sheet()
    marks = ibug_vertices(points).numpy()
    mean = points.numpy().astype(np.float64)
    identity, expression = smooth_fields(rng, mean, 5) * 2.0, smooth_fields(rng, mean, 4) * 3.0
    identity, expression = (np.float16(b / 10.0) for b in (identity, expression))
    path = folder / "compact.npz"
    np.savez_compressed(
        path,
        mean=np.float32(mean / 10.0 + [0.0, 3.0, 1.0]),
        id_basis=identity,
        exp_basis=expression,
        tris=faces.numpy(),
        lm68=marks,
        exp_names=np.array([f"move{k}" for k in range(4)]),
        meta=np.array(json.dumps({"vertex_slices": {"face": [0, len(mean)]}})),
    )
    centred = mean - mean.mean(axis=0) * [0.0, 1.0, 1.0]

    def shape(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = centred.copy()
        for weight, mode in [*zip(a, identity, strict=True), *zip(b, expression, strict=True)]:
            out += weight * 10.0 * mode.astype(np.float64)
        return out

    return Written("ict", path, shape, 5, 4, centred[marks], needed=COMPACT_KEYS)
