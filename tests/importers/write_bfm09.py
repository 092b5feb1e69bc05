"""The Basel model of 2009 as its raw set and as Deep3D converts it, both from the same random arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import savemat

from hrnfit.importers.bfm09_layout import KEYS
from tests.importers.written import Written, smooth_fields
from tests.model.faces import ibug_vertices, sheet

Arrays = dict[str, np.ndarray]

MAIN_KEYS = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV")

SHIFT = (0.0, 12.0, 40.0)
"""Of the file's origin from the sheet's, mm."""


@dataclass(frozen=True)
class Raw:
    """Contents of the raw set, as its files keep them."""

    main: Arrays
    mesh: Arrays
    trim: np.ndarray
    """Vertices of the mesh without inner mouth, from 1."""
    front: np.ndarray
    """Vertices of the front in that mesh, from 1."""
    expressions: np.ndarray
    """(K, n, 3), not yet times their deviations."""
    deviations: np.ndarray


def raw_set(seed: int = 0, identities: int = 5, expressions: int = 4, colours: int = 6) -> Raw:
    """A front of a few hundred vertices, scattered over two larger meshes."""
    rng = np.random.default_rng(seed)
    points, faces = (x.numpy() for x in sheet())
    mean, n = points.astype(np.float64) + np.array(SHIFT), len(points)
    trim, front = rng.permutation(n + 40)[: n + 20], rng.permutation(n + 20)[:n]
    at = trim[front]

    def scattered(values: np.ndarray, size: int, where: np.ndarray) -> np.ndarray:
        """Vertices of the front at their places, noise elsewhere."""
        out = rng.normal(size=(*values.shape[:-2], size, 3)) * values.std()
        out[..., where, :] = values
        return out

    def columns(modes: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """(3 n, K) with columns that are to be multiplied by their deviations."""
        flat = scattered(modes, n + 40, at).reshape(len(modes), -1)
        return (flat / deviations[:, None]).T.astype(np.float32)

    shape_ev = np.sort(rng.uniform(1e4, 9e5, identities))[::-1]
    colour_ev = np.sort(rng.uniform(100.0, 4000.0, colours))[::-1]
    exp_ev = np.sort(rng.uniform(200.0, 4e5, expressions))[::-1]
    tones = np.array([180.0, 135.0, 110.0]) + 25.0 * smooth_fields(rng, mean, 1)[0]
    moved = scattered(smooth_fields(rng, mean, expressions) * 3e3, n + 20, front)
    return Raw(
        main={
            "shapeMU": scattered(mean * 1e3, n + 40, at).reshape(-1, 1).astype(np.float32),
            "shapePC": columns(smooth_fields(rng, mean, identities) * 2e3, shape_ev),
            "shapeEV": shape_ev[:, None],
            "texMU": scattered(tones.clip(5, 250), n + 40, at).reshape(-1, 1).astype(np.float32),
            "texPC": columns(smooth_fields(rng, mean, colours) * 4.0, colour_ev),
            "texEV": colour_ev[:, None],
        },
        mesh=mesh_keys(mean, faces),
        trim=trim + 1,
        front=front + 1,
        expressions=(moved / exp_ev[:, None, None]).astype(np.float32),
        deviations=exp_ev,
    )


def mesh_keys(points: np.ndarray, faces: np.ndarray) -> Arrays:
    """What `facemodel_info.mat` says of a mesh, counted from 1, floating point as there."""
    n = len(points)
    chosen = np.flatnonzero(np.hypot(points[:, 0], points[:, 1]) < 70.0)
    local = {int(vertex): k + 1 for k, vertex in enumerate(chosen)}
    front = [[local[int(v)] for v in f] for f in faces if all(int(v) in local for v in f)]
    rings = np.full((n, 8), len(faces) + 1)
    for vertex in range(n):
        around = np.flatnonzero((faces == vertex).any(axis=1))[:8]
        rings[vertex, : len(around)] = around + 1
    in_front = np.zeros((1, n))
    in_front[0, chosen] = 1
    marks = ibug_vertices(as_tensor(points - np.array(SHIFT))).numpy()
    arrays = {
        "tri": faces + 1,
        "point_buf": rings,
        "tri_mask2": np.array(front),
        "keypoints": marks[None] + 1,
        "frontmask2": in_front,
        "frontmask2_idx": chosen[:, None] + 1,
        "skinmask": (np.abs(points[:, :1].T) < 40.0) * 1,
    }
    return {key: value.astype(np.float32) for key, value in arrays.items()}


def as_tensor(points: np.ndarray):
    import torch

    return torch.from_numpy(points).float()


def converted(raw: Raw) -> Arrays:
    """`BFM_model_front.mat` of a raw set: vertex by vertex, as its description says."""
    n = len(raw.front)
    counts = raw.main["shapePC"].shape[1], len(raw.expressions), raw.main["texPC"].shape[1]
    k_id, k_exp, k_tex = np.minimum(counts, (80, 64, 80))
    out = {
        "meanshape": np.zeros((1, 3 * n)),
        "meantex": np.zeros((1, 3 * n)),
        "idBase": np.zeros((3 * n, k_id)),
        "exBase": np.zeros((3 * n, k_exp)),
        "texBase": np.zeros((3 * n, k_tex)),
    }
    for i in range(n):
        in_exp = int(raw.front[i]) - 1
        in_full = int(raw.trim[in_exp]) - 1
        for axis in range(3):
            source, target = 3 * in_full + axis, 3 * i + axis
            out["meanshape"][0, target] = raw.main["shapeMU"][source, 0] / 1e5
            out["meantex"][0, target] = raw.main["texMU"][source, 0]
            for k in range(k_id):
                value = float(raw.main["shapePC"][source, k]) * raw.main["shapeEV"][k, 0]
                out["idBase"][target, k] = value / 1e5
            for k in range(k_exp):
                value = float(raw.expressions[k, in_exp, axis]) * raw.deviations[k]
                out["exBase"][target, k] = value / 1e5
            for k in range(k_tex):
                value = float(raw.main["texPC"][source, k]) * raw.main["texEV"][k, 0]
                out["texBase"][target, k] = value
    mesh = {k: v for k, v in raw.mesh.items() if k != "frontmask2"}
    return {k: v.astype(np.float32) for k, v in out.items()} | mesh


def write_raw(folder: Path, raw: Raw) -> Path:
    """All six files; the main one."""
    savemat(folder / "01_MorphableModel.mat", raw.main)
    savemat(folder / "BFM_exp_idx.mat", {"trimIndex": raw.trim[:, None].astype(np.uint16)})
    savemat(folder / "BFM_front_idx.mat", {"idx": raw.front[:, None].astype(np.float32)})
    savemat(folder / "facemodel_info.mat", raw.mesh, do_compression=True)
    text = " ".join(f"{x:.9g}" for x in raw.deviations)
    (folder / "std_exp.txt").write_text(text + "\n", encoding="ascii")
    count, n = raw.expressions.shape[:2]
    unused_mean = np.full(3 * n, 7e4, dtype="<f4")
    body = [np.array([count], dtype="<i4"), unused_mean, raw.expressions.astype("<f4")]
    (folder / "Exp_Pca.bin").write_bytes(b"".join(part.tobytes() for part in body))
    return folder / "01_MorphableModel.mat"


def meaning(path: Path, arrays: Arrays, needed: tuple[str, ...]) -> Written:
    """What a model of these arrays must be."""
    from hrnfit.importers.kinds import ImportOptions

    def fields(key: str) -> np.ndarray:
        return arrays[key].astype(np.float64).T.reshape(-1, arrays["meanshape"].size // 3, 3)

    mean = arrays["meanshape"].astype(np.float64).reshape(-1, 3)
    mean = 100.0 * (mean - mean.mean(axis=0))
    identity, expression, colours = fields("idBase"), fields("exBase"), fields("texBase")
    encoded = arrays["meantex"].astype(np.float64).reshape(-1, 3) / 255.0

    def shape(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = mean.copy()
        for weight, mode in [*zip(a, identity, strict=True), *zip(b, expression, strict=True)]:
            out += weight * 100.0 * mode
        return out

    def colour(a: np.ndarray) -> np.ndarray:
        change = sum(w * mode / 255.0 for w, mode in zip(a, colours, strict=True))
        step = 1e-6
        slope = (curve(encoded + step) - curve(encoded - step)) / (2.0 * step)
        return curve(encoded) + slope * change

    return Written(
        "bfm09",
        path,
        shape,
        len(identity),
        len(expression),
        mean[arrays["keypoints"].astype(int).ravel() - 1],
        n_albedo=len(colours),
        colour=colour,
        options=ImportOptions(),
        needed=needed,
    )


def curve(encoded: np.ndarray) -> np.ndarray:
    """sRGB to linear light."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def write_bfm09(folder: Path, seed: int = 0) -> Written:
    """The converted file; expressions in double precision, as the published conversion leaves them."""
    arrays = converted(raw_set(seed))
    path = folder / "BFM_model_front.mat"
    savemat(path, arrays | {"exBase": arrays["exBase"].astype(np.float64)})
    return meaning(path, arrays, KEYS)


def write_bfm09_raw(folder: Path, seed: int = 0) -> Written:
    """The raw set, given by its main file."""
    raw = raw_set(seed)
    return meaning(write_raw(folder, raw), converted(raw), MAIN_KEYS)
