"""Identity and expression modes: finite, in mm per standard deviation, independent, largest first."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.importers.checks.finding import Finding, graded
from hrnfit.model.face_model import FaceModel, ShapeTangent

INDEPENDENT, TWINS = 0.05, 0.98
"""Cosine between two modes up to which they count as orthogonal, and from which as one and the same. The modes of
a model cut from a larger mesh lie between (ICT's face: 0.57)."""

SPREAD = (1.5, 20.0)
"""Plausible distance of a subject from the mean, RMS over vertices and subjects, mm: published models
have 3 to 10."""

NEXT_LARGER = 1.25
"""A mode may be this much larger than the one before."""

MOVES = (0.1, 80.0)
"""Largest move of a vertex by a whole expression, mm; a wide open jaw has 45."""


def base_findings(model: FaceModel, tangent: ShapeTangent) -> list[Finding]:
    """Everything on the modes, which `tangent` has at the mean face."""
    return [
        *_identity(tangent.identity),
        *_expressions(model, tangent.expression),
    ]


def _identity(modes: Float[Tensor, "I N 3"]) -> list[Finding]:
    if len(modes) == 0:
        return [
            graded("identity", "0 modes", warn=True, advice="every subject gets the mean's shape")
        ]
    size = modes.double().square().sum(dim=2).mean(dim=1).sqrt()
    cosine, (one, other) = largest_cosine(modes)
    spread = float(size.square().sum().sqrt())
    jumps = int((size[1:] > NEXT_LARGER * size[:-1]).sum())
    return [
        graded(
            "identity: independent",
            f"largest cosine {cosine:.2g} (modes {one} and {other})",
            fail=cosine > TWINS,
            warn=cosine > INDEPENDENT,
            advice="two modes are the same: keep one"
            if cosine > TWINS
            else "not orthogonal: usual where a mesh was cut from a larger one, else orthogonalise",
        ),
        graded(
            "identity: per standard deviation",
            f"subjects differ from the mean by {spread:.2g} mm (RMS)",
            fail=not 0.1 * SPREAD[0] < spread < 10.0 * SPREAD[1],
            warn=not SPREAD[0] < spread < SPREAD[1],
            advice=f"expected {SPREAD[0]:g} to {SPREAD[1]:g}: multiply every mode by its standard deviation",
        ),
        graded(
            "identity: largest first",
            f"{size[0]:.2g} to {size[-1]:.2g} mm, {jumps} larger than the one before",
            warn=jumps > 0.1 * len(size),
            advice="sort the modes by size, so that the first ones are the important ones",
        ),
    ]


def _expressions(model: FaceModel, modes: Float[Tensor, "E N 3"]) -> list[Finding]:
    if len(modes) == 0:
        return [
            graded("expressions", "0 modes", warn=True, advice="every face gets the neutral one")
        ]
    moves = modes.double().norm(dim=2).amax(dim=1)
    names = model.expression_names
    still = [name for name, move in zip(names, moves.tolist(), strict=True) if move < MOVES[0]]
    most = int(moves.argmax())
    # of activations 0..1 two opposite ones are a pair, such as jaw left and jaw right
    cosine, (one, other) = largest_cosine(modes, signed=model.expression_is_blendshape)
    return [
        graded(
            "expressions: largest move",
            f"{float(moves[most]):.3g} mm ({names[most]}), median {float(moves.median()):.2g}",
            fail=float(moves[most]) > 3.0 * MOVES[1],
            warn=not 1.0 < float(moves[most]) < MOVES[1],
            advice=f"expected 1 to {MOVES[1]:g} mm at full activation: check the unit of the modes",
        ),
        graded(
            "expressions: all move something",
            f"{len(still)} of {len(names)} move less than {MOVES[0]:g} mm"
            + (f" ({', '.join(still[:4])})" if still else ""),
            warn=bool(still),
            advice="leave them out: nothing can find their coefficients",
        ),
        graded(
            "expressions: independent",
            f"largest cosine {cosine:.2g} ({names[one]}, {names[other]})",
            warn=cosine > TWINS,
            advice="two expressions are nearly the same: only their sum can be found",
        ),
        graded(
            "expressions: names",
            f"{len(set(names))} names for {len(names)}",
            fail=len(set(names)) < len(names),
            advice="give each its own name",
        ),
    ]


def largest_cosine(
    modes: Float[Tensor, "K N 3"], signed: bool = False
) -> tuple[float, tuple[int, int]]:
    """Largest cosine between two modes, absolute unless `signed`, and which; those that move nothing do
    not count."""
    flat = modes.double().flatten(1)
    unit = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-9)
    cosine = unit @ unit.mT
    cosine = (cosine if signed else cosine.abs()).fill_diagonal_(0.0)
    place = int(cosine.argmax())
    return float(cosine.flatten()[place]), (place // len(flat), place % len(flat))


def all_finite(model: FaceModel, tangent: ShapeTangent) -> Finding:
    """No NaN in what the fit evaluates."""
    parts = {
        "mean": tangent.shape,
        "identity": tangent.identity,
        "expressions": tangent.expression,
        "uv": model.uv,
        "albedo": model.albedo(torch.zeros(model.n_albedo)),
    }
    bad = {name: int((~torch.isfinite(part)).sum()) for name, part in parts.items()}
    found = ", ".join(f"{count} in {name}" for name, count in bad.items() if count)
    return graded(
        "numbers",
        found or "all finite",
        fail=bool(found),
        advice="NaN or infinite: export the model again",
    )
