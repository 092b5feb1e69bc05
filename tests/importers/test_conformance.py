"""What every imported model must do, whatever its file looked like.

Values against a slow reference that knows only the raw arrays, derivatives, batches, units, the order of
landmarks, and the way through our own file and back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from hrnfit.importers.kinds import KINDS, add_model, import_model
from hrnfit.model.face_model import FaceModel, forward_tangent
from hrnfit.model.linear import landmark_positions
from hrnfit.model.load import load_model
from tests.importers.write_bfm09 import write_bfm09, write_bfm09_raw
from tests.importers.write_bfm_hdf5 import write_bfm17, write_bfm19, write_bfm19_by_hand
from tests.importers.write_faceverse import write_faceverse, write_faceverse_v4
from tests.importers.write_flame import write_flame
from tests.importers.write_hifi3d import write_hifi3d, write_hifi3dpp
from tests.importers.write_ict import write_compact_ict, write_full_ict
from tests.importers.written import Written

WRITERS: dict[str, Callable[[Path], Written]] = {
    "ict": write_compact_ict,
    "ict-full": write_full_ict,
    "bfm09": write_bfm09,
    "bfm09_raw": write_bfm09_raw,
    "bfm17": write_bfm17,
    "bfm19": write_bfm19,
    "bfm19_by_hand": write_bfm19_by_hand,
    "faceverse": write_faceverse,
    "faceverse_v4": write_faceverse_v4,
    "hifi3d": write_hifi3d,
    "hifi3dpp": write_hifi3dpp,
    "flame": write_flame,
}


@dataclass(frozen=True)
class Case:
    written: Written
    model: FaceModel


@pytest.fixture(scope="module", params=list(WRITERS))
def case(request, tmp_path_factory) -> Case:
    written = WRITERS[request.param](tmp_path_factory.mktemp(request.param))
    return Case(written, import_model(written.kind, written.path, "given", written.options))


def coefficients(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    low, high = (0.0, 1.0) if case.model.expression_is_blendshape else (-1.5, 1.5)
    identity = rng.uniform(-1.5, 1.5, case.model.n_identity)
    return identity, rng.uniform(low, high, case.model.n_expression)


def shaped(model: FaceModel, identity: np.ndarray, expression: np.ndarray) -> torch.Tensor:
    return model.shape(torch.tensor(identity).float(), torch.tensor(expression).float())


def test_every_kind_is_written():
    assert set(KINDS) - {"npz"} <= set(WRITERS)  # a kind may have more rows than one


def test_sizes_and_protocol(case):
    model, written = case.model, case.written
    assert isinstance(model, FaceModel)
    assert model.n_identity == written.n_identity
    assert model.n_expression == written.n_expression == len(model.expression_names)
    if written.n_albedo is not None:
        assert model.n_albedo == written.n_albedo
    assert model.info.name == "given"
    assert model.info.kind == written.kind
    assert model.info.licence
    assert all(len(digest) == 64 for _, digest in model.info.files)
    assert written.path.name in [n for n, _ in model.info.files] or written.path.is_dir()


@pytest.mark.parametrize("seed", [0, 1])
def test_values_are_those_of_the_raw_arrays(case, seed):
    identity, expression = coefficients(case, seed)
    expected = case.written.shape(identity, expression)
    found = shaped(case.model, identity, expression).numpy()[: len(expected)]
    assert np.abs(found - expected).max() < case.written.tolerance


def test_one_coefficient_at_a_time(case):
    zero_id, zero_exp = np.zeros(case.model.n_identity), np.zeros(case.model.n_expression)
    for k in (0, case.model.n_identity - 1):
        one = zero_id.copy()
        one[k] = 1.0
        expected = case.written.shape(one, zero_exp) - case.written.shape(zero_id, zero_exp)
        moved = shaped(case.model, one, zero_exp) - shaped(case.model, zero_id, zero_exp)
        assert np.abs(moved.numpy()[: len(expected)] - expected).max() < case.written.tolerance


def test_batches_broadcast(case):
    model = case.model
    identity = torch.randn(2, 1, model.n_identity) * 0.5
    expression = torch.rand(3, model.n_expression) * 0.5
    both = model.shape(identity, expression)
    n = model.shape(identity[0, 0], expression[0]).shape[0]
    assert both.shape == (2, 3, n, 3)
    assert torch.allclose(both[1, 2], model.shape(identity[1, 0], expression[2]), atol=1e-3)
    wrong = torch.zeros(model.n_identity + 1)
    with pytest.raises(ValueError, match="identity: expected"):
        model.shape(wrong, expression[0])


def test_gradients_and_tangent(case):
    model = case.model.to(torch.float64)
    identity, expression = (torch.tensor(x) for x in coefficients(case, 2))
    tangent = model.tangent(identity, expression)
    assert torch.allclose(tangent.shape, model.shape(identity, expression))
    for name, rows in (("identity", tangent.identity), ("expression", tangent.expression)):
        for k in range(0, len(rows), max(1, len(rows) // 5)):
            step = torch.zeros(len(rows), dtype=torch.float64)
            step[k] = 1e-5
            sides = []
            for sign in (1.0, -1.0):
                moved = {"identity": identity, "expression": expression}
                moved[name] = moved[name] + sign * step
                sides.append(model.shape(**moved))
            numeric = (sides[0] - sides[1]) / 2e-5
            assert (rows[k] - numeric).abs().max() < 1e-5 * (1.0 + numeric.abs().max())


def test_tangent_agrees_with_forward_mode(case):
    model = case.model.to(torch.float64)
    identity, expression = (torch.tensor(x) for x in coefficients(case, 3))
    own, other = (
        model.tangent(identity, expression),
        forward_tangent(model, identity, expression),
    )
    for a, b in zip(own, other, strict=True):
        assert torch.allclose(a, b, atol=1e-8)


def test_gradient_reaches_every_coefficient(case):
    leaves = [
        torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in coefficients(case, 4)
    ]
    case.model.shape(*leaves).square().sum().backward()
    assert all(bool((leaf.grad != 0).all()) for leaf in leaves)


def test_a_head_is_as_tall_as_one(case):
    zero = shaped(case.model, np.zeros(case.model.n_identity), np.zeros(case.model.n_expression))
    extent = zero.amax(0) - zero.amin(0)
    assert 120.0 < extent[1] < 260.0
    assert 90.0 < extent[0] < 260.0


def test_faces_look_outwards(case):
    model = case.model
    zero = shaped(model, np.zeros(model.n_identity), np.zeros(model.n_expression))
    corners = zero[model.faces.long()]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    nose = zero[nearest_vertex(zero, torch.tensor(case.written.marks[30]).float())]
    near = (corners.mean(dim=1) - nose).norm(dim=1) < 40.0
    assert float(normal[near, 2].sum()) > 0.0


def nearest_vertex(points: torch.Tensor, place: torch.Tensor) -> int:
    return int((points - place).norm(dim=1).argmin())


def test_landmarks_in_ibug_order(case):
    model = case.model
    zero = shaped(model, np.zeros(model.n_identity), np.zeros(model.n_expression))
    found = landmark_positions(zero, model.faces, model.landmarks["ibug68"]).numpy()
    there = np.isfinite(case.written.marks[:, 0])
    present = model.landmarks["ibug68"].triangles.numpy() >= 0
    assert (present == there).all()
    assert np.abs(found[there] - case.written.marks[there]).max() < 0.05
    right_eye, left_eye, chin = found[36:42], found[42:48], found[8]
    assert right_eye[:, 0].mean() < 0 < left_eye[:, 0].mean()  # +x is the subject's left
    if there[8]:
        assert chin[1] < right_eye[:, 1].mean()


def test_chart_is_one_square(case):
    model = case.model
    assert model.uv.min() >= 0.0
    assert model.uv.max() <= 1.0
    assert model.uv_faces.shape == model.faces.shape


def test_albedo(case):
    model, written = case.model, case.written
    zero = torch.zeros(model.n_albedo)
    mean = model.albedo(zero)
    assert mean.shape[2] == 3
    assert float(mean.min()) >= 0.0
    assert float(mean.max()) <= 1.0
    if written.colour is None or model.n_albedo == 0:
        return
    a = np.random.default_rng(5).uniform(-1, 1, model.n_albedo)
    for value in (np.zeros(model.n_albedo), a):
        expected = torch.tensor(written.colour(value)).float()
        found = sampled(model.albedo(torch.tensor(value).float()), model)
        # the median vertex: beside the chart's border and at sharp seams filtering mixes colours
        assert (found - expected).abs().amax(dim=1).median() < written.colour_tolerance


def sampled(image: torch.Tensor, model: FaceModel) -> torch.Tensor:
    """The map at every vertex, nearest texel."""
    size = torch.tensor([image.shape[1], image.shape[0]])
    uv = torch.zeros(int(model.faces.max()) + 1, 2)
    uv[model.faces.long().flatten()] = model.uv[model.uv_faces.long().flatten()]
    at = (uv * size).long().minimum(size - 1).clamp_min(0)
    return image[at[:, 1], at[:, 0]]


def test_save_and_load(case, tmp_path, monkeypatch):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path))
    written = case.written
    _, target = add_model(written.kind, written.path, "kept", written.options)
    again = load_model("kept")
    assert target.is_file()
    assert type(again) is type(case.model)
    assert again.info.files == case.model.info.files
    assert again.info.commercial == case.model.info.commercial
    identity, expression = coefficients(case, 6)
    expected = shaped(case.model, identity, expression)
    assert (shaped(again, identity, expression) - expected).abs().max() < written.tolerance
    assert torch.equal(again.faces, case.model.faces)
    assert again.landmarks.keys() == case.model.landmarks.keys()
    a = torch.linspace(-1, 1, case.model.n_albedo)
    assert torch.allclose(again.albedo(a), case.model.albedo(a), atol=5e-3)


def test_dtype_follows(case):
    model = case.model.to(torch.float64)
    zeros = (torch.zeros(n, dtype=torch.float64) for n in (model.n_identity, model.n_expression))
    assert model.shape(*zeros).dtype == torch.float64
