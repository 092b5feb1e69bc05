"""Wavefront OBJ with texture coordinates, normals and a material. Written fast, order kept.

OBJ counts v upwards and indices from 1; hrnfit counts v down and from 0. Lengths are mm.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hrnfit.io.image import write_png
from hrnfit.tree import write_bytes

if TYPE_CHECKING:
    from hrnfit.io.mesh import Mesh


def write_obj(path: str | Path, mesh: Mesh, texture_file: str | Path | None = None) -> None:
    """Write `path`, and with a texture its material `<stem>.mtl` beside it; each atomically.

    texture_file: an image that exists or will exist; the material refers to it. Without it the
    mesh's own texture, if any, is written as `<stem>.png`.
    """
    path = Path(path)
    if texture_file is None and mesh.texture is not None and mesh.uv is not None:
        texture_file = path.with_suffix(".png")
        write_png(texture_file, mesh.texture)
    parts = [f"# hrnfit, mm, {len(mesh.vertices)} vertices, {len(mesh.faces)} triangles\n"]
    if texture_file is not None:
        relative = os.path.relpath(texture_file, path.parent).replace(os.sep, "/")
        material = "newmtl face\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\n" + f"map_Kd {relative}\n"
        write_bytes(path.with_suffix(".mtl"), material.encode())
        parts.append(f"mtllib {path.with_suffix('.mtl').name}\n")
    parts.append("o face\n")
    parts.append(_lines("v %.5f %.5f %.5f\n", mesh.vertices))
    if mesh.uv is not None:
        flipped = mesh.uv * mesh.uv.new_tensor([1, -1]) + mesh.uv.new_tensor([0, 1])
        parts.append(_lines("vt %.7f %.7f\n", flipped))
    if mesh.normals is not None:
        parts.append(_lines("vn %.5f %.5f %.5f\n", mesh.normals))
    if texture_file is not None:
        parts.append("usemtl face\n")
    parts.append(_face_lines(mesh))
    write_bytes(path, "".join(parts).encode())


def read_obj(path: str | Path) -> Mesh:
    """Read vertices, triangles (polygons as fans), texture coordinates and normals."""
    from hrnfit.io.mesh import Mesh

    path = Path(path)
    rows: dict[str, list[str]] = {"v": [], "vt": [], "vn": []}
    polygons: list[list[str]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind in rows:
            rows[kind].append(rest)
        elif kind == "f":
            polygons.append(rest.split())
    if not rows["v"] or not polygons:
        raise ValueError(f"{path}: has {len(rows['v'])} vertices and {len(polygons)} faces; "
                         "a mesh needs both")  # fmt: skip
    try:
        return _assemble(Mesh, rows, polygons)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: not a valid OBJ file ({error})") from error


def _assemble(kind: type[Mesh], rows: dict[str, list[str]], polygons: list[list[str]]) -> Mesh:
    vertices, uv, normals = (
        _numbers(rows["v"], 3),
        _numbers(rows["vt"], 2),
        _numbers(rows["vn"], 3),
    )
    corners = _corners(polygons, (len(vertices), len(uv), len(normals)))  # (F, 3, 3)
    faces = corners[..., 0]
    has_uv = len(uv) > 0 and bool((corners[..., 1] >= 0).all())
    same_order = len(normals) == len(vertices) and np.array_equal(corners[..., 2], faces)
    return kind(
        vertices=torch.from_numpy(vertices).float(),
        faces=torch.from_numpy(faces).int(),
        uv=torch.from_numpy(uv * [1, -1] + [0, 1]).float() if has_uv else None,
        uv_faces=torch.from_numpy(corners[..., 1]).int() if has_uv else None,
        normals=torch.from_numpy(normals).float() if same_order else None,
    )


def _numbers(lines: list[str], columns: int) -> np.ndarray:
    """(len, columns) numbers; further columns (colours, w) are left out."""
    if not lines:
        return np.zeros((0, columns))
    return np.array([line.split()[:columns] for line in lines], dtype=np.float64)


def _corners(polygons: Iterable[list[str]], counts: tuple[int, int, int]) -> np.ndarray:
    """Indices (F, 3 corners, vertex | uv | normal) from 0; -1 where a corner has none."""
    cache: dict[str, tuple[int, int, int]] = {}

    def corner(token: str) -> tuple[int, int, int]:
        if token not in cache:
            fields = (token.split("/") + ["", ""])[:3]
            # Negative indices count from the end of the list, as OBJ allows.
            numbers = [int(f) if f else 0 for f in fields]
            resolved = [n - 1 if n > 0 else n + c if n < 0 else -1
                        for n, c in zip(numbers, counts, strict=True)]  # fmt: skip
            cache[token] = (resolved[0], resolved[1], resolved[2])
        return cache[token]

    triangles = []
    for polygon in polygons:
        indices = [corner(token) for token in polygon]
        if len(indices) < 3:
            raise ValueError("a face has fewer than three corners")
        for i in range(1, len(indices) - 1):
            triangles.append((indices[0], indices[i], indices[i + 1]))
    return np.array(triangles, dtype=np.int64)


def _face_lines(mesh: Mesh) -> str:
    faces = mesh.faces.cpu() + 1
    columns, pattern = [faces], "%d"
    if mesh.uv is not None:
        columns.append(mesh.corner_uv().cpu() + 1)
        pattern += "/%d"
    if mesh.normals is not None:
        columns.append(faces)
        pattern += "/%d" if mesh.uv is not None else "//%d"
    table = torch.stack([c.long() for c in columns], -1).flatten(1)
    return _lines("f " + " ".join([pattern] * 3) + "\n", table)


def _lines(pattern: str, table: Tensor) -> str:
    """`pattern` filled with each row: one formatting call, 20 times faster than one per row."""
    return (pattern * len(table)) % tuple(table.detach().cpu().flatten().tolist())
