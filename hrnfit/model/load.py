"""Model files: the one format "hrnfit-model-1" (docs/models.md), read strictly, written whole.

`load_model` also takes what can be imported: a compact ICT npz or an ICT folder.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrnfit.model import ict, store
from hrnfit.model.appearance import smooth_albedo
from hrnfit.model.containers import check_own
from hrnfit.model.dense_landmarks import shipped_landmarks
from hrnfit.model.face_model import LandmarkSet, ModelInfo, neutral
from hrnfit.model.flame import FlameModel
from hrnfit.model.flame_file import flame_arrays, flame_model
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.npz_arrays import read_npz
from hrnfit.model.stored import StoredModel, with_landmarks
from hrnfit.model.validate import FORMAT, check_model_arrays, model_type

Arrays = Mapping[str, np.ndarray]


def load_model(name_or_path: str | Path = store.GENERIC) -> StoredModel:
    """A model by name (`generic`, or one added with `hrnfit models add`), or from a file or folder.

    Raises FileNotFoundError when there is none, ModelFormatError naming key, shape and count when the
    file is broken.
    """
    path = store.resolve(name_or_path)
    if path.is_dir():
        return with_shipped_landmarks(ict.import_folder(path))
    check_own(path)
    arrays = read_npz(path)
    if ict.is_compact(set(arrays)):
        return with_shipped_landmarks(ict.from_compact(arrays, str(path)))
    check_model_arrays(arrays, f"model file {path}")
    return with_shipped_landmarks(_model(arrays))


def list_models() -> dict[str, Path]:
    """Files of the models that `load_model` knows by name."""
    return store.model_files()


def with_shipped_landmarks(model: StoredModel) -> StoredModel:
    """The model with the dense landmarks that were measured on its mesh, if we ship them and it has
    none of its own."""
    if "mediapipe478" in model.landmarks:
        return model
    found = shipped_landmarks(neutral(model), model.faces)
    return model if found is None else with_landmarks(model, "mediapipe478", found)


def save_model(model: StoredModel, path: str | Path) -> None:
    """Write a model file; nothing is left half-written. Bases and albedo are kept as float16.

    Not compressed: 62 MB of a Basel model are read in 0.06 s so, in 0.33 s from 57 MB compressed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}.npz")
    try:
        np.savez(partial, **model_arrays(model))
        os.replace(partial, path)
    except OSError as error:
        raise OSError(f"model file {path}: could not be written ({error})") from error
    finally:
        partial.unlink(missing_ok=True)


def model_arrays(model: StoredModel) -> dict[str, Any]:
    """The arrays of a model file."""
    if isinstance(model, FlameModel):
        turns = {"model_type": np.array("flame"), **flame_arrays(model)}
        return _linear_arrays(model.unposed) | turns
    return _linear_arrays(model) | {"model_type": np.array("linear")}


def _linear_arrays(model: LinearFaceModel) -> dict[str, Any]:
    n = model.n_vertices
    info = model.info
    arrays: dict[str, Any] = {
        "format": np.array(FORMAT),
        "name": np.array(info.name),
        "licence": np.array(info.licence),
        "source": np.array(info.source),
        "commercial": np.array(info.commercial),
        "kind": np.array(info.kind),
        "note": np.array(info.note),
        "files": np.array(info.files, dtype=np.str_).reshape(-1, 2),
        "mm_per_unit": np.array(1.0),
        "mean": _numpy(model.mean, np.float32),
        "identity_basis": _numpy(model.identity_basis, np.float16).reshape(-1, n, 3),
        "expression_basis": _numpy(model.expression_basis, np.float16).reshape(-1, n, 3),
        "expression_names": np.array(model.expression_names, dtype=np.str_),
        "expression_is_blendshape": np.array(model.expression_is_blendshape),
        "faces": _numpy(model.faces, np.int32),
        "uv": _numpy(model.uv, np.float32),
        "uv_faces": _numpy(model.uv_faces, np.int32),
        "albedo_mean": _numpy(model.albedo_mean, np.float16),
        "albedo_basis": _numpy(model.albedo_basis, np.float16),
        "jaw_contour": _numpy(model.jaw_contour, np.int32),
    }
    if model.mirror is not None:
        arrays["mirror"] = _numpy(model.mirror, np.int32)
    if model.regions:
        arrays["region_names"] = np.array(list(model.regions))
        arrays["region_masks"] = np.stack([m.cpu().numpy() for m in model.regions.values()])
    for scheme, marks in model.landmarks.items():
        arrays[f"landmarks_{scheme}_triangles"] = _numpy(marks.triangles, np.int32)
        arrays[f"landmarks_{scheme}_barycentric"] = _numpy(marks.barycentric, np.float32)
        arrays[f"landmarks_{scheme}_spread"] = _numpy(marks.spread, np.float32)
    return arrays


