# pyright: basic
# scipy.sparse carries no types that strict mode accepts.
"""Non-rigid registration of a mesh to a surface: optimal-step ICP with an elastic surface.

As in Amberg, Romdhani and Vetter 2007, the stiffness falls in stages; within a stage correspondences
and shape are found in turn, each shape in closed form:

    min_x  sum_i a_i w_i |x_i - c_i|^2  +  sum_l b_l |x(l) - q_l|^2  +  E_h(x)

with vertex areas a, partners c and their trust w (0: no counterpart), landmarks q with areas b, and E_h
the energy of `elastic.py` in the place of their affine differences: N unknowns instead of 4 N. Who is
whose partner is the caller's affair: it knows normals, regions and borders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.elastic import Elastic, factorized


@dataclass(frozen=True)
class Partners:
    """Where each vertex should be."""

    points: Float[Tensor, "N 3"]
    trust: Float[Tensor, "N"]
    """0..1; 0 where a vertex has no counterpart."""


Match = Callable[[Float[Tensor, "N 3"], float], Partners]
"""Partners of the vertices where they are now; the second argument is the stiffness, mm."""


@dataclass(frozen=True)
class Handles:
    """Points of the mesh that should lie at given places, softly."""

    triangles: Int[Tensor, "L"]
    barycentric: Float[Tensor, "L 3"]
    places: Float[Tensor, "L 3"]
    deviation: Float[Tensor, "L"]
    """How far off each may be, mm."""


@dataclass(frozen=True)
class Stage:
    """A few rounds at one stiffness."""

    stiffness: float
    """Length over which the surface stays stiff, mm."""
    rounds: int
    handles: float
    """Area that a landmark with a deviation of 1 mm speaks for, mm^2."""


STAGES = (
    Stage(40.0, 4, 400.0),
    Stage(25.0, 3, 200.0),
    Stage(16.0, 3, 100.0),
    Stage(10.0, 3, 50.0),
    Stage(6.0, 3, 20.0),
    Stage(4.0, 3, 10.0),
)
"""Stiff enough first that landmarks and the large forms decide, at the end a mouth corner's width."""

STRETCH = 0.05
"""Price of stretching beside bending: enough to keep triangles apart in creases."""


def register(
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    match: Match,
    handles: Handles,
    stages: tuple[Stage, ...] = STAGES,
    progress: Callable[[float], None] | None = None,
) -> Float[Tensor, "N 3"]:
    """Vertices of the mesh, deformed onto the surface that `match` answers for.

    vertices: already roughly aligned, mm; they are the rest shape. progress: told the fraction done.
    """
    elastic = Elastic(vertices, faces)
    n, x = len(vertices), vertices.detach().double().cpu()
    sampling = _sampling(faces, handles, n)
    places = handles.places.detach().double().cpu().numpy()
    precision = handles.deviation.double().cpu().numpy() ** -2.0
    total, done = sum(stage.rounds for stage in stages), 0
    for stage in stages:
        stiff = elastic.matrix(stage.stiffness, STRETCH)
        pull = sp.csr_matrix(sampling.T @ sp.diags(stage.handles * precision))
        stiff = stiff + pull @ sampling
        for _ in range(stage.rounds):
            partners = match(x, stage.stiffness)
            area = elastic.areas * partners.trust.double().cpu().numpy()
            here = 1e-6 * elastic.areas  # keeps parts that nothing holds where they are
            right = elastic.right(x.numpy(), stage.stiffness, STRETCH) + pull @ places
            right += area[:, None] * partners.points.double().cpu().numpy()
            right += here[:, None] * x.numpy()
            x = torch.from_numpy(factorized(stiff + sp.diags(area + here)).solve(right))
            done += 1
            if progress is not None:
                progress(done / total)
    return x.to(vertices)


def _sampling(faces: Int[Tensor, "F 3"], handles: Handles, n: int) -> sp.csr_matrix:
    """Vertices to landmarks, (L, N)."""
    corners = faces.cpu().numpy()[handles.triangles.long().cpu().numpy()]
    rows = np.repeat(np.arange(len(corners)), 3)
    values = handles.barycentric.double().cpu().numpy().ravel()
    return sp.csr_matrix((values, (rows, corners.ravel())), shape=(len(corners), n))
