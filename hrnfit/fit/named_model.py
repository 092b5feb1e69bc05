"""The model of a fit: given as an object, or opened from its name or file and kept for the next fit.

What is computed once per model object (charts, its copy on a GPU, recordings) would be lost with a model
that is read anew for every fit.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from hrnfit.fit.model_constants import changes
from hrnfit.model import store
from hrnfit.model.face_model import FaceModel
from hrnfit.model.load import load_model


def model_and_file(model: str | Path | FaceModel) -> tuple[FaceModel, dict[str, str]]:
    """The model, and path and SHA-256 of its file as the provenance says them; a name that ships needs no
    path, an object has neither. A file that has changed is read again, and so is one whose model was changed in
    place."""
    if not isinstance(model, (str, Path)):
        return model, {}
    path = store.resolve(model)
    where = {} if str(model) == store.GENERIC else {"path": str(path.resolve())}
    if not path.is_file():
        return load_model(model), where
    state = path.stat()
    key = path.resolve(), (state.st_mtime_ns, state.st_size, state.st_ino)
    face, content, untouched = _opened(*key)
    if changes(face) != untouched:  # a result hands its model out
        _opened.cache_clear()
        face, content, _ = _opened(*key)
    return face, where | {"sha256": content}


@lru_cache(maxsize=2)
def _opened(path: Path, _state: tuple[int, int, int]) -> tuple[FaceModel, str, tuple[int, ...]]:
    """Model and SHA-256 of a file, and its `changes` so far; `_state`: what changes with its content.
    Two are kept: one of ICT is 25 MB, one of Basel 130."""
    model = load_model(path)
    return model, hashlib.sha256(path.read_bytes()).hexdigest(), changes(model)
