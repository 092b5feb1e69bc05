"""From the arrays of the ICT model to a `LinearFaceModel` of one of its parts.

Lengths cm become mm. The chart is our own, because the file's has seams and tiles. ICT has no albedo
model: a smooth basis stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.model.appearance import smooth_albedo
from hrnfit.model.contour import jaw_candidates
from hrnfit.model.eye_caps import EyeCap
from hrnfit.model.face_model import LandmarkSet, ModelInfo
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.ict_chart import Chart, full_chart
from hrnfit.model.ict_islands import Islands
from hrnfit.model.ict_paint import painted_mean
from hrnfit.model.ict_parts import EXTRAS, Part, Slices, base_count, kept_vertices
from hrnfit.model.ict_skin import Skin, face_landmarks, skin_of, vertex_landmarks
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.regions import regions_from_landmarks
from hrnfit.model.symmetry import mirror_pairs

STILL = 0.05
"""An expression that moves no kept vertex by more than this (cm) is none: what the pupils' leave is noise
of 0.05 mm on the right lid and 0.3 mm at two vertices of the gums, and the least of the others is 2.5 mm."""

INFO = ModelInfo(
    name="ict",
    licence="MIT, (c) 2020 USC Institute for Creative Technologies",
    commercial=True,
    source="ICT-FaceKit (github ICT-VGL/ICT-FaceKit)",
)


class IctArrays(NamedTuple):
    """What a file says, cm."""

    mean: Float[np.ndarray, "N 3"]
    identity: Float[np.ndarray, "I N 3"]
    """Per standard deviation."""
    expression: Float[np.ndarray, "E N 3"]
    """At full activation."""
    expression_names: tuple[str, ...]
    faces: Int[np.ndarray, "F 3"]
    marks: Int[np.ndarray, "68"]
    """Vertices of the iBUG points."""
    slices: Slices
    """Where the pieces of the mesh lie."""
    islands: Islands | None
    """The file's texture coordinates, if it has them."""


class Body(NamedTuple):
    """The whole mesh: skin of the file, further pieces, then the caps of the skin."""

    points: Float[Tensor, "N 3"]
    faces: Int[Tensor, "F 3"]
    chart: Chart
    of_skin: Int[Tensor, "S"]
    """Vertex of each one of the skin."""


def assemble(arrays: IctArrays, part: Part) -> LinearFaceModel:
    """The model of a part.

    Expressions that move none of its vertices (the pupils') are left out. The head frame
    keeps the file's axes; its origin moves to the mean of face or head, so that a turn of the head does
    not swing it far. Vertices keep the file's order; without eyes, eyeball fronts of ours come last.
    """
    keep, base, points, faces, chosen = _kept_mesh(arrays, part)
    marks = torch.from_numpy(arrays.marks)
    skin = skin_of(points[:base], faces[(faces < base).all(dim=1)], marks, part)
    body = _body(points, faces, skin, _pieces(arrays.slices, part, keep), arrays.islands, chosen)
    moving = np.abs(arrays.expression[:, keep]).max(axis=(1, 2)) > STILL
    names = zip(arrays.expression_names, moving, strict=True)
    pieces = _pieces(arrays.slices, part, keep, len(body.points))
    mean_albedo, albedo_basis = smooth_albedo()
    return LinearFaceModel(
        info=INFO,
        mean=body.points,
        identity_basis=_flat(arrays.identity[:, keep], skin.caps),
        expression_basis=_flat(arrays.expression[moving][:, keep], skin.caps),
        expression_names=tuple(name for name, moves in names if moves),
        expression_is_blendshape=True,
        faces=body.faces,
        uv=body.chart.uv,
        uv_faces=body.chart.uv_faces,
        albedo_mean=painted_mean(mean_albedo, body.chart) if pieces else mean_albedo,
        albedo_basis=albedo_basis,
        regions=_regions(skin, body, pieces),
        landmarks=_landmarks(points, faces, marks, min(arrays.slices["face"][1], base), part),
        jaw_contour=_jaw_contour(skin, body),
        mirror=_mirror(body, pieces),
    )


def _kept_mesh(
    arrays: IctArrays, part: Part
) -> tuple[Int[np.ndarray, "K"], int, Tensor, Tensor, Bool[np.ndarray, "F"]]:
    """The kept vertices, how many of them are skin, their places in mm, the triangles between them,
    and which of the file's these are."""
    n = len(arrays.mean)
    keep, base = kept_vertices(part, arrays.slices, n), base_count(part, arrays.slices, n)
    if arrays.marks.max() >= base:
        raise ModelFormatError(
            f"ICT: landmark vertex {arrays.marks.max()} lies outside the {base} vertices of the mesh; "
            "is this another topology?"
        )
    points = torch.from_numpy(arrays.mean.astype(np.float32)[keep] * 10.0)
    points = points - points[:base].mean(dim=0) * torch.tensor([0.0, 1.0, 1.0])
    number = np.full(n, -1)
    number[keep] = np.arange(len(keep))
    chosen = np.asarray((number[arrays.faces] >= 0).all(axis=1))
    faces = torch.from_numpy(number[arrays.faces[chosen]].astype(np.int32))
    return keep, base, points, faces, chosen