def _model(arrays: Arrays) -> StoredModel:
    """A model from checked arrays."""
    linear = _linear(arrays)
    return flame_model(arrays, linear) if model_type(arrays) == "flame" else linear


def _linear(arrays: Arrays) -> LinearFaceModel:
    scale = float(arrays["mm_per_unit"])
    names = [str(name) for name in arrays.get("region_names", ())]
    albedo_mean, albedo_basis = _albedo(arrays)
    optional: dict[str, Any] = {}
    if "jaw_contour" in arrays:
        optional["jaw_contour"] = _integers(arrays["jaw_contour"])
    if "mirror" in arrays:
        optional["mirror"] = _integers(arrays["mirror"])
    return LinearFaceModel(
        info=_info(arrays),
        mean=_scaled(arrays["mean"], scale),
        identity_basis=_scaled(arrays["identity_basis"], scale).flatten(1),
        expression_basis=_scaled(arrays["expression_basis"], scale).flatten(1),
        expression_names=tuple(str(name) for name in arrays["expression_names"]),
        expression_is_blendshape=bool(arrays["expression_is_blendshape"]),
        faces=_integers(arrays["faces"]),
        uv=_floats(arrays["uv"]),
        uv_faces=_integers(arrays["uv_faces"]),
        albedo_mean=albedo_mean,
        albedo_basis=albedo_basis,
        regions={n: torch.from_numpy(m) for n, m in zip(names, arrays["region_masks"], strict=True)}
        if names
        else {},
        landmarks=_landmarks(arrays),
        **optional,
    )


def _info(arrays: Arrays) -> ModelInfo:
    """Where the model comes from; files of others say less."""
    files = arrays.get("files", np.zeros((0, 2), dtype=np.str_))
    return ModelInfo(
        name=str(arrays["name"]),
        licence=str(arrays["licence"]),
        commercial=bool(arrays["commercial"]),
        source=str(arrays["source"]),
        kind=str(arrays.get("kind", "npz")),
        note=str(arrays.get("note", "")),
        files=tuple((str(name), str(digest)) for name, digest in files),
    )


def _albedo(arrays: Arrays) -> tuple[Tensor, Tensor]:
    """The file's albedo model, or a smooth one when it has none."""
    if "albedo_mean" in arrays and "albedo_basis" in arrays:
        return _floats(arrays["albedo_mean"]), _floats(arrays["albedo_basis"])
    mean, basis = smooth_albedo()
    return (_floats(arrays["albedo_mean"]) if "albedo_mean" in arrays else mean), basis


def _landmarks(arrays: Arrays) -> dict[str, LandmarkSet]:
    """Landmark sets of a file, by scheme."""
    found: dict[str, LandmarkSet] = {}
    for key in sorted(arrays):
        if key.startswith("landmarks_") and key.endswith("_triangles"):
            scheme = key.removeprefix("landmarks_").removesuffix("_triangles")
            triangles = _integers(arrays[key])
            spread = arrays.get(f"landmarks_{scheme}_spread", np.zeros(len(triangles)))
            found[scheme] = LandmarkSet(
                triangles=triangles,
                barycentric=_floats(arrays[f"landmarks_{scheme}_barycentric"]),
                spread=_floats(spread),
            )
    return found


def _floats(array: np.ndarray) -> Tensor:
    return torch.as_tensor(array).to(torch.float32, copy=True)  # numpy takes float16 7 times slower


def _scaled(array: np.ndarray, mm_per_unit: float) -> Tensor:
    """In mm; ours are already, and a pass over large bases is saved."""
    return _floats(array) if mm_per_unit == 1.0 else _floats(array) * mm_per_unit


def _integers(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int32))


def _numpy(tensor: Tensor, dtype: type) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(dtype)
