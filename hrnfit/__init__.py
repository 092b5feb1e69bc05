"""One subject's face, textured and detailed, from photographs and, where they are known, cameras.

    import hrnfit
    result = hrnfit.fit(["left.png", "front.png", "right.png"], "cameras.json")
    result.save("out/")

Names are imported when first used, so that `import hrnfit` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hrnfit.camera import Camera as Camera
    from hrnfit.fit.batch import fit_batch as fit_batch
    from hrnfit.fit.batch_processes import BatchProcesses as BatchProcesses
    from hrnfit.fit.capture import Capture as Capture
    from hrnfit.fit.fit import Progress as Progress
    from hrnfit.fit.fit import fit as fit
    from hrnfit.fit.out_of_memory import OutOfMemoryError as OutOfMemoryError
    from hrnfit.fit.recipe import Recipe as Recipe
    from hrnfit.fit.recipe import load_recipe as load_recipe
    from hrnfit.fit.refine_layer import RefineLayer as RefineLayer
    from hrnfit.fit.result import FitResult as FitResult
    from hrnfit.io.cameras import load_cameras as load_cameras
    from hrnfit.io.cameras import save_cameras as save_cameras
    from hrnfit.io.image import load_image as load_image
    from hrnfit.licences import LicenceError as LicenceError
    from hrnfit.model.load import list_models as list_models
    from hrnfit.model.load import load_model as load_model
    from hrnfit.observe.observation import Landmarks as Landmarks
    from hrnfit.observe.observation import View as View
    from hrnfit.state import FaceState as FaceState
    from hrnfit.transfer.conversion import Conversion as Conversion
    from hrnfit.transfer.convert import convert as convert

__version__ = "0.1.0"

_HOME = {
    "BatchProcesses": "hrnfit.fit.batch_processes",
    "Camera": "hrnfit.camera",
    "Capture": "hrnfit.fit.capture",
    "Conversion": "hrnfit.transfer.conversion",
    "FaceState": "hrnfit.state",
    "FitResult": "hrnfit.fit.result",
    "LicenceError": "hrnfit.licences",
    "Landmarks": "hrnfit.observe.observation",
    "OutOfMemoryError": "hrnfit.fit.out_of_memory",
    "Progress": "hrnfit.fit.fit",
    "Recipe": "hrnfit.fit.recipe",
    "RefineLayer": "hrnfit.fit.refine_layer",
    "View": "hrnfit.observe.observation",
    "convert": "hrnfit.transfer.convert",
    "fit": "hrnfit.fit",  # the package is callable and stands for its function
    "fit_batch": "hrnfit.fit.batch",
    "list_models": "hrnfit.model.load",
    "load_cameras": "hrnfit.io.cameras",
    "load_image": "hrnfit.io.image",
    "load_model": "hrnfit.model.load",
    "load_recipe": "hrnfit.fit.recipe",
    "save_cameras": "hrnfit.io.cameras",
}

__all__ = ["__version__", *sorted(_HOME)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"hrnfit has no {name!r}; it has {', '.join(sorted(_HOME))}")
    home = importlib.import_module(_HOME[name])
    return home if name == "fit" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
