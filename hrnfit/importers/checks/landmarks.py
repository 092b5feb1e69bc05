"""Landmarks: all there, in the iBUG order on a face, at its distances; dense ones beside their partners."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.importers.checks.finding import Finding, graded
from hrnfit.model.face_model import FaceModel
from hrnfit.model.linear import landmark_positions

PARTNERS = {33: 36, 133: 39, 362: 42, 263: 45, 61: 48, 291: 54, 4: 30}
"""FaceMesh points and the iBUG points at the same place: corners of eyes and mouth, tip of the nose."""

NEAR, FAR = 5.0, 12.0
"""Distance of such partners that is usual at most, and that means another order, mm."""

PUPILS = (50.0, 75.0)
"""Distance between the middles of the eyes of adults, mm."""

Points = Float[Tensor, "68 3"]

ORDER: dict[str, Callable[[Points], bool]] = {
    "eyes above the nose's tip": lambda p: bool(p[36:48, 1].mean() > p[30, 1]),
    "nose's tip above the mouth": lambda p: bool(p[30, 1] > p[48:60, 1].mean()),
    "brows above the eyes": lambda p: bool(p[17:27, 1].mean() > p[36:48, 1].mean()),
    "right eye at -x, left eye at +x": lambda p: bool(p[36:42, 0].mean() < 0 < p[42:48, 0].mean()),
    "right mouth corner before the left": lambda p: bool(p[48, 0] < p[54, 0]),
    "upper lip above the lower": lambda p: bool(p[51, 1] > p[57, 1]),
    "nose's tip foremost": lambda p: bool(p[30, 2] >= p[17:, 2].max() - 3.0),
    "brows from right to left": lambda p: _rising(p[17:27, 0], 8),
    "bridge downwards": lambda p: _rising(-p[27:31, 1], 3),
    "jaw below the mouth": lambda p: bool(p[48:60, 1].mean() > p[8, 1]),
    "jaw from right to left": lambda p: _rising(p[:17, 0], 13),
    "jaw lowest at the chin": lambda p: abs(int(p[:17, 1].argmin()) - 8) <= 1,
}
"""What holds on every face in the head frame."""

CERTAIN = 6
"""So many of them, from the first, admit no exception; the others a strange face may break."""


def landmark_findings(model: FaceModel, shape: Float[Tensor, "N 3"]) -> list[Finding]:
    """Everything on landmarks. Missing jaw points are allowed: some models have none."""
    if "ibug68" not in model.landmarks:
        return [
            graded(
                "landmarks",
                f"no ibug68 (there is: {', '.join(model.landmarks) or 'none'})",
                fail=True,
                advice="a fit starts from them: give vertices or triangles of the 68 points",
            )
        ]
    marks = model.landmarks["ibug68"]
    there = marks.triangles >= 0
    count = len(there)
    found = [
        graded(
            "landmarks: present",
            f"{int(there.sum())} of {count}",
            fail=count != 68 or not bool(there[17:].all()),
            warn=not bool(there.all()),
            advice="expected 68 points, of which at most the 17 of the jaw may be missing",
        )
    ]
    if count != 68:
        return found
    points = landmark_positions(shape, model.faces, marks).detach()
    points = torch.where(there[:, None], points, torch.nan)
    return [*found, _order(points), *_distances(points), *_dense(model, shape, points)]


def _order(points: Points) -> Finding:
    wrong = [
        name
        for name, holds in ORDER.items()
        if not (name.startswith("jaw") and points[:17].isnan().any()) and not holds(points)
    ]
    shown = "as on a face" if not wrong else f"not: {'; '.join(wrong[:4])}"
    return graded(
        "landmarks: order",
        shown,
        fail=len(wrong) > 2 or bool(set(wrong) & set(list(ORDER)[:CERTAIN])),
        warn=bool(wrong),
        advice="the iBUG order, the subject's right side first, in a frame with y up and z out of the face",
    )


def _distances(points: Points) -> list[Finding]:
    eyes = float((points[36:42].mean(dim=0) - points[42:48].mean(dim=0)).norm())
    here = points[~points.isnan().any(dim=1)]
    gaps = torch.cdist(here, here) + torch.eye(len(here)).to(here) * 1e3
    closest = float(gaps.min())
    return [
        graded(
            "landmarks: eyes apart",
            f"{eyes:.1f} mm",
            fail=not 0.6 * PUPILS[0] < eyes < 1.5 * PUPILS[1],
            warn=not PUPILS[0] < eyes < PUPILS[1],
            advice=f"adults have {PUPILS[0]:g} to {PUPILS[1]:g}: check mm_per_unit",
        ),
        graded(
            "landmarks: distinct",
            f"the closest two are {closest:.2g} mm apart",
            warn=closest < 0.05,
            advice="two points lie at one place: is the list complete?",
        ),
    ]


def _dense(model: FaceModel, shape: Tensor, points: Points) -> list[Finding]:
    if "mediapipe478" not in model.landmarks:
        return []
    marks = model.landmarks["mediapipe478"]
    if len(marks.triangles) != 478:
        measured = f"{len(marks.triangles)} points"
        return [graded("dense landmarks", measured, fail=True, advice="expected 478 points")]
    there = marks.triangles >= 0
    dense = landmark_positions(shape, model.faces, marks).detach()
    pairs = [
        (a, b) for a, b in PARTNERS.items() if bool(there[a]) and bool(points[b].isfinite().all())
    ]
    gaps = (
        torch.stack([(dense[a] - points[b]).norm() for a, b in pairs])
        if pairs
        else dense.new_zeros(1)
    )
    worst = float(gaps.max())
    return [
        graded(
            "dense landmarks",
            f"{int(there.sum())} of 478, at most {worst:.1f} mm from their iBUG partners",
            fail=worst > FAR,
            warn=worst > NEAR or int(there.sum()) < 400,
            advice="measure them again with `hrnfit models landmarks`",
        )
    ]


def _rising(values: Float[Tensor, "K"], least: int) -> bool:
    """Whether at least `least` steps go up and the ends are far apart."""
    return bool((values.diff() > 0).sum() >= least) and bool(values[-1] > values[0])
