"""The chart: within the square, without overlap or flips, evenly spread over the skin; and the albedo in it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.geometry.uv import chart_quality, overlaps
from hrnfit.importers.checks.finding import Finding, graded
from hrnfit.model.face_model import FaceModel, ShapeTangent

USED = 0.4
"""Share of the unit square that a chart should cover."""

STARVED = 0.1
"""Texels per mm^2 against the skin's mean under which skin gets too few."""

STRETCHED = 5.0
"""Ratio of a texel's sides on the skin that is too much for 95 % of it."""

FACE = 100.0
"""How far from the tip of the nose the chart's evenness matters, mm."""

SLIVERS = 1e-4
"""Share of triangles that may be turned over in the chart: of so few none is more than a sliver."""

OVERLAP_SIZE = 1024
"""Texels per side of the raster in which overlap is counted."""


def chart_findings(
    model: FaceModel, tangent: ShapeTangent, nose: Float[Tensor, "3"] | None
) -> list[Finding]:
    """Everything on the chart and the albedo. `nose`: tip of the nose, mm, where it is known."""
    low, high = float(model.uv.min()), float(model.uv.max())
    quality = chart_quality(tangent.shape, model.faces, model.uv, model.uv_faces)
    twice = overlaps(model.uv, model.uv_faces, OVERLAP_SIZE)
    face = skin_triangles(model)
    if nose is not None:
        middle = tangent.shape[model.faces.long()].mean(dim=1)
        face = face & ((middle - nose).norm(dim=1) < FACE)
    skin = face if bool(face.any()) else torch.ones_like(face)
    ratio = quality.area_ratio[skin] / quality.area_ratio[skin].mean()
    anisotropy = quality.anisotropy[skin]
    few, wide = float(ratio.quantile(0.05)), float(anisotropy.quantile(0.95))
    flips = quality.flipped
    return [
        graded(
            "chart: square",
            f"{low:.3f} to {high:.3f}, {100 * quality.used:.0f} % used",
            fail=low < -1e-4 or high > 1.0 + 1e-4,
            warn=quality.used < USED,
            advice="texture coordinates must lie in 0..1 and fill the square, in one tile",
        ),
        graded(
            "chart: flips",
            f"{flips} of {len(model.faces)} triangles turned over",
            fail=flips > 0.001 * len(model.faces),
            warn=flips > SLIVERS * len(model.faces),
            advice="leave the chart out on import to get one without, or mirror the islands that are turned",
        ),
        graded(
            "chart: overlap",
            f"{twice} of {OVERLAP_SIZE**2} texels belong to two triangles",
            fail=twice > 1e-4 * OVERLAP_SIZE**2,
            warn=twice > 0,
            advice="each place of the skin needs texels of its own: unfold the chart, or leave it out on import",
        ),
        graded(
            "chart: density",
            f"5 % of the face has less than {few:.2f} of the mean",
            warn=few < STARVED,
            advice="give these parts more room, or leave the chart out on import",
        ),
        graded(
            "chart: stretch",
            f"median {float(anisotropy.median()):.2f}, 95 % below {wide:.1f}",
            warn=wide > STRETCHED,
            advice="texels are long and thin on the skin there",
        ),
        *_albedo(model),
    ]


def skin_triangles(model: FaceModel) -> Bool[Tensor, "F"]:
    """Triangles of neither eyeballs nor the inside of the mouth, whose texels are few on purpose."""
    apart = torch.zeros(int(model.faces.max()) + 1, dtype=torch.bool)
    for name in ("eyes", "mouth_interior"):
        if name in model.regions:
            apart |= model.regions[name][: len(apart)]
    return ~apart[model.faces.long()].all(dim=1)


def _albedo(model: FaceModel) -> list[Finding]:
    mean = model.albedo(torch.zeros(model.n_albedo))
    outside = float(((mean < 0) | (mean > 1)).float().mean())
    level = float(mean.mean())
    found = [
        graded(
            "albedo: range",
            f"{float(mean.min()):.3f} to {float(mean.max()):.3f}, mean {level:.2f}",
            fail=outside > 0.01,
            warn=outside > 0 or not 0.05 < level < 0.7,
            advice="linear RGB in 0..1: divide by 255 and undo the sRGB curve",
        )
    ]
    if model.n_albedo:
        worst = 0.0
        for k in range(min(model.n_albedo, 5)):
            for sign in (-2.0, 2.0):
                one = torch.zeros(model.n_albedo)
                one[k] = sign
                image = model.albedo(one)
                worst = max(worst, float(((image < 0) | (image > 1)).float().mean()))
        found.append(
            graded(
                "albedo: modes",
                f"{100 * worst:.1f} % of the texels leave 0..1 at two standard deviations",
                warn=worst > 0.1,
                advice="modes must be linear RGB per standard deviation",
            )
        )
    return found
