"""The model of a fit: given as an object, or opened from its name or file and kept for the next fit.

What is computed once per model object (charts, its copy on a GPU, recordings) would be lost with a model
that is read anew for every fit.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from hrnfit.model import store
from hrnfit.model.face_model import FaceModel
from hrnfit.model.load import load_model


def model_and_file(model: str | Path | FaceModel) -> tuple[FaceModel, dict[str, str]]:
    """The model, and path and SHA-256 of its file as the provenance says them; a name that ships needs no
    path, an object has neither. A file that has changed is read again."""
    if not isinstance(model, (str, Path)):
        return model, {}
    path = store.resolve(model)
    where = {} if str(model) == store.GENERIC else {"path": str(path.resolve())}
    if not path.is_file():
        return load_model(model), where
    state = path.stat()
    face, content = _opened(path.resolve(), (state.st_mtime_ns, state.st_size, state.st_ino))
    return face, where | {"sha256": content}


@lru_cache(maxsize=2)
def _opened(path: Path, _state: tuple[int, int, int]) -> tuple[FaceModel, str]:
    """Model and SHA-256 of a file; `_state`: what changes with its content. Two are kept: one of ICT is
    25 MB, one of Basel 130."""
    return load_model(path), hashlib.sha256(path.read_bytes()).hexdigest()
