"""Landmarks on a model with joints: agreement with its expansion, and Jacobians by finite differences."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBlock
from hrnfit.fit.landmark_views import landmark_views
from hrnfit.fit.model_landmarks import ModelLandmarks
from hrnfit.fit.surface_points import expansion
from tests.fit.jointed_scene import jointed_face, jointed_truth, jointed_views

DOUBLE = {"dtype": torch.float64}


def block_near(identity: Tensor, expression: Tensor) -> ModelLandmarks:
    """Every second landmark of a view, the model expanded at some coefficients; the first has slid."""
    model = jointed_face().to(torch.float64)
    (view,) = landmark_views(jointed_views()[:1], model)
    used = torch.arange(68) % 2 == 0
    basis = view.points.basis(expansion(model, identity, expression))
    block = LandmarkBlock(
        slots=(("identity", None), ("expression", 0), ("pose", 0), ("log_focal", 0)),
        basis=replace(
            basis,
            mean=basis.mean[used],
            identity=basis.identity[:, used],
            expression=basis.expression[:, used],
        ),
        pose_reference=jointed_truth()[0].T_world_head.double(),
        T_cam_world=view.T_cam_world,
        K=view.K,
        pixels=view.pixels[used],
        metric=torch.eye(2, **DOUBLE).expand(34, 2, 2),
        weight=torch.ones(34, **DOUBLE),
    )
    return ModelLandmarks(block, model, view.points, used, torch.arange(34) == 0)


def coefficients(scale: float) -> tuple[Tensor, ...]:
    model, generator = jointed_face(), torch.Generator().manual_seed(3)
    sizes = (model.n_identity, model.n_expression, 6, 1)
    parts = [scale * torch.randn(n, generator=generator, **DOUBLE) for n in sizes]
    return parts[0], parts[1], 0.01 * parts[2], 0.01 * parts[3]


def test_where_it_was_expanded_it_is_the_linear_block():
    values = coefficients(0.5)
    own = block_near(*values[:2])
    assert torch.allclose(own.residual(*values), own.block.residual(*values), atol=1e-9)
    away = coefficients(1.5)
    rest, linear = own.residual(*away).view(34, 2), own.block.residual(*away).view(34, 2)
    assert torch.equal(rest[0], linear[0])  # it slid, and stays linear
    assert (rest - linear)[1:].abs().max() > 1e-2


def test_jacobians_against_finite_differences():
    values, along = coefficients(0.5), coefficients(1.0)
    own = block_near(*coefficients(0.0)[:2])
    own = replace(own, block=replace(own.block, kernel="square"))
    residual, jacobians = own.linearize(*values)
    assert torch.allclose(residual, own.residual(*values), atol=1e-9)
    predicted = sum(J @ d for J, d in zip(jacobians, along, strict=True))
    h = 1e-6
    ahead, behind = (
        own.residual(*(v + s * h * d for v, d in zip(values, along, strict=True)))
        for s in (1.0, -1.0)
    )
    assert torch.allclose(predicted, (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-5)
