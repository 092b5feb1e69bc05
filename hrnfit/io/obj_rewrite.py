"""An OBJ file with other vertex positions: polygons, groups and texture coordinates stay as they stand.

A studio's template has quads and named parts that a mesh of triangles would lose. Normals belong to the
old shape and go; every material shows the one given picture.
"""

from __future__ import annotations

import os
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from hrnfit.io.obj_lines import read_lines, split_line
from hrnfit.tree import write_bytes

DROPPED = ("vn", "mtllib")
"""Statements that no longer hold."""


def rewrite_obj(
    source: str | Path,
    path: str | Path,
    vertices: Float[Tensor, "N 3"],
    texture_file: str | Path | None = None,
) -> None:
    """Write `path` as `source` with new positions, mm; ValueError when their number differs.

    texture_file: an image that exists or will exist; `<stem>.mtl` beside `path` then names it.
    """
    path = Path(path)
    lines = read_lines(Path(source))
    statements = [split_line(line) for line in lines]
    count = sum(head == "v" for head, _ in statements)
    if count != len(vertices):
        raise ValueError(f"{source}: has {count} vertices, got {len(vertices)} positions")
    positions = iter(vertices.detach().cpu().double().tolist())
    named = [name for head, name in statements if head == "usemtl" and name]
    materials = list(dict.fromkeys(named)) or ["face"]
    out = ["# positions by hrnfit, mm"]
    if texture_file is not None:
        out.append(f"mtllib {path.with_suffix('.mtl').name}")
        write_bytes(path.with_suffix(".mtl"), _materials(materials, path, texture_file))
    assigned = bool(named) or texture_file is None
    for (head, rest), line in zip(statements, lines, strict=True):
        if head == "v":
            out.append("v {:.5f} {:.5f} {:.5f}".format(*next(positions)))
        elif head == "f":
            if not assigned:
                out.append(f"usemtl {materials[0]}")
                assigned = True
            out.append(_without_normals(rest))
        elif head not in DROPPED and (head, rest) != ("usemtl", ""):
            out.append(line)
    write_bytes(path, ("\n".join(out) + "\n").encode())


def _materials(names: list[str], path: Path, texture_file: str | Path) -> bytes:
    relative = os.path.relpath(texture_file, path.parent).replace(os.sep, "/")
    text = "".join(
        f"newmtl {name}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {relative}\n"
        for name in names
    )
    return text.encode()


def _without_normals(corners: str) -> str:
    """A face statement with the third index of every corner left out."""
    words = corners.partition("#")[0].split()
    return " ".join(["f", *("/".join(filter(None, word.split("/")[:2])) for word in words)])
