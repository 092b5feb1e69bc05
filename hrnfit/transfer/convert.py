"""`convert`: a fit carried over to another topology."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import hrnfit
from hrnfit.fit.archive import STATE_FILE, load_result
from hrnfit.fit.head_frame import T_world_head
from hrnfit.fit.levels import landmark_points, open_model
from hrnfit.fit.licensing import earlier_parts, licence_record
from hrnfit.fit.result import LEVELS, FitResult, MeshLevel
from hrnfit.geometry.elastic import vertex_areas
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.licences import Part, check_commercial, known_part
from hrnfit.model.face_model import FaceModel
from hrnfit.model.terms import model_part
from hrnfit.transfer.cache import cached_correspondence
from hrnfit.transfer.carry import Carrier
from hrnfit.transfer.charts import ChartTransfer, check_chart
from hrnfit.transfer.conversion import Conversion
from hrnfit.transfer.distances import Coverage, TransferError, coverage, transfer_error
from hrnfit.transfer.face_mesh import FaceMesh, mean_face
from hrnfit.transfer.refit import Refit, refit
from hrnfit.transfer.restate import restated
from hrnfit.transfer.target import Target, open_target, unit_of

Progress = Callable[[str, float], None]
"""Told the name of each part and the fraction done, 0..1."""


def convert(
    result: FitResult | str | Path,
    to: str | Path | FaceModel,
    *,
    landmarks: str | Path | None = None,
    levels: Sequence[str] = LEVELS,
    commercial: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """The surfaces of a fit in the topology of another face model or of a template mesh.

    result: a result, or a folder that `FitResult.save` wrote. to: a model's name, file or a `FaceModel`, or
    a template (.obj, .ply, .glb) of any unit, which needs `landmarks`: a file with its 68 iBUG points as
    vertex numbers or positions. levels: which to carry over. commercial: refuse (LicenceError) when
    the fit or the target's model does not permit commercial use; a template is taken for yours.
    progress: called with the part and the fraction done.

    Vertices are in the world of the fit, mm. Raises FileNotFoundError or ValueError with advice.
    """
    began, tell = time.perf_counter(), progress or _silent
    levels = _checked(levels)
    fitted, folder = _opened(result)
    target = open_target(to, landmarks)
    model = fitted.model or open_model(fitted)
    parts = (*fit_parts(fitted, model), *target_parts(target))
    if commercial:
        check_commercial(fit_parts(fitted, model), "the fit to convert")
        check_commercial(target_parts(target), "this conversion")
    source = mean_face(model)
    tell("correspondence", 0.0)
    found, cached = cached_correspondence(
        target.face, source, lambda done: tell("correspondence", 0.6 * done)
    )
    unit = unit_of(target, float(found.scale))
    tell("surfaces", 0.6)
    carrier = Carrier(found, target.face.faces.cpu(), len(source.faces))
    job = _Job(fitted, target, source, carrier, T_world_head(fitted.state))
    made = _provenance(fitted, folder, target) | licence_record(parts, commercial)
    done = job.conversion(levels, unit, made, tell)
    tell("done", 1.0)
    return replace(done, cached=cached, seconds=time.perf_counter() - began)


@dataclass(frozen=True, eq=False)
class _Job:
    """One fit and one target, with the correspondence between them."""

    fitted: FitResult
    target: Target
    source: FaceMesh
    carrier: Carrier
    poses: Float[Tensor, "T 4 4"]
    """T_world_head of the source."""
    _charts: dict[int, ChartTransfer] = field(default_factory=dict)

    def conversion(
        self, levels: Sequence[str], unit: str, provenance: dict[str, Any], tell: Progress
    ) -> Conversion:
        """Everything that the correspondence leads to."""
        frame, explained = self.fitted.frame, self.explained()
        meshes = {level: self.carried(level, explained) for level in levels}
        tell("maps", 0.7)
        albedo, displacement, missing = self.maps()
        converted = None if explained is None else self.restated(explained, provenance)
        tell("errors", 0.85)
        common = coverage(self.carrier.correspondence, self.target.face, self.source)
        stated = {} if converted is None else {n: converted.mesh(n) for n in levels}
        return Conversion(
            target=self.target,
            meshes=meshes,
            frame=frame,
            errors=self.errors({n: frames[frame] for n, frames in meshes.items()}, common),
            common=common,
            unit=unit,
            albedo=albedo,
            displacement=displacement,
            result=converted,
            result_errors=self.errors(stated, common),
            cached=False,
            seconds=0.0,
            warnings=(*_unit_warning(self.target, unit), *missing),
            provenance=provenance,
        )

    def partners(self, level: str) -> Float[Tensor, "T N 3"]:
        """The target's vertices on a level, per frame, head frame of the source."""
        frames = zip(self.fitted.meshes[level], self.poses, strict=True)
        return torch.stack([self.carrier.partners(mesh, pose) for mesh, pose in frames])

    def explained(self) -> Refit | None:
        """The target's own model on the mid surface; None for a template."""
        if self.target.model is None:
            return None
        faces, aligned = self.target.face.faces.cpu().numpy(), self.carrier.correspondence.aligned
        areas = torch.from_numpy(vertex_areas(aligned.double().numpy(), faces))
        valid = self.carrier.correspondence.valid
        return refit(self.target.model, self.partners("mid"), valid, areas)

    def filled(self, level: str, explained: Refit | None) -> Float[Tensor, "T N 3"]:
        """All vertices of the target on a level, head frame of the source."""
        likes = [None] * len(self.poses) if explained is None else list(explained.shape)
        rows = zip(self.partners(level), likes, strict=True)
        return torch.stack([self.carrier.filled(points, like) for points, like in rows])

    def carried(self, level: str, explained: Refit | None) -> tuple[MeshLevel, ...]:
        """The level in the target's own file topology, per frame, world."""
        face, place = self.target.face, self.target.place
        meshes = []
        for head, pose in zip(self.filled(level, explained), self.poses, strict=True):
            world = (head @ pose[:3, :3].mT + pose[:3, 3]).float()
            marks = {n: landmark_points(world, face.faces, m) for n, m in face.landmarks.items()}
            normals = vertex_normals(world, face.faces)
            uv = torch.zeros(0, 2) if face.uv is None else face.uv.cpu().float()
            uv_faces = self.target.faces if face.uv_faces is None else face.uv_faces
            meshes.append(
                MeshLevel(
                    level,
                    world[place],
                    normals[place],
                    self.target.faces.cpu().int(),
                    uv,
                    uv_faces.cpu().int(),
                    marks,
                )
            )
        return tuple(meshes)

    def restated(self, explained: Refit, provenance: dict[str, Any]) -> FitResult:
        """The fit as a state of the target's model."""
        assert self.target.model is not None
        mid, valid = self.filled("mid", explained), self.carrier.correspondence.valid
        return restated(
            self.fitted, self.target.model, explained, mid, valid, self.chart, provenance
        )

    def chart(self, size: int) -> ChartTransfer:
        """Where the target's texels lie in the source's chart."""
        if size not in self._charts:
            found = self.carrier.correspondence
            self._charts[size] = ChartTransfer(found, self.target.face, self.source, size)
        return self._charts[size]

    def maps(self) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
        """Albedo and displacement in the target's chart, or why there are none."""
        try:
            check_chart(self.target.face)
        except ValueError as error:
            return None, None, (str(error),)
        albedo, displacement = self.fitted.maps.albedo, self.fitted.maps.displacement[..., None]
        baked = [self.chart(len(values))(values) for values in (albedo, displacement)]
        return baked[0], baked[1][..., 0], ()

    def errors(self, found: dict[str, MeshLevel], common: Coverage) -> dict[str, TransferError]:
        """Distances of the exported frame's surfaces from those of the fit."""
        return {
            level: transfer_error(self.fitted.mesh(level), mesh.vertices, mesh.faces, common)
            for level, mesh in found.items()
        }


