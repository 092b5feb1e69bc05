"""HRN's companions of the Basel model, from the arrays of a converted file: texel by texel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

from hrnfit.geometry.uv import disk_chart

Arrays = dict[str, np.ndarray]


def chart_v_up(arrays: Arrays) -> np.ndarray:
    """A chart of the mesh, v up, in double precision as published."""
    points = torch.from_numpy(arrays["meanshape"].reshape(-1, 3)).double()
    uv = disk_chart(points, torch.from_numpy(arrays["tri"].astype(np.int32) - 1)).numpy()
    return np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1)


def texel_colours(arrays: Arrays, uv: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (H, W, 3) and modes (H W 3, A) at texel centres, row 0 at v = 1, 0 outside the chart."""
    faces = arrays["tri"].astype(int) - 1
    mean = arrays["meantex"].reshape(-1, 3)
    modes = arrays["texBase"].reshape(len(mean), 3, -1)
    out = np.zeros((size, size, 3), dtype=np.float32)
    out_modes = np.zeros((size, size, 3, modes.shape[2]), dtype=np.float32)
    for triangle in faces:
        a, b, c = uv[triangle]
        low = np.floor(np.min([a, b, c], axis=0) * size - 1).astype(int).clip(0)
        high = np.ceil(np.max([a, b, c], axis=0) * size + 1).astype(int).clip(None, size)
        frame = np.linalg.inv(np.stack([b - a, c - a], axis=1))
        for row_up in range(low[1], high[1]):
            for column in range(low[0], high[0]):
                point = (np.array([column, row_up]) + 0.5) / size
                w1, w2 = frame @ (point - a)
                if min(w1, w2, 1.0 - w1 - w2) < -1e-9:
                    continue
                weights = np.array([1.0 - w1 - w2, w1, w2])
                row = size - 1 - row_up
                out[row, column] = weights @ mean[triangle]
                out_modes[row, column] = np.tensordot(weights, modes[triangle], 1)
    return out, out_modes.reshape(size * size * 3, -1)


def write_extras(folder: Path, arrays: Arrays, size: int = 64) -> None:
    """All five files."""
    folder.mkdir(exist_ok=True)
    uv = chart_v_up(arrays)
    mean, modes = texel_colours(arrays, uv, size)
    np.save(folder / "bfm_uvs2.npy", uv)
    np.save(folder / "bfm_tex_mean2.npy", mean)
    np.save(folder / "bfm_texmap_base2.npy", modes)
    points = arrays["meanshape"].reshape(-1, 3)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    rolled = np.roll(arrays["tri"].astype(int), 1, axis=1)[::-1]  # another order says the same
    lines += [f"f {a} {b} {c}" for a, b, c in rolled]
    (folder / "template_bfm.obj").write_text("\n".join(lines) + "\n", encoding="ascii")
    marks = points[arrays["keypoints"].astype(int).ravel() - 1]
    noise = np.random.default_rng(1).normal(size=(68, 3)) * 0.02
    savemat(folder / "similarity_Lm3D_all.mat", {"lm": (marks * 1.1 + noise).astype(np.float32)})
