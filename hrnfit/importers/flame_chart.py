"""FLAME's own texture coordinates, from a template mesh or a texture space."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from hrnfit.check import check_shape
from hrnfit.io.mesh import Mesh
from hrnfit.io.obj import read_obj
from hrnfit.model.format_error import ModelFormatError

TEMPLATES = ("head_template_mesh.obj", "head_template.obj", "FLAME_uv_template.obj")
"""Meshes in FLAME's topology, with texture coordinates or without."""

LARGEST_TEMPLATE = 50_000_000
"""Bytes; 5,023 vertices with texture coordinates and 9,976 triangles take about 1e6."""


class Chart(NamedTuple):
    """Texture coordinates, origin top-left, v down."""

    uv: Float[np.ndarray, "Nuv 2"]
    uv_faces: Int[np.ndarray, "F 3"]


def find_chart(folder: Path, faces: Int[np.ndarray, "F 3"]) -> tuple[Chart, Path] | None:
    """Texture coordinates of the first template mesh in a folder that has some."""
    for path in (folder / name for name in TEMPLATES):
        if path.is_file() and (chart := _template(path, faces)) is not None:
            return chart, path
    return None


def checked_chart(
    path: Path, vt: np.ndarray, ft: np.ndarray, faces: Int[np.ndarray, "F 3"]
) -> Chart:
    """Texture coordinates with v down, that belong to this mesh: one vertex per coordinate."""
    try:
        check_shape("vt", vt, ("N", 2))
        check_shape("ft", ft, (len(faces), 3), "one texture triangle per triangle of the model")
        if vt.dtype.kind != "f" or ft.dtype.kind not in "iu" or len(vt) == 0:
            raise ValueError(f"vt and ft: expected reals and integers, got {vt.dtype}, {ft.dtype}")
        if ft.min() < 0 or ft.max() >= len(vt):
            raise ValueError(f"ft: values {ft.min()} to {ft.max()}, but there are {len(vt)} vt")
        if not np.isfinite(vt).all() or vt.min() < -1e-3 or vt.max() > 1.001:
            raise ValueError("vt: expected coordinates in 0..1")
        pairs = np.unique(np.stack([ft.reshape(-1), faces.reshape(-1)]).astype(np.int64), axis=1)
        if pairs.shape[1] != len(np.unique(pairs[0])):
            raise ValueError("ft: a texture coordinate lies at two vertices; it is another mesh")
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"{path}: {error}") from error
    uv = np.stack([vt[:, 0], 1.0 - vt[:, 1]], axis=1).clip(0.0, 1.0)
    return Chart(uv.astype(np.float32), ft.astype(np.int32))


def _template(path: Path, faces: Int[np.ndarray, "F 3"]) -> Chart | None:
    """Coordinates of an OBJ whose triangles are those of the model, in any order; None without any."""
    mesh = _mesh(path)
    if mesh.uv is None:
        return None
    vt = mesh.uv.numpy() * [1.0, -1.0] + [0.0, 1.0]
    corners = torch.stack([mesh.faces, mesh.corner_uv()], -1).numpy().astype(np.int64)
    if len(corners) != len(faces):
        raise ModelFormatError(f"{path}: {len(corners)} triangles, but the model has {len(faces)}")
    known = {_turned(t): k for k, t in enumerate(corners[:, :, 0])}
    rows = [known.get(_turned(t), -1) for t in faces]
    if min(rows) < 0:
        raise ModelFormatError(f"{path}: triangle {rows.index(-1)} of the model is not in it")
    ft = np.zeros_like(faces)
    for k, row in enumerate(rows):
        vertex, texture = corners[row, :, 0], corners[row, :, 1]
        ft[k] = texture[[int(np.nonzero(vertex == v)[0][0]) for v in faces[k]]]
    return checked_chart(path, vt, ft, faces)


def _turned(triangle: np.ndarray) -> tuple[int, ...]:
    """The triangle with its smallest vertex first, as wound."""
    first = int(np.argmin(triangle))
    return tuple(int(triangle[(first + k) % 3]) for k in range(3))


def _mesh(path: Path) -> Mesh:
    if path.stat().st_size > LARGEST_TEMPLATE:
        raise ModelFormatError(f"{path}: {path.stat().st_size} bytes, more than the mesh needs")
    try:
        return read_obj(path)
    except ValueError as error:
        raise ModelFormatError(str(error)) from error
