"""Who is it: cosine of embeddings, the render laid over the photograph, and views without a face."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hrnfit.energy.perceptual import Embedding, Perceptual, alignment, composite, cosine
from hrnfit.energy.term import reduce
from hrnfit.nets.arcface import ArcFace, ArcFaceConfig
from hrnfit.observe.aligned_face import POINTS
from hrnfit.observe.observation import WorkingViews
from tests.energy.faces import SmallEmbedding
from tests.energy.scene import working_views
from tests.fit.small_scene import truth_scene

SIZE = 16


def seen(views: int, generator: torch.Generator) -> tuple[WorkingViews, SimpleNamespace]:
    """Random windows with five points, and a random render that covers them by half."""
    shape = (views, SIZE, SIZE, 3)
    images = torch.rand(shape, generator=generator, dtype=torch.float64)
    points = (torch.tensor(POINTS, dtype=torch.float64) + 0.5) * SIZE / 112
    windows = replace(
        working_views(torch.ones(views, SIZE, SIZE, dtype=torch.float64), images),
        landmarks=points.repeat(views, 1, 1),
        landmark_confidence=torch.ones(views, 5, dtype=torch.float64),
        landmark_scheme="five",
    )
    coverage = torch.rand(shape[:3], generator=generator, dtype=torch.float64)
    other = torch.rand(shape, generator=generator, dtype=torch.float64)
    return windows, SimpleNamespace(image=coverage[..., None] * other, coverage=coverage)


def test_cosine_by_hand_and_at_zero():
    a = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[4.0, 3.0], [-2.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    found = cosine(a, b)
    assert found.tolist() == pytest.approx([0.96, -1.0, 0.0])
    (gradient,) = torch.autograd.grad(found.sum(), a)
    assert bool(torch.isfinite(gradient).all())


def test_render_lies_over_the_photograph_where_it_covers_and_the_mask_lets_it(generator):
    views, prediction = seen(1, generator)
    prediction.coverage[:] = torch.tensor([1.0, 0.0, 0.25, 1.0]).repeat_interleave(4)
    prediction.image = prediction.coverage[..., None].expand(1, SIZE, SIZE, 3) * 0.8
    views.masks[..., 12:] = 0.0
    shown, photo = composite(prediction, views), views.images
    assert torch.allclose(shown[:, :, :4], torch.tensor(0.8).double())
    assert torch.equal(shown[:, :, 4:8], photo[:, :, 4:8])
    assert torch.allclose(shown[:, :, 8:12], 0.2 + 0.75 * photo[:, :, 8:12])
    assert torch.equal(shown[:, :, 12:], photo[:, :, 12:])


def test_the_photograph_itself_costs_nothing_and_a_stranger_costs_one_minus_the_cosine(generator):
    views, prediction = seen(2, generator)
    exact = SimpleNamespace(
        image=prediction.coverage[..., None] * views.images, coverage=prediction.coverage
    )
    same = Perceptual(SmallEmbedding()).residuals(exact, views)
    assert float(same.values.abs().max()) < 1e-12
    assert same.validity.tolist() == [1.0, 1.0]

    def told(pictures):  # the photograph comes first: two directions 60 degrees apart
        first = told.calls == 0
        told.calls += 1
        vector = [1.0, 0.0] if first else [0.5, 0.75**0.5]
        return torch.tensor(vector, dtype=torch.float64).repeat(len(pictures), 1)

    told.calls = 0
    values = Perceptual(told).residuals(prediction, views).values
    assert values.tolist() == pytest.approx([0.5, 0.5])


def test_embedding_sees_srgb_between_minus_one_and_one(generator):
    views, prediction = seen(1, generator)
    pictures = []

    def keep(images):
        pictures.append(images)
        return images.flatten(1)

    views = replace(views, images=torch.full_like(views.images, 0.21404114))  # sRGB 0.5
    prediction.image = prediction.coverage[..., None] * torch.ones_like(prediction.image)
    prediction.coverage[:], prediction.image[:] = 1.0, 1.0
    Perceptual(keep).residuals(prediction, views)
    photographed, rendered = pictures
    assert photographed.shape == (1, 3, 112, 112)
    assert torch.allclose(photographed, torch.zeros(1).double(), atol=1e-6)
    assert torch.allclose(rendered, torch.ones(1).double())


def test_length_of_the_vectors_does_not_matter(generator):
    views, prediction = seen(1, generator)
    one, ten = (
        Perceptual(SmallEmbedding(gain=g)).residuals(prediction, views).values for g in (1, 10)
    )
    assert torch.allclose(one, ten)


def test_views_without_a_face_do_not_count(generator):
    views, prediction = seen(3, generator)
    views.landmark_confidence[0, 2] = 0.0
    views.landmarks[0, 2] = torch.nan
    views.landmark_confidence[1, 4] = 0.5
    prediction.image.requires_grad_()
    found = Perceptual(SmallEmbedding()).residuals(prediction, views)
    assert found.validity.tolist() == [0.0, 0.5, 1.0]
    assert bool(torch.isfinite(found.values).all())
    (gradient,) = torch.autograd.grad(reduce(found, "abs"), prediction.image)
    assert bool((gradient[0] == 0).all())
    assert bool((gradient[1:].abs().sum((1, 2, 3)) > 0).all())


def test_no_landmarks_at_all_and_five_equal_points(generator):
    views, prediction = seen(2, generator)
    none = replace(
        views,
        landmarks=torch.zeros(2, 0, 2),
        landmark_confidence=torch.zeros(2, 0),
        landmark_scheme="mediapipe478",
    )
    residuals = Perceptual(SmallEmbedding()).residuals(prediction, none)
    assert residuals.validity.tolist() == [0.0, 0.0]
    assert float(reduce(residuals)) == 0.0
    views.landmarks[1] = 3.0
    assert alignment(views)[1].tolist() == [1.0, 0.0]


def test_an_embedding_that_is_zero_has_no_infinite_slope(generator):
    views, prediction = seen(1, generator)
    prediction.image.requires_grad_()
    term = Perceptual(lambda x: 0.0 * x.flatten(1))
    energy = reduce(term.residuals(prediction, views), "abs")
    (gradient,) = torch.autograd.grad(energy, prediction.image)
    assert bool(torch.isfinite(gradient).all())


def test_gradient_by_finite_differences(generator):
    views, prediction = seen(1, generator)
    where = torch.randperm(SIZE * SIZE * 3, generator=generator)[:40]
    flat = prediction.image.flatten()
    chosen = flat[where].clone().requires_grad_()

    def energy(values):
        image = flat.index_put((where,), values).view_as(prediction.image)
        moved = SimpleNamespace(image=image, coverage=prediction.coverage)
        return reduce(Perceptual(SmallEmbedding()).residuals(moved, views), "abs")

    assert torch.autograd.gradcheck(energy, (chosen,))


def test_an_embedding_of_another_shape(generator):
    views, prediction = seen(2, generator)
    assert isinstance(SmallEmbedding(), Embedding)
    with pytest.raises(ValueError, match=r"embedding: expected \(2, E\), got \(2, 3, 112, 112\)"):
        Perceptual(lambda x: x).residuals(prediction, views)


def test_arcface_is_an_embedding(generator):
    torch.manual_seed(0)
    network = ArcFace(ArcFaceConfig(width=2, depths=(1, 1, 1, 1), embedding=8)).double().eval()
    views, prediction = seen(1, generator)
    residuals = Perceptual(network).residuals(prediction, views)
    assert 1e-3 < float(residuals.values.detach()) < 2.0


def test_photographs_are_embedded_once_for_the_same_views(generator):
    views, prediction = seen(2, generator)
    pictures = []

    def counted(images):
        pictures.append(images)
        return SmallEmbedding()(images)

    term = Perceptual(counted)
    first, again = term.residuals(prediction, views), term.residuals(prediction, views)
    assert torch.equal(first.values, again.values)
    assert len(pictures) == 3
    darker = replace(views, images=0.5 * views.images)
    other = term.residuals(prediction, darker)
    assert len(pictures) == 5
    expected = Perceptual(SmallEmbedding()).residuals(prediction, darker)
    assert torch.equal(other.values, expected.values)


@pytest.mark.parametrize("leaf", ["identity", "albedo_map"])
def test_another_face_is_farther_from_the_photographs_than_the_true_one(leaf):
    scene, truth = truth_scene()
    views, term = scene.windows(96), Perceptual(SmallEmbedding(cell=7))
    change = {"identity": 2.0, "albedo_map": torch.tensor([0.2, -0.1, 0.0])}[leaf]
    costs = []
    for amount in (0.0, 1.0, 2.0):
        state = truth.replace(**{leaf: getattr(truth, leaf) + amount * change})
        costs.append(float(reduce(term.residuals(scene.predict(state, 96), views), "abs")))
    assert costs[0] < 0.5 * costs[1] < 0.5 * costs[2]


def test_slope_reaches_the_shape_through_the_rendering():
    scene, truth = truth_scene()
    identity = (truth.identity + 2.0).requires_grad_()
    prediction = scene.predict(truth.replace(identity=identity), 96)
    residuals = Perceptual(SmallEmbedding(cell=7)).residuals(prediction, scene.windows(96))
    (gradient,) = torch.autograd.grad(reduce(residuals, "abs"), identity)
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient != 0).all())
