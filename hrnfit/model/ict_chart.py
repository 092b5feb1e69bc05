"""One chart for an ICT head with eyes and a mouth behind its skin.

The skin has the chart it has without them. What lies behind an opening and moves with it is laid inside
the opening: the bag behind the lips fills the mouth's hole without a seam, and each eyeball lies in its
eye's hole. A deformation map is smooth over the chart, so it moves them with lips and lids, and no
eyeball comes through a lid. Teeth, gums and tongue lie in the corners of the square, which the skin
leaves free, as in the file's own chart: no skin pulls at them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.mesh import boundary_loops
from hrnfit.geometry.uv_extend import extend_chart
from hrnfit.model.eye_caps import eye_openings
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.ict_ball import Ellipse, unrolled_ball
from hrnfit.model.ict_islands import Islands, Laid, Place, box, by_sense, cells, in_place, laid_out
from hrnfit.model.ict_parts import EXTRAS

SOCKET = "mouth_socket"
"""The piece that is one surface with the skin."""

SKIN_SHARE = 0.96
"""The skin's chart is shrunk to this about its middle where teeth need the corners."""

CORNER = {True: 0.078, False: 0.058}
"""Side of a corner box, UV, beside a shrunken skin and beside a whole one: 0.01 remains between."""

EDGE = 0.004
"""Free border of the square around the boxes, UV."""

FILLING, LEAST_FILLING = 0.85, 0.1
"""Radii of an eyeball over half the length and width of its opening, at most and at least."""

LEAST_GAP = 0.002
"""Distance of an eyeball from the lids in the chart, UV: one texel at 512."""


class Chart(NamedTuple):
    """The whole chart, and where what is not skin lies in it."""

    uv: Float[Tensor, "Nuv 2"]
    uv_faces: Int[Tensor, "F 3"]
    eyes: tuple[Ellipse, ...]
    """Where the eyeballs lie."""
    boxes: tuple[tuple[str, Place], ...]
    """What lies in the corners: `teeth`, `gums_tongue`."""
    mouth: Float[np.ndarray, "K 2"] | None
    """Polygon of the mouth's opening, where the bag behind the lips lies in it."""


def full_chart(
    points: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    skin: Bool[Tensor, "N"],
    skin_uv: Float[Tensor, "N 2"],
    pieces: dict[str, Bool[Tensor, "N"]],
    islands: Islands | None,
    eyes: Float[Tensor, "E 3"],
) -> Chart:
    """The chart of a part.

    `skin_uv`: holds where `skin`, which includes eyeball fronts of our own. `pieces`: vertices of
    the other pieces by name. `islands`: the file's own coordinates, if it has them. `eyes`: middles of
    the eyes, mm. Raises ModelFormatError when a piece needs the file's coordinates and there are none,
    or when the bag does not hang on the lips.
    """
    shrink = SKIN_SHARE if "teeth" in pieces else 1.0
    uv, mouth = 0.5 + shrink * (skin_uv - 0.5), None
    if SOCKET in pieces:
        uv, mouth = _with_socket(points, faces, skin, pieces[SOCKET], uv)
    parts: list[Laid] = []
    balls: list[Ellipse] = []
    taken: list[tuple[str, Place]] = []
    boxes = _boxes(CORNER["teeth" in pieces])
    for name, mask in pieces.items():
        mine = mask[faces.long()].all(dim=1).nonzero()[:, 0].numpy()
        if name in EXTRAS["eyes"]:
            eye = eyes[(eyes - points[mask].mean(dim=0)).norm(dim=1).argmin()]
            skin_faces = faces[skin[faces.long()].all(dim=1)]
            balls.append(_opening(points, skin_faces, uv, eye) or _inscribed(boxes[name][0]))
            parts.append(unrolled_ball(points.numpy(), faces.numpy(), mine, balls[-1]))
        elif name != SOCKET:
            if islands is None:
                raise ModelFormatError(
                    f"{name}: its triangles have no texture coordinates in the file"
                )
            groups = by_sense(mine, islands)
            places = _shared(boxes[name], len(groups))
            parts += [in_place(*at, islands) for at in zip(groups, places, strict=True)]
            taken += [(name, place) for place in boxes[name]]
    return Chart(*laid_out(uv, faces, parts), tuple(balls), tuple(taken), mouth)


def _with_socket(
    points: Tensor, faces: Tensor, skin: Tensor, socket: Tensor, uv: Tensor
) -> tuple[Float[Tensor, "N 2"], Float[np.ndarray, "K 2"]]:
    """The chart with the bag behind the lips laid into the mouth's hole, and that hole."""
    both = skin | socket
    near = faces[both[faces.long()].all(dim=1)].long()
    joint = near[socket[near].any(dim=1)].unique()
    rims = boundary_loops(near[skin[near].all(dim=1)])
    rim = next((r for r in rims if bool(torch.isin(r, joint).all())), None)
    if rim is None:
        raise ModelFormatError(f"{SOCKET}: does not hang on the rim of the lips")
    number = torch.cumsum(both, dim=0) - 1
    out = uv.clone()
    out[both] = extend_chart(points[both], number[near], uv[both], skin[both])
    return out, uv[rim.long()].numpy()


def _opening(points: Tensor, faces: Tensor, uv: Tensor, eye: Float[Tensor, "3"]) -> Ellipse | None:
    """The largest ellipse of the opening's proportions that keeps clear of the lids in the chart."""
    rims = eye_openings(points, boundary_loops(faces)[1:], eye[None])
    if not rims:
        return None
    polygon = np.ascontiguousarray(uv[rims[0].long()].numpy(), dtype=np.float32)
    middle, (across, down), angle = cv2.minAreaRect(polygon)
    centre, turn = np.array(middle), math.radians(angle)
    axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    axes = 0.5 * np.array([[across], [down]]) * axes
    if abs(axes[0, 0]) < abs(axes[1, 0]):
        axes = axes[::-1]
    axes = axes * np.sign([[axes[0, 0]], [axes[1, 1]]])  # u to the right, v down
    around = np.linspace(0.0, 2.0 * math.pi, 64, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], axis=1)
    for share in np.arange(FILLING, LEAST_FILLING, -0.05):
        edge = centre + share * circle @ axes
        gaps = [cv2.pointPolygonTest(polygon, (float(x), float(y)), True) for x, y in edge]
        if min(gaps) >= LEAST_GAP:
            return Ellipse(centre, share * axes)
    return None


def _inscribed(place: Place) -> Ellipse:
    """Where an eyeball goes whose eye is no hole."""
    return Ellipse(place.corner + 0.5 * place.axes.sum(axis=0), 0.5 * place.axes)


def _boxes(side: float) -> dict[str, tuple[Place, ...]]:
    """The corners of the square, by what may lie in them."""
    low, high = (EDGE, EDGE + side), (1.0 - EDGE - side, 1.0 - EDGE)
    spare = box(high[0], low[0], high[1], low[1])
    return {
        "teeth": (box(low[0], high[0], low[1], high[1]), box(low[0], low[0], low[1], low[1])),
        "gums_tongue": (box(high[0], high[0], high[1], high[1]),),
        "sclera_l": (cells(spare, 2)[0],),
        "sclera_r": (cells(spare, 2)[1],),
    }


def _shared(places: tuple[Place, ...], count: int) -> list[Place]:
    """`count` places: one each, the last one cut in cells where they are too few."""
    alone = list(places[: min(count, len(places)) - 1])
    return alone + cells(places[len(alone)], count - len(alone))
