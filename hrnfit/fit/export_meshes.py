"""Mesh files of a result: an OBJ per level with one shared albedo picture, and a textured GLB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.result import LEVELS, FitResult, MeshLevel
from hrnfit.io.image import write_png
from hrnfit.io.mesh import Mesh, write_mesh
from hrnfit.io.obj import write_obj

TEXTURE_FILE = "albedo.png"


def write_meshes(result: FitResult, directory: Path) -> None:
    """`{coarse,mid,fine}.obj` (world mm, vertex order of the model), `albedo.png`, `fine.glb`."""
    texture, whole = directory / TEXTURE_FILE, file_mesh(result.mesh("fine"), result.maps.albedo)
    tasks = [
        partial(write_obj, directory / f"{level}.obj", file_mesh(result.mesh(level)), texture)
        for level in LEVELS
    ]
    tasks += [
        partial(write_mesh, directory / "fine.glb", whole),
        partial(write_png, texture, result.maps.albedo),
    ]
    with ThreadPoolExecutor(len(tasks), thread_name_prefix="hrnfit-meshes") as threads:
        for done in [threads.submit(task) for task in tasks]:
            done.result()


def file_mesh(mesh: MeshLevel, texture: Float[Tensor, "R R 3"] | None = None) -> Mesh:
    """A level as the mesh writers take it."""
    return Mesh(
        vertices=mesh.vertices,
        faces=mesh.faces,
        uv=mesh.uv,
        uv_faces=mesh.uv_faces,
        normals=mesh.normals,
        texture=texture,
    )
