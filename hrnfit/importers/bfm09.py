"""The Basel face model of 2009 as Deep3D and HRN use it: 35,709 vertices, 80 + 64 + 80 coefficients.

From `BFM_model_front.mat`, or from the raw set that it is made of, which gives the same model. With
HRN's chart and albedo maps where they lie beside; else the chart is ours and the maps are rasterised
from the colours of the vertices.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from hrnfit.importers.assemble import LinearParts, assemble_linear
from hrnfit.importers.bfm09_extras import (
    CHART,
    LANDMARKS,
    TEMPLATE,
    Extras,
    chart,
    check_landmarks,
    check_template,
    found_extras,
    with_maps,
)
from hrnfit.importers.bfm09_files import FRONT_FILE, model_files, search_folders
from hrnfit.importers.bfm09_layout import KEYS, MM_PER_UNIT, FrontModel, front_model
from hrnfit.importers.bfm09_raw import raw_arrays
from hrnfit.importers.isolated import read_isolated
from hrnfit.importers.vertex_albedo import uv_albedo
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import LinearFaceModel

INFO = ModelInfo(
    name="bfm09",
    licence="Basel Face Model licence: internal, non-commercial research, evaluation or testing",
    commercial=False,
    source="Basel Face Model 2009 (Paysan et al. 2009); expressions of Guo et al. 2018, from FaceWarehouse",
    note="Each user signs the licence with the University of Basel; the file may not be passed on, and "
    "the expressions are for research too.",
)


def read(path: Path, extras: Path | None = None) -> tuple[LinearFaceModel, tuple[Path, ...]]:
    """The model of a file or folder, and the files that were read.

    `extras`: a folder of companion files that do not lie beside. Raises ModelFormatError naming file,
    key, shape or count.
    """
    folders = search_folders(path, extras)
    files = model_files(path, folders)
    companions = found_extras(folders)
    parts = _front(files)
    marks = parts.mean[parts.marks] * MM_PER_UNIT
    if TEMPLATE in companions.files:
        check_template(companions.files[TEMPLATE], parts.faces, len(parts.mean))
    if LANDMARKS in companions.files:
        check_landmarks(companions.files[LANDMARKS], marks)
    model = _assembled(path, parts, companions)
    if companions.has_maps:
        model = with_maps(model, parts, companions)
    else:
        colours = (parts.colour / 255.0, parts.colour_modes / 255.0)
        albedo = uv_albedo(*colours, model.uv, model.uv_faces, model.faces)
        mean, modes = (torch.from_numpy(part).float() for part in albedo)
        model = replace(model, albedo_mean=mean, albedo_basis=modes)
    return model, (*files.values(), *companions.files.values())


def _front(files: dict[str, Path]) -> FrontModel:
    """What the files say, checked."""
    if FRONT_FILE not in files:
        arrays, label = raw_arrays(files), next(iter(files.values())).parent
    else:
        label = files[FRONT_FILE]
        arrays = read_isolated("hrnfit.importers.mat_arrays:read", label, keys=list(KEYS))
    try:
        return front_model(arrays)
    except ModelFormatError as error:
        raise ModelFormatError(f"{label}: {error}") from error


def _assembled(path: Path, parts: FrontModel, companions: Extras) -> LinearFaceModel:
    """The model without its own colours; with the regions that only this format has."""
    uv = chart(companions.files[CHART], len(parts.mean)) if CHART in companions.files else None
    count = len(parts.expression)
    try:
        model = assemble_linear(
            LinearParts(
                info=INFO,
                mm_per_unit=MM_PER_UNIT,
                mean=parts.mean,
                identity=parts.identity,
                expression=parts.expression,
                expression_names=tuple(f"exp{k:02d}" for k in range(count)),
                expression_is_blendshape=False,
                faces=parts.faces,
                marks=parts.marks,
                uv=uv,
            )
        )
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from error
    own = {"front": parts.front, "even_skin": parts.even_skin}
    regions = {name: torch.from_numpy(mask) for name, mask in own.items()}
    return replace(model, regions=model.regions | regions)
