"""De-retouched albedos of synthetic subjects against the painted truth, by phi, light and noise."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.uv_subjects import MAPS, MODEL, Rows, UvSubject, averaged, subjects
from hrnfit.infer.deretouched import Phi, deretouched_albedo, detail_factor
from hrnfit.io.image import linear_from_srgb, srgb_from_linear

LIGHTS = {"full light": 1.0, "a tenth": 0.1, "a fiftieth": 0.02}
SCALES = (1.0, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e10)
"""Of phi = 1 / (scale T0^3 + 1e-6): 1 is the paper's, 1e6 the released code's."""


def deretouching() -> dict[str, Rows]:
    """Per light, errors of every way and phi; T0 is the true shading times the smooth albedo."""
    return {name: averaged([albedos(s) for s in subjects(light=f)]) for name, f in LIGHTS.items()}


def albedos(subject: UvSubject) -> Rows:
    """Where the crop shows the face."""
    texture = MAPS.texture(subject.image, subject.mid).movedim(0, -1)
    seen, size = MAPS.view(subject.mid).seen, len(texture)
    true, smooth = subject.albedo(size)[seen], smooth_albedo(subject, size)[seen]
    flat = linear_from_srgb(texture[seen]), smooth * subject.shading(MAPS.chart)[seen]
    encoded = texture[seen], srgb_from_linear(flat[1].clamp(0, 1))
    rows: Rows = {
        "smooth texture": {"median linear": float(flat[1].median())},
        "A0 itself": {"error": log_error(smooth, true)},
    }
    for scale in SCALES:
        phi = Phi(scale)
        srgb = linear_from_srgb(srgb_from_linear(smooth) * detail_factor(*encoded, phi))
        ways = {
            "linear": deretouched_albedo(smooth, *encoded, phi),
            "srgb": srgb,
            "srgb ratio on linear": smooth * detail_factor(*encoded, phi),
        }
        rows[f"scale {scale:g}"] = {name: log_error(way, true) for name, way in ways.items()}
    return rows


def smooth_albedo(subject: UvSubject, size: int) -> Float[Tensor, "S S 3"]:
    """The model's albedo below the paint, linear RGB."""
    own = MODEL.albedo(subject.truth.albedo_coefficients).float().clamp_min(0.01)
    large = interpolate(own.movedim(-1, 0)[None], (size, size), mode="bilinear")
    return large[0].movedim(0, -1)


def log_error(got: Float[Tensor, "P 3"], true: Float[Tensor, "P 3"]) -> float:
    """Root mean square of the difference of logarithms, of albedos within 1e-4 and 1."""
    return float((torch.log(got.clamp(1e-4, 1.0)) - torch.log(true)).square().mean().sqrt())