def _pieces(
    slices: Slices, part: Part, keep: Int[np.ndarray, "K"], total: int | None = None
) -> dict[str, Bool[Tensor, "N"]]:
    """Vertices of each added piece, among `total` of which the kept ones come first."""
    masks: dict[str, Tensor] = {}
    for piece in part.pieces:
        start, stop = slices[piece]
        mask = torch.zeros(total or len(keep), dtype=torch.bool)
        mask[: len(keep)] = torch.from_numpy((keep >= start) & (keep < stop))
        masks[piece] = mask
    return masks


def _body(
    points: Float[Tensor, "K 3"],
    faces: Int[Tensor, "F 3"],
    skin: Skin,
    pieces: dict[str, Bool[Tensor, "K"]],
    islands: Islands | None,
    chosen: Bool[np.ndarray, "G"],
) -> Body:
    """Everything in one mesh with one chart. `chosen`: triangles of the file that are kept."""
    shift = len(points) - skin.given
    of_skin = torch.arange(len(skin.points))
    of_skin[skin.given :] += shift
    caps = [of_skin[cap.faces.long()].int() for cap in skin.caps]
    every = torch.cat([points, skin.points[skin.given :]])
    joined = torch.cat([faces, *caps])
    if not pieces:
        return Body(every, joined, Chart(skin.uv, joined, (), (), None), of_skin)
    on_skin = torch.zeros(len(every), dtype=torch.bool)
    on_skin[of_skin] = True
    uv = every.new_zeros(len(every), 2)
    uv[of_skin] = skin.uv
    if islands is not None:
        unused = np.zeros((len(joined) - len(faces), 3), dtype=np.int64)
        islands = Islands(islands.uv, np.concatenate([islands.uv_faces[chosen], unused]))
    behind = torch.zeros(len(every) - len(points), dtype=torch.bool)
    masks = {name: torch.cat([mask, behind]) for name, mask in pieces.items()}
    corners = skin.points[skin.marks]
    eyes = torch.stack([corners[36:42].mean(dim=0), corners[42:48].mean(dim=0)])
    chart = full_chart(every, joined, on_skin, uv, masks, islands, eyes)
    return Body(every, joined, chart, of_skin)


def _regions(
    skin: Skin, body: Body, pieces: dict[str, Bool[Tensor, "N"]]
) -> dict[str, Bool[Tensor, "N"]]:
    """The skin's regions, `eyes` (eyeballs, the file's or ours) and `mouth_interior`."""
    n = len(body.points)
    own = regions_from_landmarks(skin.points, skin.faces, skin.uv, skin.points[skin.marks])
    masks: dict[str, Tensor] = {}
    for name, mask in own.items():
        masks[name] = torch.zeros(n, dtype=torch.bool)
        masks[name][body.of_skin] = mask
    if skin.caps:
        masks["eyes"] = torch.zeros(n, dtype=torch.bool)
        masks["eyes"][body.of_skin[skin.given :]] = True
    for region, extra in (("eyes", "eyes"), ("mouth_interior", "teeth")):
        found = [pieces[name] for name in EXTRAS[extra] if name in pieces]
        if found:
            masks[region] = torch.stack(found).any(dim=0)
    return masks


def _landmarks(
    points: Tensor, faces: Tensor, marks: Tensor, face_count: int, part: Part
) -> dict[str, LandmarkSet]:
    """The published points, and beyond the plain face the dense ones that were measured on it."""
    found = {"ibug68": vertex_landmarks(marks, faces)}
    if part != Part():
        dense = face_landmarks(points, faces, marks, face_count)
        found |= {"mediapipe478": dense} if dense is not None else {}
    return found


def _jaw_contour(skin: Skin, body: Body) -> Int[Tensor, "17 K"]:
    """Candidates on the skin, as vertices of the whole."""
    candidates = jaw_candidates(skin.points, skin.marks[:17], skin.faces)
    there = candidates >= 0
    return torch.where(there, body.of_skin[candidates.long().clamp_min(0)].int(), -1).int()


def _mirror(body: Body, pieces: dict[str, Bool[Tensor, "N"]]) -> Int[Tensor, "N"] | None:
    """Mirror pairs within the skin and within each piece, the eyeballs being one; None unless all
    have them."""
    eyes = [mask for name, mask in pieces.items() if name in EXTRAS["eyes"]]
    groups = [mask for name, mask in pieces.items() if name not in EXTRAS["eyes"]]
    groups += [torch.stack(eyes).any(dim=0)] if eyes else []
    index = [body.of_skin.sort().values, *(mask.nonzero()[:, 0] for mask in groups)]
    pairs = torch.zeros(len(body.points), dtype=torch.int32)
    for own in index:
        found = mirror_pairs(body.points[own])
        if found is None:
            return None
        pairs[own] = own[found.long()].int()
    return pairs


def _flat(basis: Float[np.ndarray, "K N 3"], caps: Sequence[EyeCap]) -> Float[Tensor, "K N3"]:
    """Modes of the kept vertices and of the eyeball fronts in mm, flat."""
    modes = torch.from_numpy(np.ascontiguousarray(basis) * 10.0)
    return torch.cat([modes, *(cap.modes(modes) for cap in caps)], dim=1).flatten(1)
