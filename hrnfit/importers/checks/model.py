"""All checks of a model, and of what may be missing from it."""

from __future__ import annotations

import torch

from hrnfit.importers.checks.bases import all_finite, base_findings
from hrnfit.importers.checks.chart import chart_findings
from hrnfit.importers.checks.finding import Finding, Verdict, graded
from hrnfit.importers.checks.landmarks import landmark_findings
from hrnfit.importers.checks.mesh import mesh_findings
from hrnfit.model.face_model import FaceModel
from hrnfit.model.linear import landmark_positions


def check_model(model: FaceModel) -> tuple[Finding, ...]:
    """Findings on numbers, bases, mesh, chart, albedo, landmarks and optional parts.

    Numbers that are not finite end it: nothing else can be measured then.
    """
    zeros = torch.zeros(model.n_identity), torch.zeros(model.n_expression)
    tangent = model.tangent(*zeros)
    finite = all_finite(model, tangent)
    if finite.verdict is Verdict.FAIL:
        return (finite,)
    nose = None
    marks = model.landmarks.get("ibug68")
    if marks is not None and len(marks.triangles) == 68 and int(marks.triangles[30]) >= 0:
        nose = landmark_positions(tangent.shape, model.faces, marks)[30]
    return (
        finite,
        *base_findings(model, tangent),
        *mesh_findings(model, tangent.shape, nose),
        *chart_findings(model, tangent, nose),
        *landmark_findings(model, tangent.shape),
        _optional(model),
    )


def _optional(model: FaceModel) -> Finding:
    """What a fit does without, less well."""
    lacking = {
        "dense landmarks (hrnfit models landmarks)": "mediapipe478" not in model.landmarks,
        "regions": not model.regions,
        "jaw contour": not bool((model.jaw_contour >= 0).any()),
        "mirror pairs": model.mirror is None,
        "albedo modes": model.n_albedo == 0,
    }
    missing = [name for name, lacks in lacking.items() if lacks]
    return graded(
        "optional parts",
        f"missing: {', '.join(missing)}" if missing else "all there",
        warn=bool(missing),
        advice="a fit runs without them, less well",
    )


def worst(findings: tuple[Finding, ...]) -> Verdict:
    """The worst verdict of all."""
    order = [Verdict.OK, Verdict.WARN, Verdict.FAIL]
    return max((finding.verdict for finding in findings), key=order.index)
