"""Model files: what is written comes back, what is broken is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit.model import store
from hrnfit.model.load import list_models, load_model, model_arrays, save_model
from tests.model.faces import landmark_set, small_model


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_round_trip(tmp_path):
    model = small_model()
    marks = landmark_set(
        torch.tensor([3, -1, -1, -1, -1]), torch.tensor([[0.1, 0.2, 0.7], *[[0.0] * 3] * 4])
    )
    jaw = torch.full((17, 2), -1, dtype=torch.int32)
    pairs = torch.arange(model.n_vertices, dtype=torch.int32).flip(0)
    model = replace(
        model, landmarks=model.landmarks | {"five": marks}, jaw_contour=jaw, mirror=pairs
    )
    path = tmp_path / "deeper" / "model.npz"
    save_model(model, path)
    again = load_model(path)
    assert again.info == model.info
    assert again.expression_names == model.expression_names
    for name in ("mean", "faces", "uv", "uv_faces", "jaw_contour"):
        assert torch.equal(getattr(again, name), getattr(model, name)), name
    # float16 keeps 11 bits: half a thousandth of a mode of a few mm
    assert torch.allclose(again.identity_basis, model.identity_basis, rtol=1e-3, atol=1e-4)
    assert torch.allclose(again.albedo_basis, model.albedo_basis, rtol=1e-3, atol=1e-4)
    assert again.regions.keys() == model.regions.keys()
    assert all(torch.equal(again.regions[k], model.regions[k]) for k in model.regions)
    assert torch.equal(again.landmarks["five"].barycentric, marks.barycentric)
    assert again.landmarks["five"].triangles.tolist() == [3, -1, -1, -1, -1]
    assert again.mirror is not None
    assert torch.equal(again.mirror, pairs)
    assert [p.name for p in path.parent.iterdir()] == ["model.npz"]


def test_units_are_applied_on_loading(tmp_path):
    arrays = model_arrays(small_model())
    for key in ("mean", "identity_basis", "expression_basis"):
        arrays[key] = arrays[key] / 10
    np.savez(tmp_path / "cm.npz", **(arrays | {"mm_per_unit": np.array(10.0)}))
    model = load_model(tmp_path / "cm.npz")
    assert torch.allclose(model.mean, small_model().mean, atol=1e-3)
    assert torch.allclose(model.identity_basis, small_model().identity_basis, atol=5e-3)


def test_models_without_albedo_get_a_smooth_one(tmp_path):
    arrays = model_arrays(small_model())
    del arrays["albedo_mean"], arrays["albedo_basis"]
    np.savez(tmp_path / "bare.npz", **arrays)
    model = load_model(tmp_path / "bare.npz")
    assert model.n_albedo > 20
    assert 0.1 < model.albedo(torch.zeros(model.n_albedo)).mean() < 0.6


def _without(key):
    return lambda a: a.pop(key)


def _changed(key, value):
    return lambda a: a.__setitem__(key, value(a[key]))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_without("faces"), "missing faces"),
        (_changed("format", lambda x: np.array("other-2")), "format 'other-2', expected"),
        (_changed("mean", lambda x: x[:, :2]), r"mean: expected \(N, 3\)"),
        (
            _changed("identity_basis", lambda x: x[:, :-1]),
            r"identity_basis: expected \(I, \d+, 3\)",
        ),
        (_changed("expression_names", lambda x: x[:-1]), "one name per mode"),
        (_changed("faces", lambda x: x + 1), r"faces: values 1 to \d+, but there are \d+ vertices"),
        (_changed("uv_faces", lambda x: x[1:]), "one texture triangle per triangle"),
        (_changed("uv", lambda x: x * 3), r"uv: values .* expected one chart in \[0, 1\]"),
        (_changed("mean", lambda x: x * np.nan), "mean: .* NaN"),
        (_changed("mm_per_unit", lambda x: np.array(1000.0)), "check mm_per_unit"),
        (_changed("mm_per_unit", lambda x: np.array("x")), "mm_per_unit: expected one number"),
        (_changed("mm_per_unit", lambda x: np.ones(2)), "mm_per_unit: expected one number"),
        (_changed("faces", lambda x: x[:0]), "faces: is empty"),
        (_changed("albedo_mean", lambda x: x[:0]), "albedo_mean: is empty"),
        (_changed("landmarks_ibug68_barycentric", lambda x: x * np.nan), "barycentric: .* NaN"),
        (_changed("landmarks_ibug68_spread", lambda x: x * np.nan), "spread: .* NaN"),
        (
            _changed("expression_names", lambda x: x.astype(object)),
            "not a readable npz .it holds Python objects.; save plain arrays",
        ),
        (_changed("region_masks", lambda x: x[:-1]), "one boolean row per region name"),
        (_without("landmarks_ibug68_barycentric"), "landmarks_ibug68_barycentric is missing"),
        (_changed("landmarks_ibug68_barycentric", lambda x: x * 2), "rows must sum to 1"),
        (_changed("landmarks_ibug68_triangles", lambda x: x[:5]), "5 points, the scheme has 68"),
        (
            _changed("landmarks_ibug68_barycentric", lambda x: x + np.array([9, -5, -4])),
            "far outside",
        ),
        (_changed("landmarks_ibug68_spread", lambda x: x - 1), "standard deviation below 0"),
        (_changed("commercial", lambda x: np.array("no")), "commercial: expected one boolean"),
        (_changed("expression_is_blendshape", lambda x: np.array([True])), "expected one boolean"),
        (_changed("name", lambda x: np.array(3)), "name: expected one text"),
        (_changed("files", lambda x: np.array(["a"])), r"files: expected \(K, 2\)"),
        (_changed("albedo_basis", lambda x: x[:, :0]), "albedo_basis: is empty"),
        (_changed("region_names", lambda x: np.full_like(x, "lips")), "the same name twice"),
        (lambda a: a.update(mirror=np.zeros(len(a["mean"]), dtype=np.int32)), "not mirrored back"),
        (_changed("jaw_contour", lambda x: x[:5]), r"jaw_contour: expected \(17, K\)"),
    ],
)
def test_broken_files_are_named(tmp_path, harm, message):
    arrays = model_arrays(small_model())
    harm(arrays)
    np.savez(tmp_path / "broken.npz", **arrays)
    with pytest.raises(ValueError, match=rf"broken\.npz: .*{message}"):
        load_model(tmp_path / "broken.npz")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut short"])
def test_unreadable_files_are_one_sentence(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz: not a readable npz"):
        load_model(path)


def test_names_paths_and_the_nearest_name(home, tmp_path):
    save_model(small_model(), store.models_folder() / "studio.npz")
    assert store.models_folder().is_relative_to(home)
    assert list_models()["studio"] == home / "models" / "studio.npz"
    assert load_model("studio").info.name == "sheet"
    with pytest.raises(FileNotFoundError, match=r"did you mean 'studio'.*hrnfit models add"):
        load_model("studo")


@pytest.mark.parametrize(("name", "message"), [("a/b", "letters"), ("generic", "taken")])
def test_bad_names(name, message):
    with pytest.raises(ValueError, match=message):
        store.check_name(name)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"m\.npz: could not be written .*No space"):
        save_model(small_model(), tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []
