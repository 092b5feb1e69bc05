"""A head with joints: against 4 x 4 matrices vertex by vertex, its tangent, FLAME's own parameters, its file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit.model.face_model import FaceModel, forward_tangent, neutral
from hrnfit.model.flame import DEVIATIONS, FlameModel, FlameParameters, from_flame, to_flame
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.load import load_model, model_arrays, save_model
from hrnfit.model.validate import check_model_arrays
from tests.model.heads import flame_model, skinned


@pytest.fixture(scope="module")
def model() -> FlameModel:
    return flame_model().to(torch.float64)


def coefficients(model: FlameModel, seed: int, turns: float = 1.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    identity = torch.randn(model.n_identity, generator=generator, dtype=torch.float64)
    expression = torch.randn(model.n_expression, generator=generator, dtype=torch.float64)
    expression[model.unposed.n_expression :] *= turns
    return identity, expression


@pytest.mark.parametrize("seed", [0, 1])
def test_skinning_is_that_of_the_slow_reference(model, seed):
    identity, expression = coefficients(model, seed)
    modes, s = model.unposed.n_expression, model.skeleton
    surface = model.unposed.shape(identity, expression[:modes]).numpy()
    rotvecs = np.zeros((5, 3))
    units = expression[modes:].numpy().reshape(4, 3)
    rotvecs[1:] = units * np.array(list(DEVIATIONS.values()))
    posedirs = s.pose_basis.numpy().reshape(36, -1, 3).transpose(1, 2, 0)
    expected = skinned(surface, rotvecs, s.weights.numpy(), s.joint_regressor.numpy(), posedirs)
    assert np.abs(model.shape(identity, expression).numpy() - expected).max() < 1e-4


def test_a_turn_by_hand(model):
    """An eye that turns by a quarter carries its front to the side, about its own centre."""
    _, expression = coefficients(model, 0, 0.0)
    expression = torch.zeros_like(expression)
    at = model.expression_names.index("left_eye_y")
    expression[at] = (torch.pi / 2) / DEVIATIONS["left_eye"][1]
    still = replace(
        model, skeleton=replace(model.skeleton, pose_basis=0 * model.skeleton.pose_basis)
    )
    eye = model.skeleton.weights[:, 3] == 1.0
    before = neutral(still)[eye]
    after = still.shape(torch.zeros(3, dtype=torch.float64), expression)[eye]
    centre = before.mean(dim=0)
    front = int(before[:, 2].argmax())
    assert torch.allclose(before[front] - centre, torch.tensor([0.0, 0, 13]).double(), atol=1e-3)
    # +x is the subject's left
    assert torch.allclose(after[front] - centre, torch.tensor([13.0, 0, 0]).double(), atol=1e-3)


def test_a_jaw_that_opens_goes_down(model):
    expression = torch.zeros(model.n_expression, dtype=torch.float64)
    expression[model.expression_names.index("jaw_x")] = 2.0
    chin = int(model.skeleton.weights[:, 2].argmax())
    moved = model.shape(torch.zeros(3, dtype=torch.float64), expression) - neutral(model)
    assert float(moved[chin, 1]) < -5.0


@pytest.mark.parametrize("turns", [0.0, 1.0, 1e-7])
def test_tangent_agrees_with_forward_mode(model, turns):
    identity, expression = coefficients(model, 2, turns)
    own, other = model.tangent(identity, expression), forward_tangent(model, identity, expression)
    for a, b in zip(own, other, strict=True):
        assert bool(torch.isfinite(a).all())
        assert torch.allclose(a, b, atol=1e-9)


def test_gradients_at_rest_and_elsewhere(model):
    picked = torch.arange(0, len(model.skeleton.weights), 211)
    for turns in (0.0, 0.7):
        leaves = [x.requires_grad_() for x in coefficients(model, 3, turns)]
        assert torch.autograd.gradcheck(lambda i, e: model.shape(i, e)[picked], leaves)


def test_batches_broadcast(model):
    identity, expression = torch.randn(2, 1, 3).double(), torch.randn(4, 15).double()
    both = model.shape(identity, expression)
    assert both.shape == (2, 4, len(model.skeleton.weights), 3)
    assert torch.allclose(both[1, 2], model.shape(identity[1, 0], expression[2]))
    with pytest.raises(ValueError, match=r"expression: expected \(\.\.\., 15\)"):
        model.shape(identity, torch.zeros(14).double())


def test_at_rest_modes_move_the_head_as_they_are(model):
    """Joints follow a mode, and joints that do not turn carry nothing."""
    tangent = model.tangent(*(torch.zeros(n, dtype=torch.float64) for n in (3, 15)))
    basis = model.unposed.identity_basis.unflatten(1, (-1, 3))
    assert torch.allclose(tangent.identity, basis, atol=1e-9)


def test_names_kind_and_text(model):
    assert isinstance(model, FaceModel)
    assert model.expression_names[3:6] == ("neck_x", "neck_y", "neck_z")
    assert len(model.expression_names) == model.n_expression == 15
    assert not model.shape_is_linear
    assert len(repr(model)) < 200


def test_flames_own_parameters_go_both_ways(model):
    identity, expression = coefficients(model, 4)
    batch = (identity.expand(2, -1), expression.expand(2, -1))
    flame = to_flame(model, *batch)
    assert torch.allclose(flame.jaw_pose[0, 0], expression[6] * DEVIATIONS["jaw"][0])
    assert flame.eye_pose.shape == (2, 6)
    again = from_flame(model, flame)
    assert all(torch.allclose(a, b) for a, b in zip(again, batch, strict=True))


def test_fewer_parameters_are_the_first_ones(model):
    poses = (torch.zeros(3), torch.tensor([0.3, 0.0, 0.0]), torch.zeros(6))
    flame = FlameParameters(torch.tensor([1.0]), torch.tensor([0.5, 2.0]), *poses)
    identity, expression = from_flame(model, flame)
    assert identity.tolist() == [1.0, 0.0, 0.0]
    assert expression[:3].tolist() == [0.5, 2.0, 0.0]
    assert float(expression[6]) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="shape: 4 parameters, but the model has 3 modes"):
        from_flame(model, flame._replace(shape=torch.zeros(4)))


def test_a_jaw_that_stays_still(model):
    kept = replace(model.skeleton, turning=(1, 3, 4), deviation=model.skeleton.deviation[[0, 2, 3]])
    still = replace(model, skeleton=kept)
    assert still.n_expression == 12
    assert not any(name.startswith("jaw") for name in still.expression_names)
    flame = to_flame(still, torch.zeros(3).double(), torch.ones(12).double())
    assert flame.jaw_pose.tolist() == [0.0, 0.0, 0.0]
    opened = flame._replace(jaw_pose=torch.tensor([0.1, 0.0, 0.0]))
    with pytest.raises(ValueError, match=r"jaw: turns in these.*it turns neck, left_eye"):
        from_flame(still, opened)


def test_dtype_follows():
    model = flame_model()
    assert model.shape(torch.zeros(3), torch.zeros(15)).dtype == torch.float32
    double = model.to(torch.float64)
    assert double.skeleton.turning == model.skeleton.turning
    assert neutral(double).dtype == torch.float64


def test_a_file_keeps_the_joints(tmp_path):
    model = flame_model()
    save_model(model, tmp_path / "head.npz")
    again = load_model(tmp_path / "head.npz")
    assert isinstance(again, FlameModel)
    assert again.skeleton.turning == (1, 2, 3, 4)
    assert again.expression_names == model.expression_names
    identity, expression = (x.float() for x in coefficients(model, 5))
    found = again.shape(identity, expression)
    assert torch.allclose(found, model.shape(identity, expression), atol=0.03)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("skin_weights", None, "missing skin_weights, which model_type 'flame' needs"),
        ("skin_weights", lambda x: 0.5 * x, "skin_weights: rows must be shares that sum to 1"),
        ("joint_regressor", lambda x: x[:4], r"joint_regressor: expected.*\(5, "),
        ("joint_regressor", lambda x: 2.0 * x, "joint_regressor: rows must be means"),
        ("joint_parents", lambda x: x[::-1].copy(), "joint_parents: .*expected -1 for the root"),
        ("joint_parents", lambda x: x.astype(np.float32), "joint_parents: expected integers"),
        ("turning_joints", lambda x: x - 1, "turning_joints: .*from 1 to 4"),
        ("turn_deviation", lambda x: 0.0 * x, "turn_deviation: expected radians"),
        ("pose_basis", lambda x: x[:9], r"pose_basis: expected.*\(36, "),
        ("pose_basis", lambda x: x + np.float16(60000), "pose_basis: a corrective moves a vertex"),
        ("model_type", lambda x: np.array("cloth"), "model_type 'cloth', expected linear or flame"),
    ],
)
def test_broken_files_say_what_is_off(key, change, message):
    arrays = model_arrays(flame_model())
    if change is None:
        del arrays[key]
    else:
        arrays[key] = change(arrays[key])
    with pytest.raises(ModelFormatError, match=message):
        check_model_arrays(arrays, "file")


def test_files_without_the_key_are_linear():
    arrays = model_arrays(flame_model().unposed)
    assert str(arrays.pop("model_type")) == "linear"
    check_model_arrays(arrays, "file")
