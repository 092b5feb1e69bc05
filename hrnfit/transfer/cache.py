"""Correspondences that were found once, in the user's data folder, by the two faces they belong to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hrnfit.data_folder import user_folder
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.npz_arrays import read_npz
from hrnfit.transfer.correspondence import Correspondence, find_correspondence
from hrnfit.transfer.face_mesh import FaceMesh
from hrnfit.tree import save_npz

log = logging.getLogger(__name__)

VERSION = 1
"""Counts with every change of the registration that changes its result."""

LIMIT = 500_000_000
"""Bytes of arrays of one file; a million vertices have 52e6."""


def cache_file(target: FaceMesh, source: FaceMesh) -> Path:
    """Where the correspondence of two faces is kept."""
    name = f"{target.key()}-{source.key()}-v{VERSION}.npz"
    return user_folder() / "correspondences" / name


def cached_correspondence(
    target: FaceMesh, source: FaceMesh, progress: Callable[[float], None] | None = None
) -> tuple[Correspondence, bool]:
    """The correspondence of two faces, and whether it was found in the cache.

    A damaged file is computed anew; a folder that cannot be written costs the cache, not the result.
    """
    path = cache_file(target, source)
    known = _read(path, target, source)
    if known is not None:
        return known, True
    found = find_correspondence(target, source, progress)
    try:
        save_npz(path, found)
    except OSError as error:
        log.warning("the correspondence is not kept: %s", error)
    return found, False


def _read(path: Path, target: FaceMesh, source: FaceMesh) -> Correspondence | None:
    """What a file holds, if it is whole and fits the two meshes."""
    if not path.is_file():
        return None
    try:
        arrays = read_npz(path, LIMIT)
        found = Correspondence(
            triangles=torch.from_numpy(arrays["triangles"].astype(np.int32)),
            barycentric=torch.from_numpy(arrays["barycentric"].astype(np.float32)),
            registered=torch.from_numpy(arrays["registered"].astype(np.float32)),
            aligned=torch.from_numpy(arrays["aligned"].astype(np.float32)),
            scale=torch.from_numpy(arrays["scale"].astype(np.float32)),
        )
        _check(found, len(target.vertices), len(source.faces))
    except (ModelFormatError, KeyError, ValueError, TypeError, OSError) as error:
        log.warning("%s: damaged (%s); the correspondence is computed anew", path, error)
        return None
    return found


def _check(found: Correspondence, vertices: int, triangles: int) -> None:
    shapes = [(found.triangles, (vertices,)), (found.scale, ())]
    shapes += [(t, (vertices, 3)) for t in (found.barycentric, found.registered, found.aligned)]
    for tensor, expected in shapes:
        if tuple(tensor.shape) != expected or not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"expected finite {expected}, got {tuple(tensor.shape)}")
    if int(found.triangles.min()) < -1 or int(found.triangles.max()) >= triangles:
        raise ValueError(f"triangles outside the {triangles} of the source")
