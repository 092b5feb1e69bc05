"""Coefficients from places: known ones are found again, wrong places lose their say."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry.elastic import vertex_areas
from hrnfit.geometry.rotation import rotation_exp
from hrnfit.model.deformation import deformation_operator
from hrnfit.transfer.refit import refit, residual_map
from tests.transfer.faces import egg

IDENTITY = torch.tensor([0.8, -1.1, 0.6, 0.4])
EXPRESSION = torch.tensor([[0.5, 0.0, 0.3], [0.0, 0.7, 0.2]])


@pytest.fixture(scope="module")
def setting():
    """Model, places in two frames of another head, areas."""
    model = egg()
    shape = model.shape(IDENTITY[None].expand(2, -1), EXPRESSION)
    R = rotation_exp(torch.tensor([[0.1, -0.2, 0.05], [-0.3, 0.1, 0.0]]))
    places = shape @ R.mT + torch.tensor([[[5.0, -9, 30]], [[-4.0, 2, 10]]])
    areas = torch.from_numpy(vertex_areas(model.mean.double().numpy(), model.faces.long().numpy()))
    return model, places, areas, R


def test_known_coefficients_and_poses_are_found_again(setting):
    model, places, areas, R = setting
    found = refit(model, places, torch.ones(len(areas), dtype=torch.bool), areas)
    # the prior pulls a little
    assert torch.allclose(found.identity, IDENTITY, atol=0.02)
    assert torch.allclose(found.expression, EXPRESSION, atol=0.02)
    assert torch.allclose(found.T_source_target[:, :3, :3].float(), R, atol=1e-3)
    assert float((found.shape - places).norm(dim=-1).max()) < 0.1


def test_half_of_the_vertices_and_a_few_wrong_ones_are_enough(setting, generator):
    model, places, areas, _ = setting
    valid = torch.rand(len(areas), generator=generator) < 0.5
    wrong = torch.rand(len(areas), generator=generator) < 0.05
    spoilt = torch.where(wrong[:, None], places + 15.0, places)
    spoilt = torch.where(valid[:, None], spoilt, 1e3)  # what has no partner is never read
    found = refit(model, spoilt, valid, areas)
    assert torch.allclose(found.identity, IDENTITY, atol=0.15)
    assert torch.allclose(found.expression, EXPRESSION, atol=0.1)


def test_activations_stay_in_their_range(setting):
    model, _places, areas, _ = setting
    extreme = model.shape(IDENTITY[None], torch.tensor([[1.6, -0.4, 0.3]]))
    found = refit(model, extreme, torch.ones(len(areas), dtype=torch.bool), areas)
    assert float(found.expression.min()) >= 0.0
    assert float(found.expression.max()) <= 1.0


def test_the_map_holds_what_the_model_cannot_show(setting):
    model, places, areas, _ = setting
    bump = torch.exp(-(model.mean[:, :2] - torch.tensor([30.0, 0.0])).square().sum(1) / 300.0)
    carried = places + 4.0 * bump[:, None] * torch.tensor([0.0, 0.0, 1.0])
    valid = torch.ones(len(areas), dtype=torch.bool)
    found = refit(model, carried, valid, areas)
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, len(areas), 64)
    offset = operator(residual_map(found, carried, operator, valid))
    R = found.T_source_target[:, :3, :3].float()
    restored = found.shape.float() + offset @ R.mT
    assert float((restored - carried).norm(dim=-1).mean()) < 0.3
    assert float((found.shape - carried).norm(dim=-1).max()) > 1.0
