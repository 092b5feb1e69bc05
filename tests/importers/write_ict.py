"""ICT files, written from raw arrays: the compact one of a face, and a whole head with eyes and teeth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hrnfit.importers.kinds import ImportOptions
from hrnfit.model.ict import COMPACT_KEYS
from tests.importers.written import Written, smooth_fields
from tests.model.faces import ibug_vertices, sheet
from tests.model.ict_files import EYES, small_head


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


def compact_full_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """A compact file with every piece: cm; two expressions of the skin, one of an eye, one of the irises."""
    rng = np.random.default_rng(seed)
    head = small_head()
    n = len(head.points)
    identity = smooth_fields(rng, head.points, 4) * 2.0
    start, stop = head.slices["sclera_l"]
    gaze, pupils = np.zeros((n, 3)), np.zeros((n, 3))
    arm = head.points[start:stop] - EYES[0]
    gaze[start:stop] = np.cross([0.0, 0.3, 0.0], arm)
    pupils[head.irises] = [0.0, 0.0, -1.0]
    expression = np.stack([*(smooth_fields(rng, head.points, 2) * 3.0), gaze, pupils])
    expression[:2, head.slices["sclera_l"][0] :] = 0.0
    return {
        "mean": np.float32(head.points / 10.0),
        "id_basis": np.float16(identity / 10.0),
        "exp_basis": np.float16(expression / 10.0),
        "tris": head.faces.astype(np.int32),
        "lm68": head.marks,
        "exp_names": np.array(["jawOpen", "mouthLeft", "eyeLookIn_L", "pupilDilate"]),
        "meta": np.array(json.dumps({"vertex_slices": head.slices})),
        "uv": np.float32(head.uv),
        "tris_uv": head.uv_faces.astype(np.int32),
    }


def write_full_ict(folder: Path, seed: int = 0) -> Written:
    """All pieces, of which the irises and what moves them go; the skin's mean of y and z moves to the origin."""
    arrays = compact_full_arrays(seed)
    path = folder / "full.npz"
    np.savez_compressed(path, **arrays)
    skin = small_head().slices["head_neck"][1]
    kept = ~small_head().irises
    mean = arrays["mean"].astype(np.float64) * 10.0
    centred = mean - mean[:skin].mean(axis=0) * [0.0, 1.0, 1.0]

    def shape(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = centred.copy()
        for modes, weights in ((arrays["id_basis"], a), (arrays["exp_basis"][:3], b)):
            for weight, mode in zip(weights, modes, strict=True):
                out += weight * 10.0 * mode.astype(np.float64)
        return out[kept]

    return Written(
        "ict",
        path,
        shape,
        4,
        3,
        centred[arrays["lm68"]],
        options=ImportOptions(part="full"),
        needed=(*COMPACT_KEYS, "uv", "tris_uv"),
    )


def write_full_folder(folder: Path, seed: int = 0) -> None:
    """The same head as a folder of OBJ files, mean plus mode in each."""
    arrays, head = compact_full_arrays(seed), small_head()
    mean = head.points / 10.0
    corners = zip(head.faces + 1, head.uv_faces + 1, strict=True)
    tail = [f"vt {u:.9f} {v:.9f}" for u, v in head.uv]
    tail += [f"f {a}/{i} {b}/{j} {c}/{k}" for (a, b, c), (i, j, k) in corners]
    meshes = {"generic_neutral_mesh": mean}
    meshes |= {f"identity{k:03d}": mean + mode for k, mode in enumerate(arrays["id_basis"])}
    names = zip(arrays["exp_names"], arrays["exp_basis"], strict=True)
    meshes |= {str(name): mean + mode for name, mode in names}
    for name, points in meshes.items():
        lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in points]
        (folder / f"{name}.obj").write_text("\n".join([*lines, *tail]) + "\n")
