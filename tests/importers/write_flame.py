"""A FLAME pickle as Python 2 wrote it, and its companions, from raw arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from hrnfit.importers.flame_pickle import MODEL_KEYS
from hrnfit.model.flame import DEVIATIONS
from hrnfit.model.head_chart import head_chart
from tests.importers.python2_pickle import Ch, dumps
from tests.importers.written import Written, smooth_fields
from tests.model.heads import Head, head, skinned

IDENTITY, EXPRESSION, ALBEDO, SIDE = 5, 4, 6, 64


@dataclass(frozen=True)
class Raw:
    """What the files are written from; lengths mm."""

    head: Head
    identity: np.ndarray
    expression: np.ndarray
    posedirs: np.ndarray
    """(N, 3, 36)."""


def raw_flame(seed: int = 0, identity: int = IDENTITY, expression: int = EXPRESSION) -> Raw:
    rng = np.random.default_rng(seed)
    made = head()
    return Raw(
        made,
        2.0 * smooth_fields(rng, made.points, identity),
        3.0 * smooth_fields(rng, made.points, expression),
        1.5 * smooth_fields(rng, made.points, 36).transpose(1, 2, 0),
    )


def model_content(raw: Raw, expressions_said: bool = True) -> dict[str, Any]:
    """The dictionary of the pickle: metres, chumpy and scipy objects where FLAME 2020 has them."""
    modes = np.concatenate([raw.identity, raw.expression]).transpose(1, 2, 0) / 1000.0
    content = {
        "v_template": raw.head.points / 1000.0,
        "shapedirs": Ch(modes),
        "posedirs": raw.posedirs / 1000.0,
        "J_regressor": sp.csc_matrix(raw.head.regressor),
        "J": Ch(raw.head.regressor @ raw.head.points / 1000.0),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "weights": raw.head.weights,
        "f": raw.head.faces.astype(np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    if expressions_said:
        content["supr_expression_metadata"] = {"n_expr": len(raw.expression), "note": "last"}
    return content


def reference(raw: Raw, turning: tuple[str, ...] = tuple(DEVIATIONS)):
    """Coefficients to vertices, slow and plain."""

    def shape(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        surface = raw.head.points + np.tensordot(a, raw.identity, 1)
        modes = len(raw.expression)
        surface = surface + np.tensordot(b[:modes], raw.expression, 1)
        rotvecs = np.zeros((5, 3))
        for k, name in enumerate(turning):
            units = b[modes + 3 * k : modes + 3 * k + 3]
            rotvecs[1 + list(DEVIATIONS).index(name)] = units * np.array(DEVIATIONS[name])
        return skinned(surface, rotvecs, raw.head.weights, raw.head.regressor, raw.posedirs)

    return shape


def embedded(raw: Raw, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles, weights and places of the 68 points, near their vertices."""
    rng = np.random.default_rng(seed)
    triangles = np.array(
        [np.nonzero((raw.head.faces == v).any(axis=1))[0][0] for v in raw.head.marks]
    )
    corners = raw.head.faces[triangles]
    weights = np.where(corners == raw.head.marks[:, None], 0.8, 0.1)
    weights[:, 0] += (shift := rng.uniform(-0.05, 0.05, 68))
    weights[:, 1] -= shift
    places = (raw.head.points[corners] * weights[..., None]).sum(axis=1)
    return triangles, weights, places


def write_embeddings(folder: Path, raw: Raw) -> np.ndarray:
    """RingNet's static and dynamic files; the places of the 68 points."""
    triangles, weights, places = embedded(raw)
    static = {"lmk_face_idx": triangles[17:].astype(np.uint32), "lmk_b_coords": weights[17:]}
    (folder / "flame_static_embedding.pkl").write_bytes(dumps(static))
    rows, shares = moving_jaw(raw, triangles, weights)
    moving = {"lmk_face_idx": [list(row) for row in rows], "lmk_b_coords": list(shares)}
    save_object(folder / "flame_dynamic_embedding.npy", moving)
    return places


def moving_jaw(
    raw: Raw, triangles: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """79 rows of 17 points: as far as the yaw goes, the neighbouring triangles."""
    steps = np.concatenate([np.arange(40), -np.arange(1, 40)]) // 10
    rows = np.clip(triangles[None, :17] + steps[:, None], 0, len(raw.head.faces) - 1)
    rows[0] = triangles[:17]
    return rows.astype(np.int64), np.repeat(weights[None, :17], 79, axis=0)


def save_object(path: Path, content: Any) -> None:
    """`np.save` of an object, its pickle by Python 2."""
    array = np.empty((), dtype=object)
    array[()] = content
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        file.write(dumps(array))


def write_texture(folder: Path, raw: Raw, seed: int = 2):
    """FLAME_texture.npz with a chart; a function from coefficients to linear RGB at the vertices."""
    rng = np.random.default_rng(seed)
    points, faces = torch.from_numpy(raw.head.points), torch.from_numpy(raw.head.faces)
    chart = head_chart(points, faces, points[int(raw.head.marks[30])])
    uv, ft = chart.uv.numpy(), chart.uv_faces.numpy().astype(np.int64)
    wave = rng.uniform(-4.0, 4.0, (1 + ALBEDO, 3, 2))

    def codes(at: np.ndarray) -> np.ndarray:
        """Red, green, blue codes of the mean and the modes at places (..., 2)."""
        return np.sin(np.einsum("kcx,...x->...kc", wave, at))

    centre = (np.arange(SIDE) + 0.5) / SIDE
    grid = np.stack(np.meshgrid(centre, centre), axis=-1)
    values = codes(grid)
    np.savez(
        folder / "FLAME_texture.npz",
        mean=(130.0 + 60.0 * values[:, :, 0])[..., ::-1],
        tex_dir=(12.0 * values[:, :, 1:])[..., ::-1].transpose(0, 1, 3, 2),
        vt=np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1),
        ft=ft,
    )
    flat = np.zeros((len(points), 2))
    flat[raw.head.faces.ravel()] = uv[ft.ravel()]
    at_vertices = codes(flat)

    def colour(a: np.ndarray) -> np.ndarray:
        mean = (130.0 + 60.0 * at_vertices[:, 0]) / 255.0
        moved = np.einsum("k,nkc->nc", a, 12.0 * at_vertices[:, 1:]) / 255.0
        return ((mean + 0.055) / 1.055) ** 2.4 + 2.4 / 1.055 * (
            (mean + 0.055) / 1.055
        ) ** 1.4 * moved

    return colour


def write_flame(folder: Path, seed: int = 0) -> Written:
    """Model, embeddings and texture space."""
    raw = raw_flame(seed)
    path = folder / "generic_model.pkl"
    path.write_bytes(dumps(model_content(raw)))
    return Written(
        "flame",
        path,
        reference(raw),
        IDENTITY,
        EXPRESSION + 12,
        write_embeddings(folder, raw),
        ALBEDO,
        write_texture(folder, raw),
        needed=MODEL_KEYS,
        tolerance=0.04,
    )
