"""Dense lip points lie on the lip that they name.

On a closed mouth the inner edges of both lips coincide, and a point that was measured in pictures falls on
either. As long as the mouth is closed that is a fraction of a millimetre; when it opens, a lower lip point
on the upper lip stays behind and holds the mouth shut.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from hrnfit.geometry.mesh import edges
from hrnfit.model.dense_landmarks import closest_on_surface
from hrnfit.model.face_model import LandmarkSet

N_POINTS = 478
"""Of FaceMesh; a set of another number is no such set."""
# fmt: off
UPPER = (
    185, 40, 39, 37, 0, 267, 269, 270, 409,  # outer edge
    191, 80, 81, 82, 13, 312, 311, 310, 415,  # inner edge
)
"""FaceMesh points of the upper lip, without the corners of the mouth."""
LOWER = (
    146, 91, 181, 84, 17, 314, 405, 321, 375,  # outer edge
    95, 88, 178, 87, 14, 317, 402, 318, 324,  # inner edge
)
# fmt: on
CORNERS = (61, 78, 291, 308)
"""Outer and inner corners of the mouth, where both lips meet."""
IBUG_UPPER, IBUG_LOWER = (50, 51, 52, 61, 62, 63), (56, 57, 58, 65, 66, 67)


def on_own_lips(
    mean: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    dense: LandmarkSet,
    ibug68: LandmarkSet,
    interior: Bool[Tensor, "N"] | None = None,
) -> LandmarkSet:
    """`mediapipe478` with every lip point at the nearest place of its own lip.

    The 68 points tell the lips apart: skin belongs to the lip whose points are nearer along the surface,
    and across a mouth slit the way is long. `interior`: vertices inside the mouth, where no point lies.
    Points that are missing, or lie right, stay; so does a set of another number of points.
    """
    if len(dense.triangles) != N_POINTS:
        return dense
    skin = torch.ones(len(mean), dtype=torch.bool) if interior is None else ~interior.cpu()
    # what a picture shows at a place inside the mouth is the lip before it, not the one beside
    flat = mean.new_tensor([1.0, 1.0, 1.0 if interior is None else 0.2])
    upper = _nearer(mean, faces, *(_corners(faces, ibug68, p) for p in (IBUG_UPPER, IBUG_LOWER)))
    triangles, weights = dense.triangles.clone(), dense.barycentric.clone()
    for points, lip in ((UPPER, upper & skin), (LOWER, ~upper & skin), (CORNERS, skin)):
        whole = lip[faces.long()].all(1)
        known = [p for p in points if int(dense.triangles[p]) >= 0]
        astray = [p for p in known if not bool(whole[dense.triangles[p].long()])]
        if not astray:
            continue
        own = whole.nonzero()[:, 0]
        corners = mean[faces[dense.triangles[astray].long()].long()]
        places = (corners * dense.barycentric[astray][..., None].to(mean)).sum(1)
        # on the midline left and right are equally near: rounding must not decide
        places = places + places.new_tensor([1e-4, 0.0, 0.0])
        found, shares, _ = closest_on_surface(mean * flat, faces[own], places * flat)
        triangles[astray] = own[found.long()].to(triangles)
        weights[astray] = shares.to(weights)
    return LandmarkSet(triangles, weights, dense.spread)


def _corners(
    faces: Int[Tensor, "F 3"], marks: LandmarkSet, points: tuple[int, ...]
) -> Int[Tensor, "K"]:
    """Vertex that each point lies nearest to."""
    index = list(points)
    heaviest = marks.barycentric[index].argmax(1, keepdim=True)
    return faces[marks.triangles[index].long()].long().gather(1, heaviest)[:, 0]


def _nearer(
    mean: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    first: Int[Tensor, "K"],
    second: Int[Tensor, "M"],
) -> Bool[Tensor, "N"]:
    """Whether each vertex is nearer along the edges to the first group than to the second."""
    pairs = edges(faces).long().cpu()
    length = (mean[pairs[:, 0]] - mean[pairs[:, 1]]).norm(dim=1).double().cpu().numpy()
    rows, columns = pairs.numpy().T
    graph = sp.csr_array((length, (rows, columns)), shape=(len(mean), len(mean)))
    reach = [
        np.min(dijkstra(graph, directed=False, indices=group.cpu().numpy()), axis=0)
        for group in (first, second)
    ]
    return torch.from_numpy(reach[0] <= reach[1])
