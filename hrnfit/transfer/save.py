"""Files of a conversion: meshes, maps, `conversion.json`; for a model also a state that can be loaded."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from hrnfit.fit.archive import RESULT_FILE, STATE_FILE, finite, save_archive
from hrnfit.fit.export import CONVERSION_FILE, LICENCES, save_folder, write_json
from hrnfit.fit.export_meshes import TEXTURE_FILE, file_mesh
from hrnfit.fit.licensing import licence_text
from hrnfit.fit.result import MeshLevel
from hrnfit.io.image import write_png
from hrnfit.io.maps import write_exr
from hrnfit.io.mesh import Mesh, write_mesh
from hrnfit.io.obj import write_obj
from hrnfit.io.obj_rewrite import rewrite_obj
from hrnfit.render.texture import dilate, uv_raster
from hrnfit.transfer.conversion import Conversion
from hrnfit.tree import write_bytes

BORDER = 8
"""Texels by which the baked albedo runs over the border of the chart: renderers filter across it."""


def save_conversion(conversion: Conversion, directory: str | Path) -> Path:
    """Write everything into `directory` and return it; OSError with advice leaves it as it was."""
    check_no_fit(Path(directory))
    return save_folder(directory, lambda folder: _write_parts(conversion, folder), CONVERSION_FILE)


def _write_parts(conversion: Conversion, folder: Path) -> None:
    _write_meshes(conversion, folder / "meshes")
    if conversion.albedo is not None:
        write_png(folder / "maps" / "albedo.png", conversion.albedo)
    if conversion.displacement is not None:
        write_exr(folder / "maps" / "displacement.exr", conversion.displacement)
    if text := licence_text(conversion.provenance):
        write_bytes(folder / LICENCES, text.encode())
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    if conversion.result is not None:
        files = [*files, STATE_FILE, RESULT_FILE]
        save_archive(conversion.result, folder, {"maps": {}, "files": [*files, CONVERSION_FILE]})
    document = conversion.document() | {"files": [*files, CONVERSION_FILE]}
    write_json(folder / CONVERSION_FILE, finite(document))


def _write_meshes(conversion: Conversion, folder: Path) -> None:
    """`<level>.obj` and `.glb` of the exported frame; other frames in folders of their own."""
    texture = None
    if conversion.albedo is not None:
        texture = folder / TEXTURE_FILE
        write_png(texture, dilate(conversion.albedo, _covered(conversion), BORDER))
    for level, frames in conversion.meshes.items():
        for frame, mesh in enumerate(frames):
            exported = frame == conversion.frame
            place = folder if exported else folder / f"frame_{frame}"
            _write_mesh(conversion, mesh, place / level, texture)


def _write_mesh(conversion: Conversion, mesh: MeshLevel, stem: Path, texture: Path | None) -> None:
    """OBJ, a template's with its own polygons, and GLB."""
    file, path = _file_mesh(mesh), conversion.target.path
    if path is not None and path.suffix.lower() == ".obj":
        rewrite_obj(path, stem.with_suffix(".obj"), mesh.vertices, texture)
    else:
        write_obj(stem.with_suffix(".obj"), file, texture)
    write_mesh(stem.with_suffix(".glb"), replace(file, texture=conversion.albedo))


def _file_mesh(mesh: MeshLevel) -> Mesh:
    """As the writers take it; templates may lack texture coordinates."""
    if len(mesh.uv):
        return file_mesh(mesh)
    return Mesh(vertices=mesh.vertices, faces=mesh.faces, normals=mesh.normals)


def _covered(conversion: Conversion) -> Bool[Tensor, "R R"]:
    """Texels inside the target's chart."""
    mesh = conversion.mesh(next(iter(conversion.meshes)))
    assert conversion.albedo is not None
    size = conversion.albedo.shape[:2]
    return uv_raster(mesh.uv, mesh.uv_faces, mesh.faces, *size).mask


def check_no_fit(directory: Path) -> None:
    """FileExistsError when a fit's own result would be replaced by its conversion."""
    if (directory / RESULT_FILE).is_file() and not (directory / CONVERSION_FILE).is_file():
        raise FileExistsError(
            errno.EEXIST,
            f"cannot save to {directory}: it holds a fit, which the conversion would replace; choose another "
            "folder",
        )
