"""Where the jaw's outline lies on the surface as the head turns.

The 17 iBUG jaw points mark an outline, not points of the surface: when the head yaws by an angle t
the outline moves to where the surface is extreme along the turned outward direction. The candidates
of a point are those extreme vertices, in the plane that holds the point, the view axis and the
outward direction of the outline.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

TURNS = (-0.4, -0.2, 0.0, 0.12, 0.25, 0.38, 0.5, 0.62, 0.75)
"""Angles of the outline between the front view (0) and a turned head, rad; negative: to the back.
Beyond 0.75 the extreme vertex of the chin's plane is a lip, of the cheek's plane the nose."""

BACK_SHARE = 0.4
"""Reach to the back as a share of the reach to the front: behind the jaw follow ear and neck."""


def jaw_candidates(
    vertices: Float[Tensor, "N 3"],
    jaw: Int[Tensor, "17"],
    faces: Int[Tensor, "F 3"],
    reach: float = 32.0,
) -> Int[Tensor, "17 K"]:
    """Candidate vertices of each jaw point on the mean face, -1 padded, the point itself first.

    `vertices`: head frame, mm. `jaw`: the points' vertices in iBUG order (subject's right first).
    `reach`: farthest candidate from the point, mm.
    """
    points = vertices[jaw.long()]
    outward = _outward(points)
    view_axis = vertices.new_tensor([0.0, 0.0, 1.0])
    half_band = 0.75 * _typical_edge(vertices, faces, points)
    rows: list[list[int]] = []
    for k in range(17):
        offset = vertices - points[k]
        across = torch.linalg.cross(outward[k], view_axis)
        in_plane = (offset @ across).abs() < half_band
        candidates = [int(jaw[k])]
        for turn in TURNS:
            angle = torch.tensor(turn, dtype=vertices.dtype)
            direction = angle.cos() * outward[k] + angle.sin() * view_axis
            limit = reach if turn >= 0.0 else BACK_SHARE * reach
            inside = torch.nonzero(in_plane & (offset.norm(dim=1) < limit))[:, 0]
            best = int(inside[(offset[inside] @ direction).argmax()])
            if best not in candidates:
                candidates.append(best)
        rows.append(candidates)
    width = max(map(len, rows))
    padded = [row + [-1] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.int32)


def _outward(points: Float[Tensor, "17 3"]) -> Float[Tensor, "17 3"]:
    """Unit normals of the jaw polyline in the front view, away from its middle; z = 0."""
    tangent = torch.zeros_like(points)
    tangent[1:-1] = points[2:] - points[:-2]
    tangent[0], tangent[-1] = points[1] - points[0], points[-1] - points[-2]
    normal = torch.stack([-tangent[:, 1], tangent[:, 0], torch.zeros(17).to(points)], dim=1)
    normal = normal / normal.norm(dim=1, keepdim=True).clamp_min(1e-9)
    centre = points[[0, 16]].mean(dim=0)
    away = ((points - centre) * normal).sum(dim=1)
    side = torch.where(points[:, 0] >= centre[0], 1.0, -1.0).to(points)
    sign = torch.where(away.abs() > 1.0, away.sign(), side * normal[:, 0].sign())
    return normal * sign[:, None]


def _typical_edge(
    vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], points: Float[Tensor, "17 3"]
) -> float:
    """Median edge length near the jaw, mm."""
    corners = vertices[faces.long()]
    near = torch.cdist(corners.mean(dim=1), points).amin(dim=1) < 30.0
    chosen = corners[near] if bool(near.any()) else corners
    return float((chosen - chosen.roll(1, dims=1)).norm(dim=2).median())
