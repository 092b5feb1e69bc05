"""How far a converted surface is from the one it was made of, mm, where both show the same.

Both ways: a mesh whose vertices all lie on the source still cuts its corners, and a mesh may leave out
what the source shows. Points are drawn evenly over the surfaces.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.fit.result import MeshLevel
from hrnfit.geometry.mesh import face_normals, vertex_normals
from hrnfit.metrics import Surface
from hrnfit.transfer.correspondence import Correspondence
from hrnfit.transfer.face_mesh import FaceMesh
from hrnfit.transfer.folds import TURNED
from hrnfit.transfer.matcher import FARTHEST

POINTS = 8_000
"""Drawn on each surface: the 95th percentile is then sure to a few per cent."""


@dataclass(frozen=True)
class Spread:
    """Distances, mm."""

    median: float
    p95: float
    max: float


@dataclass(frozen=True)
class TransferError:
    """Surface distance on the region that both meshes cover."""

    target_to_source: Spread
    source_to_target: Spread

    def values(self) -> dict[str, dict[str, float]]:
        """JSON values, mm."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Coverage:
    """Which triangles of two faces stand for each other."""

    target: Bool[Tensor, "F"]
    """All corners have partners."""
    source: Bool[Tensor, "Fs"]
    """All corners lie on such a triangle of the target."""
    uncovered: float
    """Share of the target's surface (area of its neutral face) without a counterpart, 0..1."""
    uncovered_vertices: float
    """Share of its vertices."""


def coverage(correspondence: Correspondence, target: FaceMesh, source: FaceMesh) -> Coverage:
    """The common region, on the neutral faces."""
    faces = target.faces.cpu()
    valid = correspondence.valid
    ours = valid[faces.long()].all(1)
    area = face_normals(correspondence.aligned, faces).norm(dim=1)
    x = correspondence.registered.double()
    surface = Surface(x, faces[ours])
    asked = source.vertices.double().cpu()
    found = surface.nearest(asked)
    there = torch.nn.functional.normalize(face_normals(x, faces[ours]), dim=1)[found.triangle]
    cosine = (vertex_normals(asked, source.faces.cpu()) * there).sum(1)
    # the nearest place of what lies beyond the common region is on its edge
    rim = torch.zeros(len(x), dtype=torch.bool)
    rim[_border(faces[ours]).flatten()] = True
    on_rim = (rim[faces[ours][found.triangle].long()] | (found.barycentric < 1e-6)).all(1)
    met = (found.distance < FARTHEST) & (cosine > TURNED) & ~(on_rim & (found.distance > 0.1))
    theirs = met[source.faces.long().cpu()].all(1)
    return Coverage(
        target=ours,
        source=theirs,
        uncovered=float(area[~ours].sum() / area.sum()),
        uncovered_vertices=1.0 - float(valid.float().mean()),
    )


def transfer_error(
    source: MeshLevel,
    converted: Float[Tensor, "M 3"],
    faces: Int[Tensor, "G 3"],
    common: Coverage,
    seed: int = 0,
) -> TransferError:
    """Distances between a level of the fit and its conversion, both in the world, mm.

    Either may be subdivided: its triangles then follow those of its model in blocks.
    """
    generator = torch.Generator().manual_seed(seed)
    ours = common.target.repeat_interleave(len(faces) // len(common.target))
    theirs = common.source.repeat_interleave(len(source.faces) // len(common.source))
    there, here = source.vertices.double(), converted.double()
    on_target = drawn(here, faces[ours], POINTS, generator)
    on_source = drawn(there, source.faces[theirs], POINTS, generator)
    return TransferError(
        _spread(Surface(there, source.faces).nearest(on_target).distance),
        _spread(Surface(here, faces).nearest(on_source).distance),
    )


def drawn(
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    count: int,
    generator: torch.Generator,
) -> Float[Tensor, "P 3"]:
    """Points drawn evenly over the area of a mesh; none where it has no triangles."""
    if len(faces) == 0:
        return vertices.new_zeros(0, 3)
    area = face_normals(vertices, faces).norm(dim=1).clamp_min(1e-12)
    picked = torch.multinomial(area, count, replacement=True, generator=generator)
    u, v = torch.rand(2, count, generator=generator, dtype=vertices.dtype)
    fold = u + v > 1.0
    u, v = torch.where(fold, 1.0 - u, u), torch.where(fold, 1.0 - v, v)
    weights = torch.stack([1.0 - u - v, u, v], dim=1)
    return (vertices[faces[picked].long()] * weights[..., None]).sum(1)


def _spread(distance: Float[Tensor, "P"]) -> Spread:
    if len(distance) == 0:
        return Spread(float("nan"), float("nan"), float("nan"))
    return Spread(float(distance.median()), float(distance.quantile(0.95)), float(distance.max()))


def _border(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "E 2"]:
    """Edges of one triangle only."""
    halves = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).long()
    ordered = halves.sort(dim=1).values
    key = ordered[:, 0] * (int(halves.max()) + 1) + ordered[:, 1]
    _, inverse, counts = torch.unique(key, return_inverse=True, return_counts=True)
    return halves[counts[inverse] == 1]
