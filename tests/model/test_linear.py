"""A linear model: sums of its bases, batched, and its restriction to landmarks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.model.face_model import FaceModel
from hrnfit.model.linear import enlarge, landmark_positions
from tests.model.faces import landmark_set, small_model


def test_satisfies_the_protocol():
    assert isinstance(small_model(), FaceModel)


def test_shape_by_hand():
    model = small_model()
    identity, expression = torch.zeros(4), torch.zeros(3)
    assert torch.equal(model.shape(identity, expression), model.mean)
    identity[2], expression[1] = 2.0, -0.5
    expected = model.mean + (2.0 * model.identity_basis[2] - 0.5 * model.expression_basis[1]).view(
        -1, 3
    )
    assert torch.allclose(model.shape(identity, expression), expected, atol=1e-4)


def test_batches_agree_with_single_calls_and_broadcast(generator):
    model = small_model()
    identity = torch.randn(4, generator=generator)
    expression = torch.randn(5, 2, 3, generator=generator)
    together = model.shape(identity, expression)
    assert together.shape == (5, 2, model.n_vertices, 3)
    assert torch.allclose(together[3, 1], model.shape(identity, expression[3, 1]), atol=1e-3)


def test_albedo_by_hand_and_enlarged():
    model = small_model()
    one = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
    assert torch.allclose(model.albedo(one), model.albedo_mean + model.albedo_basis[1])
    large = replace(model, albedo_mean=torch.full((64, 64, 3), 0.3))
    assert large.albedo(one).shape == (64, 64, 3)


def test_enlarging_keeps_texel_centres():
    ramp = ((torch.arange(8) + 0.5) / 8)[None, :, None].expand(8, 8, 3)
    fine = enlarge(ramp, 32)
    expected = (torch.arange(32) + 0.5) / 32
    assert torch.allclose(fine[5, 2:-2, 0], expected[2:-2], atol=1e-6)


def test_landmarks_lie_in_their_triangles(generator):
    model = small_model()
    marks = landmark_set(
        torch.tensor([0, 17, -1]), torch.tensor([[1.0, 0, 0], [0.2, 0.3, 0.5], [0, 0, 0]])
    )
    shapes = model.shape(torch.randn(2, 4, generator=generator), torch.zeros(3))
    found = landmark_positions(shapes, model.faces, marks)
    corners = shapes[1, model.faces[17].long()]
    assert torch.equal(found[:, 0], shapes[:, model.faces[0, 0].long()])
    assert torch.allclose(found[1, 1], torch.tensor([0.2, 0.3, 0.5]) @ corners, atol=1e-4)
    assert torch.equal(found[:, 2], torch.zeros(2, 3))


def test_gradients():
    model = small_model().to(torch.float64)
    inputs = (
        torch.randn(2, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 3, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(lambda i, e: model.shape(i, e)[:, ::97], inputs)
    albedo = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: model.albedo(a)[::5, ::5], (albedo,))


def test_cast_leaves_indices_alone():
    model = small_model().to(torch.float64)
    assert model.mean.dtype == model.landmarks["ibug68"].barycentric.dtype == torch.float64
    assert model.faces.dtype == torch.int32
    assert model.regions["lips"].dtype == torch.bool
    assert small_model().to("cpu").expression_names == model.expression_names


def test_messages():
    model = small_model()
    with pytest.raises(ValueError, match=r"identity: expected \(\.\.\., 4\).*got \(7,\)"):
        model.shape(torch.zeros(7), torch.zeros(3))
