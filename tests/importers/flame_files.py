"""FLAME files for its tests: a model with its companions, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hrnfit.importers import flame_licence
from hrnfit.importers.flame_licence import Release
from hrnfit.importers.kinds import ImportOptions, checksums, import_model
from hrnfit.model.flame import FlameModel
from tests.importers.python2_pickle import dumps
from tests.importers.write_flame import (
    Raw,
    model_content,
    write_embeddings,
)


def written(folder: Path, raw: Raw, name: str = "generic_model.pkl", **changes) -> Path:
    """A model file with the embeddings beside it; keys given as None are left out."""
    content = model_content(raw) | changes
    path = folder / name
    path.write_bytes(dumps({k: v for k, v in content.items() if v is not None}))
    write_embeddings(folder, raw)
    return path


def imported(path: Path, **options) -> FlameModel:
    model = import_model("flame", path, "given", ImportOptions(**options))
    assert isinstance(model, FlameModel)
    return model


def texture(folder: Path, **arrays) -> None:
    np.savez(folder / "FLAME_albedo_from_BFM.npz", **arrays)


def as_release(monkeypatch, path: Path, licence: str) -> None:
    """Let the file be a published one."""
    digest = dict(checksums([path]))[path.name]
    known = {digest: Release("FLAME of the test", licence)}
    monkeypatch.setattr(flame_licence, "RELEASES", known)
