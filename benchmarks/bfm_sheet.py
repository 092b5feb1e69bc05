"""A file like `BFM_model_front.mat` in full size, from random bases: what measuring an import needs.

The licence of the Basel model forbids to pass it on, so the mesh is a sheet of our own with its counts:
35,709 vertices, 70,789 triangles, an outer boundary of 551 vertices and a mouth of 78.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat
from scipy.spatial import Delaunay, KDTree

from hrnfit.model.face_model import neutral
from hrnfit.model.linear import landmark_positions
from hrnfit.model.load import load_model

VERTICES, OUTER, MOUTH = 35709, 551, 78
IDENTITIES, EXPRESSIONS, COLOURS = 80, 64, 80
FULL, NO_MOUTH = 53490, 53215
"""Vertices of the whole model, and of the mesh without inner mouth that the expressions are on."""
MAP = 512
"""Texels per side of HRN's maps."""


def front_arrays(seed: int = 0) -> dict[str, NDArray]:
    """All keys, shapes and types of the file; 127 MB."""
    rng = np.random.default_rng(seed)
    points, faces = sheet()
    return {
        "meanshape": points.reshape(1, -1).astype(np.float32),
        "meantex": (140.0 + 20.0 * next(smooth(rng, points))).clip(0, 255).reshape(1, -1),
        "idBase": _columns(rng, points, IDENTITIES, 0.02).astype(np.float32),
        "exBase": _columns(rng, points, EXPRESSIONS, 0.02),
        "texBase": _columns(rng, points, COLOURS, 4.0).astype(np.float32),
    } | {key: value.astype(np.float32) for key, value in _mesh_keys(points, faces).items()}


def write_front(path: Path) -> None:
    """Write the file, as scipy does in the published conversion."""
    savemat(path, front_arrays())


def write_extras(folder: Path, seed: int = 1) -> None:
    """HRN's chart and maps for it in full size: 0.5, 3 and 252 MB."""
    arrays = front_arrays()
    flat = arrays["meanshape"].reshape(-1, 3)[:, :2].astype(np.float64)
    uv = 0.5 + 0.49 * flat / np.abs(flat).max(axis=0)
    np.save(folder / "bfm_uvs2.npy", uv)
    row, column = np.mgrid[0:MAP, 0:MAP]
    centres = np.stack([column + 0.5, MAP - row - 0.5], axis=-1) / MAP
    vertex = KDTree(uv).query(centres.reshape(-1, 2))[1]
    mean = arrays["meantex"].reshape(-1, 3)[vertex].reshape(MAP, MAP, 3)
    np.save(folder / "bfm_tex_mean2.npy", mean.astype(np.float32))
    modes = np.random.default_rng(seed).normal(size=(MAP * MAP * 3, COLOURS))
    np.save(folder / "bfm_texmap_base2.npy", modes.astype(np.float32))


def write_raw(folder: Path, seed: int = 2) -> None:
    """The raw set in full size: 199 modes on 53,490 vertices (257 MB), 79 expressions (51 MB)."""
    rng = np.random.default_rng(seed)
    arrays = front_arrays()
    trim = rng.permutation(FULL)[:NO_MOUTH]
    front = rng.permutation(NO_MOUTH)[:VERTICES]
    at = trim[front]

    def columns(key: str, count: int) -> NDArray:
        out = rng.standard_normal((FULL * 3, count), dtype=np.float32)
        out.reshape(FULL, 3, count)[at, :, : arrays[key].shape[1]] = arrays[key].reshape(
            VERTICES, 3, -1
        )
        return out

    def scattered(key: str) -> NDArray:
        out = np.zeros((FULL, 3), dtype=np.float32)
        out[at] = arrays[key].reshape(-1, 3)
        return out.reshape(-1, 1)

    main = {"shapeMU": 1e5 * scattered("meanshape"), "texMU": scattered("meantex")}
    main |= {"shapePC": columns("idBase", 199), "shapeEV": np.full((199, 1), 1e5)}
    main |= {"texPC": columns("texBase", 199), "texEV": np.ones((199, 1))}
    savemat(folder / "01_MorphableModel.mat", main)
    savemat(folder / "BFM_exp_idx.mat", {"trimIndex": (trim + 1)[:, None].astype(np.uint16)})
    savemat(folder / "BFM_front_idx.mat", {"idx": (front + 1)[:, None].astype(np.float32)})
    mesh = ("tri", "point_buf", "tri_mask2", "keypoints", "frontmask2_idx", "skinmask")
    savemat(folder / "facemodel_info.mat", {key: arrays[key] for key in mesh}, do_compression=True)
    (folder / "std_exp.txt").write_text(" ".join(["1e5"] * 79), encoding="ascii")
    modes = np.zeros((80, NO_MOUTH, 3), dtype="<f4")  # the first is their mean
    modes[1 : EXPRESSIONS + 1, front] = arrays["exBase"].T.reshape(-1, VERTICES, 3)
    body = np.array([79], dtype="<i4").tobytes() + modes.tobytes()
    (folder / "Exp_Pca.bin").write_bytes(body)


