"""Where the real heads lie, and the protocol that measures on them: both outside of the project.

The folder is `HRNFIT_DATA`, else `shared/data` beside the clone. Its `evaluate.py` is loaded from there,
so that every figure is the official one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hrnfit import load_model
from hrnfit.model.face_model import FaceModel

ROOT = Path(__file__).resolve().parent.parent


@cache
def data_folder() -> Path:
    """Folder of the data; FileNotFoundError with advice when there is none."""
    named = os.environ.get("HRNFIT_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "evaluate.py").is_file():
        raise FileNotFoundError(
            f"no benchmark data in {folder}: set HRNFIT_DATA to the folder that holds evaluate.py"
        )
    return folder


@cache
def protocol() -> ModuleType:
    """The module `evaluate.py` of the data folder."""
    path = data_folder() / "evaluate.py"
    spec = importlib.util.spec_from_file_location("hrnfit_protocol", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


@cache
def model_of(name: str) -> FaceModel:
    """`ict` from the data folder, else a model that the library knows by name."""
    return load_model(data_folder() / "ict" / "ict_facehead_f16.npz" if name == "ict" else name)


def rig_images(rig: str, numbers: str) -> list[Path]:
    """Photographs of a rig's cameras, by their digits."""
    return [data_folder() / rig / "images" / f"cam_{i}.png" for i in numbers]


@cache
def rig_truth() -> Any:
    """The head of all real sets, a `Truth` of the protocol."""
    return protocol().load_truth(data_folder() / "rig_t1" / "ground_truth.npz")


def true_focals() -> dict[str, float]:
    """Focal length (fx, px) of each photograph of the uncalibrated set."""
    file = data_folder() / "wild_t1" / "ground_truth.json"
    photographs = json.loads(file.read_text(encoding="utf-8"))["photos"]
    return {p["name"]: float(np.asarray(p["K"])[0, 0]) for p in photographs}
