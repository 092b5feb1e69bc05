from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hrnfit.energy.kernel import KERNELS
from hrnfit.energy.landmark import (
    FACE_OVAL,
    SLIDE,
    VISIBLY_WRONG,
    LandmarkBasis,
    LandmarkBlock,
    LandmarkTerm,
    contour_metric,
    landmark_residuals,
    slide_contour,
    spread_weight,
)
from hrnfit.energy.term import reduce
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.face_model import LandmarkSet
from hrnfit.observe.observation import WorkingViews

POINTS, IDENTITY, EXPRESSION = 12, 4, 3


def block(generator: torch.Generator, kernel: str = "huber") -> LandmarkBlock:
    """A head at 700 mm, seen by a camera that is turned against the world."""

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    T_cam_world = pose_matrix(0.4 * noise(6), torch.eye(4, dtype=torch.float64))
    T_cam_world[2, 3] += 700.0
    return LandmarkBlock(
        slots=(("identity", None), ("expression", 0), ("pose", 0), ("log_focal", 0)),
        basis=LandmarkBasis(
            40 * noise(POINTS, 3),
            3 * noise(IDENTITY, POINTS, 3),
            2 * noise(EXPRESSION, POINTS, 3),
        ),
        pose_reference=pose_matrix(0.2 * noise(6), torch.eye(4, dtype=torch.float64)),
        T_cam_world=T_cam_world,
        K=torch.tensor([[1400.0, 2.0, 500], [0, 1380, 510], [0, 0, 1]], dtype=torch.float64),
        pixels=500 + 90 * noise(POINTS, 2),
        metric=torch.eye(2, dtype=torch.float64) * 0.02 + 0.002 * noise(POINTS, 2, 2),
        weight=torch.rand(POINTS, generator=generator, dtype=torch.float64),
        kernel=kernel,
    )


def unknowns(generator: torch.Generator, *batch: int) -> tuple[torch.Tensor, ...]:
    return tuple(
        0.3 * torch.randn(*batch, size, generator=generator, dtype=torch.float64)
        for size in (IDENTITY, EXPRESSION, 6, 1)
    )


def test_hand_written_jacobians_are_those_of_autodiff(generator):
    problem, values = block(generator, "square"), unknowns(generator)
    _, jacobians = problem.linearize(*values)
    automatic = torch.autograd.functional.jacobian(problem.residual, values)
    for name, J, expected in zip(
        ("identity", "expression", "pose", "focal"), jacobians, automatic, strict=True
    ):
        assert torch.allclose(J, expected, atol=1e-9), name


def test_jacobians_at_zero_rotation(generator):
    problem = block(generator, "square")
    values = tuple(torch.zeros_like(v) for v in unknowns(generator))
    automatic = torch.autograd.functional.jacobian(problem.residual, values)
    assert torch.allclose(problem.linearize(*values)[1][2], automatic[2], atol=1e-9)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_robust_gradient_is_exact(kernel, generator):
    problem, values = block(generator, kernel), unknowns(generator)
    leaves = [value.requires_grad_() for value in values]
    energy = 0.5 * problem.residual(*leaves).square().sum()
    gradients = torch.autograd.grad(energy, leaves)
    with torch.no_grad():
        e, jacobians = problem.linearize(*values)
    for J, expected in zip(jacobians, gradients, strict=True):
        assert torch.allclose(J.mT @ e, expected, rtol=1e-6, atol=1e-9)


def test_batches_are_independent(generator):
    problem, values = block(generator), unknowns(generator, 5)
    e, jacobians = problem.linearize(*values)
    assert e.shape == (5, 2 * POINTS)
    single = problem.linearize(*(v[3] for v in values))
    assert torch.allclose(e[3], single[0])
    assert all(torch.allclose(J[3], S) for J, S in zip(jacobians, single[1], strict=True))


def test_zero_at_the_truth(generator):
    problem, values = block(generator), unknowns(generator)
    _, projected = problem._raw(problem._camera_points(*values[:3])[1], values[3])
    exact = replace(problem, pixels=projected)
    assert exact.residual(*values).abs().max() < 1e-9
    assert exact.error_mm(*values).max() < 1e-9


def test_turning_head_and_camera_together_changes_nothing(generator):
    problem, values = block(generator), unknowns(generator)
    G = pose_matrix(torch.randn(6, generator=generator, dtype=torch.float64), torch.eye(4).double())
    reference = pose_matrix(values[2], problem.pose_reference)
    zero = torch.zeros_like(values[2])
    moved = replace(
        problem,
        pose_reference=G @ reference,
        T_cam_world=problem.T_cam_world @ torch.linalg.inv(G),
    )
    assert torch.allclose(
        problem.residual(*values), moved.residual(values[0], values[1], zero, values[3])
    )