def sheet() -> tuple[NDArray, NDArray]:
    """Vertices (N, 3) in decimetres, half an egg with a nose, and triangles from 0."""
    rings = [_ring(OUTER, 0.0, 0.0, 0.72, 0.95), _ring(MOUTH, 0.0, -0.35, 0.24, 0.05)]
    flat = np.concatenate([*rings, _inside(VERTICES - OUTER - MOUTH)])
    triangles = Delaunay(flat).simplices
    in_mouth = ((triangles >= OUTER) & (triangles < OUTER + MOUTH)).all(axis=1)
    triangles = triangles[~in_mouth]
    a, b, c = (flat[triangles[:, i]] for i in range(3))
    turned = np.cross(b - a, c - a) < 0
    triangles[turned] = triangles[turned][:, ::-1]
    x, y = flat.T
    z = 0.6 * (1.0 - (x / 0.95) ** 2 - (y / 1.3) ** 2)
    z += 0.22 * np.exp(-((x / 0.12) ** 2) - ((y + 0.02) / 0.18) ** 2)
    return np.stack([x, y, z], axis=1), triangles


def _inside(count: int) -> NDArray:
    """Points (count, 2) spread evenly between the boundaries, as the seeds of a sunflower."""
    golden = np.pi * (3.0 - np.sqrt(5.0))
    inner, seeds = np.zeros((0, 2)), count
    while len(inner) < count:
        seeds += 100
        k = np.arange(seeds)
        radius = np.sqrt((k + 0.5) / seeds)[:, None]
        flat = np.stack([0.72 * np.cos(golden * k), 0.95 * np.sin(golden * k)], 1) * radius
        mouth = (flat - [0.0, -0.35]) / [0.245, 0.058]
        inner = flat[(radius[:, 0] < 0.9925) & ((mouth**2).sum(1) > 1.0)]
    return inner[:count]


def smooth(rng: np.random.Generator, points: NDArray) -> Iterator[NDArray]:
    """Random smooth fields (N, 3) of unit RMS."""
    while True:
        waves, phase = rng.normal(size=(6, 3)) * 1.6, rng.uniform(0, 6.3, 6)
        field = np.cos(points @ waves.T + phase) @ rng.normal(size=(6, 3))
        yield field / np.sqrt((field**2).mean())


def _columns(rng: np.random.Generator, points: NDArray, count: int, size: float) -> NDArray:
    fields = smooth(rng, points)
    return np.stack([size * next(fields).ravel() for _ in range(count)], axis=1)


def _mesh_keys(points: NDArray, faces: NDArray) -> dict[str, NDArray]:
    """Indices from 1 of everything about the mesh."""
    n = len(points)
    front = np.flatnonzero(np.hypot(points[:, 0] / 0.72, points[:, 1] / 0.95) < 0.88)
    local = np.zeros(n, dtype=int)
    local[front] = np.arange(len(front)) + 1
    rings = np.full((n, 8), len(faces) + 1)
    order = np.argsort(faces.ravel(), kind="stable")
    vertex, triangle = faces.ravel()[order], order // 3
    first = np.searchsorted(vertex, np.arange(n))
    place = np.arange(len(vertex)) - first[vertex]
    rings[vertex[place < 8], place[place < 8]] = triangle[place < 8] + 1
    return {
        "tri": faces + 1,
        "point_buf": rings,
        "tri_mask2": local[faces[np.isin(faces, front).all(axis=1)]],
        "keypoints": _landmarks(points)[None] + 1,
        "frontmask2_idx": front[:, None] + 1,
        "skinmask": (np.abs(points[:, :1].T) < 0.4) * 1,
    }


def _landmarks(points: NDArray) -> NDArray:
    """Vertices closest to where the packaged model has its landmarks, scaled to the sheet."""
    model = load_model()
    places = landmark_positions(neutral(model), model.faces, model.landmarks["ibug68"])
    marks = places[:, :2].double().numpy()
    marks -= (marks.max(0) + marks.min(0)) / 2
    return KDTree(points[:, :2]).query(marks / np.abs(marks).max(0) * [0.62, 0.75])[1]


def _ring(count: int, x: float, y: float, width: float, height: float) -> NDArray:
    angle = 2.0 * np.pi * np.arange(count) / count
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)
