"""The mean mesh: size, winding, edges, boundaries, wasted vertices and triangles, mirror pairs."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from hrnfit.geometry.mesh import boundary_loops, face_normals
from hrnfit.importers.checks.chart import skin_triangles
from hrnfit.importers.checks.finding import Finding, graded
from hrnfit.model.face_model import FaceModel

HEIGHT, WIDTH = (120.0, 260.0), (90.0, 260.0)
"""mm: a face with some neck, to a whole head with shoulders' beginnings."""

SAME_PLACE = 1e-3
"""Two vertices nearer than this, mm, are one that was doubled."""

SLIVER = 1e-4
"""Area under which a triangle has none, mm^2."""

MIRROR_GAP = 1.0
"""Distance of a vertex from its partner's mirror image that is visibly wrong, mm."""


def mesh_findings(
    model: FaceModel, shape: Float[Tensor, "N 3"], nose: Float[Tensor, "3"] | None
) -> list[Finding]:
    """`nose`: tip of the nose, mm, where the model says where it is."""
    faces = model.faces
    return [
        _size(shape),
        *([] if nose is None else [_winding(shape, faces[skin_triangles(model)], nose)]),
        *_edges(faces),
        _boundaries(shape, faces),
        *_waste(shape, faces),
        *([] if model.mirror is None else [_mirror(shape, model.mirror)]),
    ]


def _size(shape: Tensor) -> Finding:
    width, height, depth = (shape.amax(dim=0) - shape.amin(dim=0)).tolist()
    off = not (HEIGHT[0] < height < HEIGHT[1] and WIDTH[0] < width < WIDTH[1])
    # a whole head reaches to the shoulders, which are wide
    off = off and not (HEIGHT[1] <= height < 400.0 and WIDTH[0] < width < 400.0)
    far = not (0.5 * HEIGHT[0] < height < 600.0)
    return graded(
        "size",
        f"{width:.0f} wide, {height:.0f} high, {depth:.0f} deep (mm)",
        fail=far,
        warn=off,
        advice="expected a head in mm, y up: check mm_per_unit and the axes",
    )


def _winding(shape: Tensor, faces: Tensor, nose: Tensor) -> Finding:
    """By the faces around the nose, which look along +z, and by the volume under the whole surface, seen
    from its middle."""
    normal = face_normals(shape, faces)
    middle = shape[faces.long()].mean(dim=1)
    near = (middle - nose).norm(dim=1) < 40.0
    area = normal[near].norm(dim=1)
    share = float((area * (normal[near, 2] > 0)).sum() / area.sum().clamp_min(1e-9))
    litres = float(((middle - middle.mean(dim=0)) * normal).sum()) / 6e6
    return graded(
        "winding",
        f"{100 * share:.0f} % of the surface around the nose looks forward; volume {litres:.2f} l",
        fail=share < 0.5 or litres <= 0.0,
        warn=share < 0.75,
        advice="triangles must be counter-clockwise from outside: swap two corners of each",
    )


def _edges(faces: Tensor) -> list[Finding]:
    """Edges of three triangles or more, and neighbours of opposite winding."""
    index = faces.long()
    ends = torch.cat([index[:, [0, 1]], index[:, [1, 2]], index[:, [2, 0]]])
    span = int(index.max()) + 1
    low_high = ends.sort(dim=1).values
    _, count = (low_high[:, 0] * span + low_high[:, 1]).unique(return_counts=True)
    _, directed = (ends[:, 0] * span + ends[:, 1]).unique(return_counts=True)
    crowded, turned = int((count > 2).sum()), int((directed > 1).sum())
    return [
        graded(
            "edges",
            f"{crowded} of {len(count)} belong to more than two triangles",
            fail=crowded > 0,
            advice="not a surface there: remove doubled triangles and inner walls",
        ),
        graded(
            "winding of neighbours",
            f"{turned} edges between triangles of opposite winding",
            fail=turned > 0,
            advice="turn the triangles that are wound the other way",
        ),
    ]


def _boundaries(shape: Tensor, faces: Tensor) -> Finding:
    """Border and holes, longest first."""
    loops = boundary_loops(faces)
    rims = [shape[loop.long()] for loop in loops]
    lengths = sorted((float((r - r.roll(1, dims=0)).norm(dim=1).sum()) for r in rims), reverse=True)
    tiny = [length for length in lengths if length < 15.0]
    listed = ", ".join(f"{length:.0f}" for length in lengths[:6])
    return graded(
        "boundaries",
        f"{len(loops)} loops"
        + (f" ({listed} mm{', ...' if len(loops) > 6 else ''})" if loops else ""),
        warn=len(tiny) > 0 or len(loops) > 12,
        advice=f"{len(tiny)} holes shorter than 15 mm: missing triangles, or vertices doubled at a seam?",
    )


def _waste(shape: Tensor, faces: Tensor) -> list[Finding]:
    used = torch.zeros(len(shape), dtype=torch.bool)
    used[faces.long().flatten()] = True
    idle = int((~used).sum())
    doubled = _doubled(shape, faces, used)
    area = 0.5 * face_normals(shape, faces).norm(dim=1)
    flat = int((area < SLIVER).sum())
    return [
        graded(
            "unused vertices",
            f"{idle} of {len(shape)} in no triangle",
            fail=idle > 0,
            advice="remove them: the maps have no place for them",
        ),
        graded(
            "doubled vertices",
            f"{doubled} on borders lie on another one",
            warn=doubled > 0,
            advice="join them: a seam in the chart needs texture coordinates of its own, not vertices",
        ),
        graded(
            "triangles without area",
            f"{flat} of {len(faces)}",
            warn=flat > 0,
            fail=flat > 0.01 * len(faces),
            advice="remove them",
        ),
    ]


def _doubled(shape: Tensor, faces: Int[Tensor, "F 3"], used: Bool[Tensor, "N"]) -> int:
    """Border vertices at the place of another: elsewhere two surfaces may well touch."""
    loops = boundary_loops(faces)
    if not loops:
        return 0
    border = torch.cat(loops).long().unique()
    places = shape[used].double().numpy()
    near = KDTree(places).query_ball_point(shape[border].double().numpy(), SAME_PLACE)
    return int(np.sum([len(hits) > 1 for hits in near]))


def _mirror(shape: Tensor, mirror: Int[Tensor, "N"]) -> Finding:
    """Pairs are pairs, and lie where a mirror would put them."""
    pairs = mirror.long()
    single = int((pairs[pairs] != torch.arange(len(pairs))).sum())
    gap = (shape[pairs] * shape.new_tensor([-1.0, 1.0, 1.0]) - shape).norm(dim=1)
    return graded(
        "mirror pairs",
        f"{single} are not mutual, largest gap {float(gap.max()):.2g} mm",
        fail=single > 0,
        warn=float(gap.max()) > MIRROR_GAP,
        advice="leave `mirror` out, or pair each vertex with one other",
    )
