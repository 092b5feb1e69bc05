"""HIFI3D and HIFI3D++: heads of 20,481 vertices; the face's mask or the whole of it (`part`).

Their files are told in `hifi3d_files.py`, the albedo maps that may lie beside one in
`hifi3d_albedo.py`. The unit is a cm or a dm, told by the eyes (`scale.py`). The chart is the file's
own. Of the jaw's iBUG points some lie beyond the mask of the face: they are missing there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hrnfit.importers.assemble import LinearParts, assemble_linear
from hrnfit.importers.hifi3d_files import HifiFile, read_ffhq_uv, read_hifi3d
from hrnfit.importers.isolated import read_isolated
from hrnfit.importers.one_surface import Surface, one_surface
from hrnfit.importers.scale import decimal_unit
from hrnfit.importers.vertex_albedo import filled, srgb_slope, uv_albedo
from hrnfit.io.image import linear_from_srgb
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import LinearFaceModel

MODES = 120
"""Modes of identity, expression and albedo kept unless told otherwise; the files hold up to 532."""

PARTS = ("face", "head")

ALBEDO = ("AI-NExT-Albedo-Global.mat", "AI-NEXT-Albedo-Global.mat")
"""The file goes by both names."""

NOTE = "For research only; for commercial use ask the authors."


def import_hifi3d(
    path: Path, part: str = "face", extras: Path | None = None, modes: int | None = None
) -> tuple[LinearFaceModel, tuple[Path, ...]]:
    """The model of a file in HIFI3D's own layout (AI-NExT-Shape.mat), and the files read.

    Albedo from AI-NExT-Albedo-Global.mat in `extras` or beside, else a smooth one. Raises
    ModelFormatError naming the key, shape or count that is off; ValueError for an unknown part.
    """
    check_part(part)
    count = modes or MODES
    model = _model(path, read_hifi3d(path, part, count), _info("HIFI3D", "hifi3dface"))
    folder = extras or path.parent
    for name in ALBEDO:
        if (folder / name).is_file():
            return _with_maps(model, folder / name, count), (path, folder / name)
    return model, (path,)


def import_hifi3dpp(
    path: Path, part: str = "face", modes: int | None = None
) -> tuple[LinearFaceModel, tuple[Path, ...]]:
    """The model of FFHQ-UV's hifi3dpp_model_info.mat, and the files read; errors as `import_hifi3d`."""
    check_part(part)
    file = read_ffhq_uv(path, part, modes or MODES)
    return _model(path, file, _info("HIFI3D++", "REALY")), (path,)


def check_part(part: str) -> None:
    """`part` is one of a HIFI3D head."""
    if part not in PARTS:
        raise ValueError(f"part: expected {' or '.join(PARTS)}, got '{part}'")


def _info(name: str, project: str) -> ModelInfo:
    source = {"hifi3dface": "tencent-ailab/hifi3dface", "REALY": "czh-98/REALY"}[project]
    return ModelInfo(
        name=name.lower().replace("++", "pp"),
        licence=f"{name}, research only",
        commercial=False,
        source=f"https://github.com/{source}",
        note=NOTE,
    )


def _model(path: Path, file: HifiFile, info: ModelInfo) -> LinearFaceModel:
    """The model on one surface with the file's chart."""
    try:
        scale = decimal_unit(file.mean[file.marks])
        surface = one_surface(file.mean * scale, file.faces, file.marks)
        if file.uv.min() < -1e-4 or file.uv.max() > 1.0 + 1e-4:
            raise ModelFormatError(
                f"vt_list: {file.uv.min():.3g} to {file.uv.max():.3g}, expected one chart in 0..1"
            )
    except ModelFormatError as error:
        raise ModelFormatError(f"{path}: {error}") from error
    return _assembled(file, surface, scale, info)


def _assembled(file: HifiFile, surface: Surface, scale: float, info: ModelInfo) -> LinearFaceModel:
    """The model of the vertices kept."""
    kept = surface.kept
    mean = file.mean[kept]
    uv, uv_faces = _chart(file, surface)
    albedo = (None, None)
    if file.colour_mean is not None and file.colour_modes is not None:
        chart = (torch.from_numpy(uv).float(), torch.from_numpy(uv_faces))
        colours = (file.colour_mean[kept], file.colour_modes[:, kept])
        albedo = uv_albedo(*colours, *chart, surface.faces)
    return assemble_linear(
        LinearParts(
            info=info,
            mm_per_unit=scale,
            mean=mean - mean.mean(axis=0) * [0.0, 1.0, 1.0],
            identity=file.identity[:, kept],
            expression=file.expression[:, kept],
            expression_names=tuple(f"mode{k}" for k in range(len(file.expression))),
            expression_is_blendshape=False,
            faces=surface.faces.numpy(),
            marks=surface.landmarks(),
            guides=surface.marks,
            uv=uv,
            uv_faces=uv_faces,
            albedo_mean=albedo[0],
            albedo_basis=albedo[1],
        )
    )


def _chart(file: HifiFile, surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """The file's chart on the triangles kept, without texture vertices that no triangle uses."""
    corners = file.uv_faces[surface.triangles]
    corners = corners[:, ::-1] if surface.turned else corners
    used, number = np.unique(corners, return_inverse=True)
    return file.uv[used].clip(0.0, 1.0), number.reshape(-1, 3).astype(np.int32)


def _with_maps(model: LinearFaceModel, path: Path, modes: int) -> LinearFaceModel:
    """The model with HIFI3D's maps, made linear to first order at their mean."""
    found = read_isolated("hrnfit.importers.hifi3d_albedo:read", path, modes=modes)
    mask = torch.from_numpy(found["mask"])
    mean = torch.from_numpy(found["mean"]).clamp(0.0, 1.0)
    inside = mask.reshape(len(mask) // 2, 2, -1, 2).any(dim=3).any(dim=1)
    slope = srgb_slope(torch.from_numpy(found["small"]).float())
    basis = torch.from_numpy(found["basis"]).float() * slope
    return replace(
        model,
        albedo_mean=filled(linear_from_srgb(mean)[None], mask)[0],
        albedo_basis=filled(basis, inside),
    )
