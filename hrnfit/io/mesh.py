"""Mesh files, one table of formats: OBJ (`obj.py`), PLY and GLB (trimesh). Lengths are mm.

Vertex order is kept by OBJ and PLY. GLB holds one vertex per position and texture coordinate, so
seam vertices come out split; its node is scaled by 0.001, since glTF counts metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.check import check_finite, check_shape
from hrnfit.io.image import encode_srgb
from hrnfit.tree import write_bytes


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh as it stands in a file."""

    vertices: Float[Tensor, "N 3"]
    """mm."""
    faces: Int[Tensor, "F 3"]
    """Counter-clockwise from outside."""
    uv: Float[Tensor, "Nuv 2"] | None = None
    """Origin top-left, v down; the writers flip it where a format counts upwards."""
    uv_faces: Int[Tensor, "F 3"] | None = None
    """Triangles of `uv`; `faces` when None."""
    normals: Float[Tensor, "N 3"] | None = None
    """Unit vertex normals."""
    texture: Float[Tensor, "H W 3"] | None = None
    """Albedo in UV, linear RGB."""

    def __post_init__(self) -> None:
        check_shape("vertices", self.vertices, ("N", 3))
        check_shape("faces", self.faces, ("F", 3))
        _check_indices("faces", self.faces, len(self.vertices))
        if self.normals is not None:
            check_shape("normals", self.normals, (len(self.vertices), 3))
        if self.uv is not None:
            check_shape("uv", self.uv, ("Nuv", 2))
            check_shape("uv_faces", self.corner_uv(), (len(self.faces), 3))
            _check_indices("uv_faces", self.corner_uv(), len(self.uv))

    def corner_uv(self) -> Int[Tensor, "F 3"]:
        """Texture coordinate of each corner."""
        return self.faces if self.uv_faces is None else self.uv_faces


def write_mesh(path: str | Path, mesh: Mesh) -> None:
    """Write a mesh, atomically; the format follows from the suffix: .obj, .ply or .glb."""
    from hrnfit.io.obj import write_obj

    writers: dict[str, Callable[[Path, Mesh], None]] = {
        ".obj": write_obj,
        ".ply": _write_ply,
        ".glb": _write_glb,
    }
    path = Path(path)
    check_finite(f"{path.name}: vertices", mesh.vertices, "the fit diverged; nothing is written")
    writers[_suffix(path, list(writers))](path, mesh)


def read_mesh(path: str | Path) -> Mesh:
    """Read a mesh; the format follows from the suffix: .obj, .ply or .glb."""
    from hrnfit.io.obj import read_obj

    readers: dict[str, Callable[[Path], Mesh]] = {
        ".obj": read_obj,
        ".ply": _read_trimesh,
        ".glb": _read_trimesh,
    }
    path = Path(path)
    read = readers[_suffix(path, list(readers))]
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such mesh")
    return read(path)


def _write_ply(path: Path, mesh: Mesh) -> None:
    import trimesh

    body: Any = trimesh.Trimesh(
        vertices=mesh.vertices.detach().cpu().numpy(),
        faces=mesh.faces.cpu().numpy(),
        vertex_normals=None if mesh.normals is None else mesh.normals.detach().cpu().numpy(),
        process=False,
    )
    write_bytes(path, body.export(file_type="ply", vertex_normal=mesh.normals is not None))


def _write_glb(path: Path, mesh: Mesh) -> None:
    import trimesh
    from PIL import Image
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    vertex, coordinate, faces = _split_seams(mesh)
    visual: Any = None
    if mesh.uv is not None:
        uv = mesh.uv.detach().cpu().numpy()[coordinate] * [1, -1] + [0, 1]  # trimesh counts v up
        picture = None if mesh.texture is None else Image.fromarray(encode_srgb(mesh.texture))
        material = PBRMaterial(
            name="face", baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=0.7
        )
        visual = TextureVisuals(uv=uv, material=material)
    normals = None if mesh.normals is None else mesh.normals.detach().cpu().numpy()[vertex]
    body = trimesh.Trimesh(
        vertices=mesh.vertices.detach().cpu().numpy()[vertex],
        faces=faces,
        vertex_normals=normals,
        visual=visual,
        process=False,
    )
    scene = trimesh.Scene()
    scene.add_geometry(body, geom_name="face", transform=np.diag([0.001, 0.001, 0.001, 1.0]))
    content: Any = scene.export(file_type="glb", include_normals=normals is not None)
    write_bytes(path, content)


def _split_seams(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertex and texture index of every distinct corner, and the triangles of the corners."""
    faces = mesh.faces.cpu().numpy().astype(np.int64)
    if mesh.uv is None:
        index = np.arange(len(mesh.vertices))
        return index, index, faces
    corners = mesh.corner_uv().cpu().numpy().astype(np.int64)
    key = faces * len(mesh.uv) + corners
    unique, inverse = np.unique(key, return_inverse=True)
    return unique // len(mesh.uv), unique % len(mesh.uv), inverse.reshape(faces.shape)


def _read_trimesh(path: Path) -> Mesh:
    import trimesh

    try:
        loaded: Any = trimesh.load(path, process=False, maintain_order=True)
    except Exception as error:  # trimesh raises whatever its parsers meet
        raise ValueError(f"{path}: not a mesh that can be read ({error})") from error
    geometries = list(getattr(loaded, "geometry", {"": loaded}).values())
    if not geometries or not len(getattr(geometries[0], "faces", ())):
        raise ValueError(f"{path}: has no triangles; a mesh with faces is needed")
    body = geometries[0]
    uv = getattr(body.visual, "uv", None)
    flipped = None if uv is None else torch.from_numpy(np.asarray(uv) * [1, -1] + [0, 1]).float()
    return Mesh(
        vertices=torch.from_numpy(np.array(body.vertices)).float(),
        faces=torch.from_numpy(np.array(body.faces)).int(),
        uv=flipped,
        normals=torch.from_numpy(np.array(body.vertex_normals)).float(),
    )


def _check_indices(name: str, indices: Tensor, count: int) -> None:
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= count):
        worst = int(indices.max()) if int(indices.max()) >= count else int(indices.min())
        raise ValueError(f"{name}: index {worst} is outside the {count} points it refers to")


def _suffix(path: Path, known: list[str]) -> str:
    suffix = path.suffix.lower()
    if suffix not in known:
        raise ValueError(f"{path}: mesh files of type {suffix!r} are not known; use {known}")
    return suffix