def test_a_residual_is_the_error_in_mm_over_two(generator):
    observed = torch.tensor([[[100.0, 100.0]]])
    predicted = observed + torch.tensor([3.0, 4.0])  # 5 px, at 0.8 mm per px: 4 mm
    found = landmark_residuals(
        predicted, observed, torch.ones(1, 1), torch.tensor([0.8]), torch.zeros(1), "five"
    )
    assert float(found.values.detach()) == pytest.approx(4.0 / VISIBLY_WRONG)
    assert float(found.validity) == 1.0


def test_confidence_and_spread_become_validity_without_gradient():
    spread = torch.tensor([0.0, 2.0, 6.0], requires_grad=True)
    found = landmark_residuals(
        torch.zeros(1, 3, 2),
        torch.zeros(1, 3, 2),
        torch.tensor([[0.5, 1.0, 1.0]]),
        torch.ones(1),
        spread,
        "five",
    )
    assert torch.allclose(found.validity, torch.tensor([[0.5, 0.5, 0.1]]))
    assert not found.validity.requires_grad
    assert torch.isfinite(found.values).all()


def test_seeing_a_view_twice_changes_no_mean_energy(generator):
    predicted = torch.randn(1, 68, 2, generator=generator)
    observed, confidence = torch.zeros(1, 68, 2), torch.rand(1, 68, generator=generator)

    def energy(times: int) -> torch.Tensor:
        views = (x.repeat(times, 1, 1) for x in (predicted, observed))
        return reduce(
            landmark_residuals(
                *views, confidence.repeat(times, 1), torch.ones(times), torch.zeros(68), "five"
            )
        )

    assert torch.allclose(energy(1), energy(2))


def test_contour_points_slide_along_a_vertical_jaw():
    points = torch.zeros(68, 2)
    points[:17, 1] = torch.arange(17.0)  # the jaw runs straight down
    metric = contour_metric(points, "ibug68")
    along, across = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    assert torch.allclose(metric[:17] @ along, SLIDE * along.expand(17, 2), atol=1e-6)
    assert torch.allclose(metric[:17] @ across, across.expand(17, 2), atol=1e-6)
    assert torch.equal(metric[17:], torch.eye(2).expand(51, 2, 2))


def test_face_oval_is_one_closed_ring():
    assert len(set(FACE_OVAL)) == 36
    angle = torch.arange(36) * (2 * torch.pi / 36)
    points = torch.zeros(478, 2)
    points[list(FACE_OVAL)] = torch.stack([angle.cos(), angle.sin()], -1)
    metric = contour_metric(points, "mediapipe478")[list(FACE_OVAL)]
    outward = points[list(FACE_OVAL), :, None]
    assert torch.allclose(metric @ outward, outward, atol=1e-5)  # errors across are kept


def test_sliding_chooses_the_outermost_valid_candidate():
    # two rows, left and right of the axis at 500 mm; the third candidate is padding
    candidates = torch.tensor(
        [
            [[-50.0, 0, 500], [-70.0, 0, 510], [-900.0, 0, 500]],
            [[80.0, 0, 500], [60.0, 0, 505], [900.0, 0, 500]],
        ]
    )
    valid = torch.tensor([[True, True, False], [True, True, False]])
    assert slide_contour(candidates, valid).tolist() == [1, 0]
    assert slide_contour(candidates.expand(3, 2, 3, 3), valid).shape == (3, 2)


def test_trust_falls_with_spread():
    trust = spread_weight(torch.tensor([0.0, VISIBLY_WRONG, 100.0]))
    assert torch.allclose(trust, torch.tensor([1.0, 0.5, 0.0]), atol=1e-3)


def test_term_compares_prediction_and_views():
    marks = LandmarkSet(torch.zeros(1, dtype=torch.int32), torch.ones(1, 3) / 3, torch.zeros(1))
    points = torch.tensor([[[8.0, 0.0]]], requires_grad=True)
    prediction = SimpleNamespace(
        model=SimpleNamespace(landmarks={"five": marks}),
        landmark_points=lambda scheme: points,
        points=torch.tensor([[[0.0, 0.0, 490.0], [0.0, 0.0, 510.0]]]),
        state=SimpleNamespace(log_focal=torch.tensor([2.0]).log()),
    )
    views = WorkingViews(
        images=torch.zeros(1, 4, 4, 3),
        masks=torch.ones(1, 4, 4),
        inside=torch.ones(1, 4, 4, dtype=torch.bool),
        K=torch.tensor([[[500.0, 0, 2], [0, 500, 2], [0, 0, 1]]]),
        T_cam_world=torch.eye(4)[None],
        landmarks=torch.zeros(1, 1, 2),
        landmark_confidence=torch.ones(1, 1),
        names=("view",),
    )
    found = LandmarkTerm("five").residuals(prediction, views)
    assert float(found.values.detach()) == pytest.approx(2.0)  # 8 px at 0.5 mm per px are 4 mm
    (gradient,) = torch.autograd.grad(found.values.sum(), points)
    assert torch.allclose(gradient, torch.tensor([[[0.25, 0.0]]]))
