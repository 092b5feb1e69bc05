"""What a fit is carried over to: a face model, or a template mesh."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from hrnfit.model import store
from hrnfit.model.face_model import FaceModel
from hrnfit.model.load import load_model
from hrnfit.transfer.face_mesh import FaceMesh, mean_face
from hrnfit.transfer.template import SUFFIXES, Template, read_template

UNITS = {"mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0, "inches": 25.4}
"""mm per unit."""

UNLIKELY = 1.7
"""A face is at most this much larger or smaller than another: beyond, it is in another unit."""


@dataclass(frozen=True, eq=False)
class Target:
    """A face in another topology."""

    face: FaceMesh
    """What is registered: for a template its welded surface."""
    model: FaceModel | None
    """None for a template."""
    template: Template | None
    path: Path | None
    """File of a template."""
    description: Mapping[str, Any]
    """JSON values: name, licence, commercial, source, path, sha256; for the provenance."""

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Triangles of the output, of the file's own vertices."""
        return self.face.faces if self.template is None else self.template.mesh.faces

    @property
    def place(self) -> Int[Tensor, "M"]:
        """Vertex of `face` of each output vertex."""
        if self.template is not None:
            return self.template.welded
        return torch.arange(len(self.face.vertices))


def open_target(to: str | Path | FaceModel, landmarks: str | Path | None = None) -> Target:
    """The target by name, by file, or as a model. Raises FileNotFoundError or ValueError with advice."""
    if not isinstance(to, (str, Path)):
        return _of_model(to, {})
    path = Path(to).expanduser()
    if path.suffix.lower() in SUFFIXES:
        template = read_template(path, None if landmarks is None else Path(landmarks))
        return Target(template.face, None, template, path, _file_facts(path))
    if landmarks is not None:
        raise ValueError(
            f"--landmarks: '{to}' is a face model and has its own; the file is for a template mesh "
            f"({', '.join(SUFFIXES)})"
        )
    file = store.resolve(to)
    where: dict[str, Any] = {} if str(to) == store.GENERIC else {"path": str(file.resolve())}
    if file.is_file():
        where["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return _of_model(load_model(to), where)


def unit_of(target: Target, scale: float) -> str:
    """Name of the unit that the target's lengths are in; `scale`: mm per unit as the landmarks say it.

    ValueError when no unit explains it, or when a model, which must be in mm, is not.
    """
    near = {name: max(scale / mm, mm / scale) for name, mm in UNITS.items() if scale > 0}
    unit = min(near, key=near.__getitem__) if near else "mm"
    if not near or near[unit] > UNLIKELY:
        raise ValueError(
            f"'{target.face.name}': one of its units would be {scale:.3g} mm by the landmarks, which is no unit "
            f"of {', '.join(UNITS)}; check the scale of the mesh and the order of the landmarks"
        )
    if target.model is not None and unit != "mm":
        raise ValueError(
            f"model '{target.face.name}' is {scale:.3g} times too small for mm; import it again with its unit"
        )
    return unit


def _of_model(model: FaceModel, where: Mapping[str, Any]) -> Target:
    info = model.info
    facts = {
        "name": info.name,
        "licence": info.licence,
        "commercial": info.commercial,
        "source": info.source,
        **where,
    }
    return Target(mean_face(model), model.to("cpu"), None, None, facts)


def _file_facts(path: Path) -> dict[str, Any]:
    return {
        "name": path.stem,
        "path": str(path.resolve()),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