def _opened(result: FitResult | str | Path) -> tuple[FitResult, Path | None]:
    """A result, and the folder it came from."""
    if isinstance(result, FitResult):
        return result, None
    folder = Path(result).expanduser()
    if folder.name == STATE_FILE:
        folder = folder.parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; give one that `hrnfit fit` wrote with --out"
        )
    return load_result(folder), folder


def _checked(levels: Sequence[str]) -> tuple[str, ...]:
    """Levels in the order of the hierarchy, each once."""
    asked = (levels,) if isinstance(levels, str) else tuple(levels)
    unknown = [level for level in asked if level not in LEVELS]
    if unknown or not asked:
        raise ValueError(f"levels: expected some of {', '.join(LEVELS)}, got {list(asked)}")
    return tuple(level for level in LEVELS if level in asked)


def _unit_warning(target: Target, unit: str) -> tuple[str, ...]:
    if unit == "mm":
        return ()
    return (
        f"'{target.face.name}' is in {unit}, by the size of its face; the converted meshes are in mm, in the "
        "world of the fit",
    )


def _provenance(fitted: FitResult, folder: Path | None, target: Target) -> dict[str, Any]:
    """What is needed to say how a conversion was made; `model` is what the surfaces now belong to."""
    source = {"folder": None if folder is None else str(folder.resolve())}
    return {
        "versions": {"hrnfit": hrnfit.__version__, "torch": torch.__version__},
        "model": dict(target.description),
        "converted_from": source | dict(fitted.provenance),
        "command": " ".join(sys.argv),
    }


def fit_parts(fitted: FitResult, model: FaceModel) -> tuple[Part, ...]:
    """What the fit was made with, its model among it, and our code, which converts it."""
    own = (known_part("code", "hrnfit"), model_part(model.info))
    return (*earlier_parts(fitted.provenance), *own)


def target_parts(target: Target) -> tuple[Part, ...]:
    """The target's model; a template is the caller's own."""
    if target.model is None:
        return ()
    part = model_part(target.model.info)
    return (replace(part, substitute=part.substitute.replace("--model", "--to")),)


def _silent(part: str, fraction: float) -> None:
    """Progress that nobody watches."""
