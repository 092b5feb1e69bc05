"""Wavefront OBJ with texture coordinates, normals and a material. Written fast, order kept.

OBJ counts v upwards and indices from 1; hrnfit counts v down and from 0. Lengths are mm.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hrnfit.io.image import write_png
from hrnfit.io.number_text import fixed_lines, integer_lines
from hrnfit.io.obj_lines import read_lines, split_line
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
    parts = [f"# hrnfit, mm, {len(mesh.vertices)} vertices, {len(mesh.faces)} triangles\n".encode()]
    if texture_file is not None:
        relative = os.path.relpath(texture_file, path.parent).replace(os.sep, "/")
        material = "newmtl face\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\n" + f"map_Kd {relative}\n"
        write_bytes(path.with_suffix(".mtl"), material.encode())
        parts.append(f"mtllib {path.with_suffix('.mtl').name}\n".encode())
    parts.append(b"o face\n")
    parts.append(_lines("v", mesh.vertices, 5))
    if mesh.uv is not None:
        flipped = mesh.uv * mesh.uv.new_tensor([1, -1]) + mesh.uv.new_tensor([0, 1])
        parts.append(_lines("vt", flipped, 7))
    if mesh.normals is not None:
        parts.append(_lines("vn", mesh.normals, 5))
    if texture_file is not None:
        parts.append(b"usemtl face\n")
    parts.append(_face_lines(mesh))
    write_bytes(path, b"".join(parts))


def read_obj(path: str | Path) -> Mesh:
    """Read vertices, triangles (polygons as fans), texture coordinates and normals."""
    from hrnfit.io.mesh import Mesh

    path = Path(path)
    rows: dict[str, list[str]] = {"v": [], "vt": [], "vn": []}
    polygons: list[str] = []
    for kind, rest in map(split_line, read_lines(path)):
        if kind in rows:
            rows[kind].append(rest.partition("#")[0])
        elif kind == "f":
            polygons.append(" ".join(rest.partition("#")[0].split()))
    if not rows["v"] or not polygons:
        raise ValueError(f"{path}: has {len(rows['v'])} vertices and {len(polygons)} faces; "
                         "a mesh needs both")  # fmt: skip
    try:
        return _assemble(Mesh, rows, polygons)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: not a valid OBJ file ({error})") from error


def _assemble(kind: type[Mesh], rows: dict[str, list[str]], polygons: list[str]) -> Mesh:
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
    width = len(lines[0].split())
    if width < columns:
        raise ValueError(f"expected {columns} numbers, got {lines[0]!r}")
    flat = np.array(" ".join(lines).split(), dtype=np.float64)
    if flat.size != width * len(lines):
        raise ValueError("rows of different lengths")
    return flat.reshape(len(lines), width)[:, :columns]


def _corners(polygons: list[str], counts: tuple[int, int, int]) -> np.ndarray:
    """Indices (F, 3 corners, vertex | uv | normal) from 0; -1 where a corner has none."""
    text = " ".join(polygons)
    first = polygons[0].split()
    fields = first[0].count("/") + 1
    plain = "//" not in text and text.count("/") == (fields - 1) * 3 * len(polygons)
    triangles_only = len(first) == 3 and text.count(" ") == 3 * len(polygons) - 1
    if plain and triangles_only:  # what most tools write: 400,000 triangles in about a second
        table = np.array(text.replace("/", " ").split(), dtype=np.int64).reshape(-1, 3, fields)
    else:
        rows = [corner for p in polygons for corner in _fan(p)]
        table = np.array(rows, dtype=np.int64).reshape(-1, 3, 3)
    corners = np.full((*table.shape[:2], 3), -1)
    for i in range(table.shape[-1]):
        column = table[..., i]
        # 0 stands for "none"; negative indices count from the end of the list, as OBJ allows.
        corners[..., i] = np.where(
            column > 0, column - 1, np.where(column < 0, column + counts[i], -1)
        )
    return corners


def _fan(polygon: str) -> list[tuple[int, int, int]]:
    """Corners of the triangles of one polygon, three after three; 0 where a corner has no field."""
    corners = []
    for token in polygon.split():
        numbers = [int(field) if field else 0 for field in token.split("/")]
        numbers += [0] * (3 - len(numbers))
        corners.append((numbers[0], numbers[1], numbers[2]))
    if len(corners) < 3:
        raise ValueError("a face has fewer than three corners")
    return [corners[j] for i in range(1, len(corners) - 1) for j in (0, i, i + 1)]


def _face_lines(mesh: Mesh) -> bytes:
    faces = mesh.faces.cpu() + 1
    columns, slashes = [faces], [0]
    if mesh.uv is not None:
        columns.append(mesh.corner_uv().cpu() + 1)
        slashes.append(1)
    if mesh.normals is not None:
        columns.append(faces)
        slashes.append(1 if mesh.uv is not None else 2)
    table = torch.stack([c.long() for c in columns], -1).flatten(1)
    return integer_lines("f", table.numpy(), slashes * 3)


def _lines(prefix: str, table: Tensor, decimals: int) -> bytes:
    return fixed_lines(prefix, table.detach().cpu().numpy(), decimals)
