"""FLAME files: releases, landmarks, and what is said of those that are none."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit.importers.flame_landmarks import PLACES, plausible
from hrnfit.importers.flame_licence import OPEN
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import landmark_positions
from tests.importers.flame_files import as_release, imported, written
from tests.importers.python2_pickle import Ch, Select, dumps
from tests.importers.write_flame import (
    Raw,
    embedded,
    model_content,
    moving_jaw,
    raw_flame,
    reference,
    write_embeddings,
)


@pytest.fixture(scope="module")
def raw() -> Raw:
    return raw_flame()


def test_the_layout_of_2020_is_300_shapes_and_then_expressions(tmp_path, raw):
    wide = replace(raw, identity=np.concatenate([raw.identity] * 60))
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(dumps(model_content(wide, expressions_said=False)))
    write_embeddings(tmp_path, raw)
    model = imported(path)
    assert model.n_identity == 300
    assert model.n_expression == 4 + 12
    assert model.expression_names[:5] == (*(f"expression{k:02d}" for k in range(4)), "neck_x")
    path.write_bytes(dumps(model_content(raw, expressions_said=False)))
    with pytest.raises(ModelFormatError, match="shapedirs: 9 modes; expected 300 of shape"):
        imported(path)


def test_plain_arrays_of_python_3_give_the_same_model(tmp_path, raw):
    content = {k: v.x if isinstance(v, Ch) else v for k, v in model_content(raw).items()}
    old = imported(written(tmp_path, raw))
    path = tmp_path / "flame2023.pkl"
    path.write_bytes(pickle.dumps(content, protocol=4))
    new = imported(path)
    assert torch.equal(new.unposed.identity_basis, old.unposed.identity_basis)
    assert torch.equal(new.skeleton.joint_regressor, old.skeleton.joint_regressor)


def test_chumpy_selections_and_dense_regressors_are_read(tmp_path, raw):
    modes = model_content(raw)["shapedirs"].x
    chosen = Select(Ch(modes), np.arange(modes.size), modes.shape)
    path = written(tmp_path, raw, shapedirs=chosen, J_regressor=raw.head.regressor)
    identity = np.array([1.0, -1.0, 0.5, 0.0, 0.0])
    found = imported(path).shape(torch.tensor(identity).float(), torch.zeros(16))
    assert np.abs(found.numpy() - reference(raw)(identity, np.zeros(16))).max() < 0.01


def test_the_model_without_a_jaw_opens_by_its_expressions(tmp_path, raw):
    model = imported(written(tmp_path, raw, "flame2023_no_jaw.pkl"))
    assert model.n_expression == 4 + 9
    assert not any(name.startswith("jaw") for name in model.expression_names)
    assert "told by the name of the file, the jaw does not turn" in model.info.note
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=5), rng.normal(size=13)
    expected = reference(raw, ("neck", "left_eye", "right_eye"))(a, b)
    found = model.shape(torch.tensor(a).float(), torch.tensor(b).float())
    assert np.abs(found.numpy() - expected).max() < 0.01


def test_a_release_that_was_renamed_keeps_its_jaw(tmp_path, raw, monkeypatch):
    path = written(tmp_path, raw, "flame2023_no_jaw.pkl")
    as_release(monkeypatch, path, OPEN)
    model = imported(path)
    assert any(name.startswith("jaw") for name in model.expression_names)
    assert "jaw" not in model.info.note


def test_a_folder_means_its_model(tmp_path, raw):
    written(tmp_path, raw, "flame2023.pkl")
    names = [name for name, _ in imported(tmp_path).info.files]
    assert names == ["flame2023.pkl", "flame_dynamic_embedding.npy", "flame_static_embedding.pkl"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelFormatError, match=r"none of flame2023_Open\.pkl, .* in it"):
        imported(empty)


def test_companions_may_lie_elsewhere(tmp_path, raw):
    path = written(tmp_path, raw)
    aside = tmp_path / "aside"
    aside.mkdir()
    for file in tmp_path.glob("flame_*"):
        file.rename(aside / file.name)
    with pytest.raises(
        ModelFormatError, match=r"no landmarks for a mesh of \d+ vertices.*put landmark"
    ):
        imported(path)
    assert "ibug68" in imported(path, extras=aside).landmarks


def test_without_a_moving_jaw_its_points_are_missing(tmp_path, raw):
    path = written(tmp_path, raw)
    (tmp_path / "flame_dynamic_embedding.npy").unlink()
    marks = imported(path).landmarks["ibug68"]
    assert (marks.triangles[:17] == -1).all()
    assert (marks.triangles[17:] >= 0).all()


def test_the_jaw_slides_over_the_vertices_of_all_yaws(tmp_path, raw):
    contour = imported(written(tmp_path, raw)).jaw_contour
    triangles, weights, _ = embedded(raw)
    rows, shares = moving_jaw(raw, triangles, weights)
    expected = {
        int(raw.head.faces[t][w.argmax()]) for t, w in zip(rows[:, 8], shares[:, 8], strict=True)
    }
    assert set(contour[8].tolist()) - {-1} == expected
    front = raw.head.faces[triangles[8]][weights[8].argmax()]
    assert int(contour[8, 0]) == front


def test_decas_embedding_holds_all_of_it(tmp_path, raw):
    path = written(tmp_path, raw)
    old = imported(path)
    triangles, weights, places = embedded(raw)
    rows, shares = moving_jaw(raw, triangles, weights)
    for file in tmp_path.glob("flame_*"):
        file.unlink()
    content = {
        "static_lmk_faces_idx": triangles[17:],
        "static_lmk_bary_coords": weights[17:],
        "dynamic_lmk_faces_idx": torch.from_numpy(rows),
        "dynamic_lmk_bary_coords": torch.from_numpy(shares).float(),
        "full_lmk_faces_idx": triangles[None],
        "full_lmk_bary_coords": weights[None],
    }
    np.save(tmp_path / "landmark_embedding.npy", content, allow_pickle=True)  # pyright: ignore
    new = imported(path)
    found = landmark_positions(new.unposed.mean, new.faces, new.landmarks["ibug68"])
    assert np.abs(found.numpy() - places).max() < 0.01
    assert torch.equal(new.jaw_contour, old.jaw_contour)


def test_dense_points_take_their_places_among_478(tmp_path, raw):
    path = written(tmp_path, raw)
    triangles, weights, _ = embedded(raw)
    index = np.arange(68) * 7
    arrays = {"lmk_face_idx": triangles, "lmk_b_coords": weights, "landmark_indices": index}
    np.savez(tmp_path / "mediapipe_landmark_embedding.npz", **arrays)
    marks = imported(path).landmarks["mediapipe478"]
    assert marks.triangles.shape == (478,)
    assert torch.equal((marks.triangles >= 0).nonzero()[:, 0], torch.from_numpy(index))
    assert int(marks.triangles[7 * 30]) == int(triangles[30])
    np.savez(
        tmp_path / "mediapipe_landmark_embedding.npz", **arrays | {"landmark_indices": 9 * index}
    )
    with pytest.raises(ModelFormatError, match="landmark_indices: expected distinct numbers"):
        imported(path)


def test_an_embedding_of_another_mesh_is_refused(tmp_path, raw):
    path = written(tmp_path, raw)
    triangles, weights, _ = embedded(raw)
    static = tmp_path / "flame_static_embedding.pkl"
    far = {"lmk_face_idx": triangles[17:] + len(raw.head.faces), "lmk_b_coords": weights[17:]}
    static.write_bytes(dumps(far))
    with pytest.raises(
        ModelFormatError, match=r"but the model has \d+; it belongs to another mesh"
    ):
        imported(path)
    static.write_bytes(
        dumps({"lmk_face_idx": triangles[:16:-1].copy(), "lmk_b_coords": weights[17:]})
    )
    with pytest.raises(ModelFormatError, match="do not lie on a face"):
        imported(path)
    static.write_bytes(dumps({"lmk_face_idx": triangles[17:], "lmk_b_coords": 2 * weights[17:]}))
    with pytest.raises(ModelFormatError, match="weights: rows must sum to 1"):
        imported(path)


def test_published_places_are_rounded_weights_in_triangles_of_the_mesh():
    table = np.array(PLACES)
    assert table.shape == (68, 3)
    assert table[:, 0].max() < 9976
    assert table[:, 1:].min() >= 0
    assert table[:, 1:].sum(axis=1).max() <= 100


def test_a_face_is_told_from_its_points():
    raw = raw_flame()
    points = torch.from_numpy(raw.head.points[raw.head.marks])
    assert plausible(points)
    assert not plausible(points * torch.tensor([-1.0, 1.0, 1.0]))
    assert not plausible(points * torch.tensor([1.0, -1.0, 1.0]))
    assert not plausible(points / 1000.0)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("v_template", lambda x: 1000.0 * x, "v_template: .*lengths are metres"),
        ("v_template", lambda x: 0.1 * x, "v_template: .* m large, which is no head"),
        ("v_template", lambda x: x.astype(np.int32), "v_template: expected reals"),
        ("posedirs", lambda x: x[:, :, :9], r"posedirs: expected \(\d+, 3, 36\)"),
        ("weights", lambda x: x[:, :4], r"weights: expected \(\d+, 5\)"),
        ("weights", lambda x: 0.5 * x, "skin_weights: rows must be shares"),
        ("f", lambda x: x + 9000, "f: .*there are"),
        ("f", lambda x: x.astype(np.float64), "f: expected integers"),
        ("kintree_table", lambda x: x[::-1].copy(), "kintree_table: joints .*expected neck below"),
        ("J_regressor", lambda x: x[:3], r"J_regressor: expected \(5, "),
        ("supr_expression_metadata", lambda x: {"n_expr": 99}, "n_expr: 99, but shapedirs has 9"),
        ("shapedirs", lambda x: None, "missing shapedirs; a FLAME model .*has v_template"),
        ("shapedirs", lambda x: "text", "shapedirs: expected an array, got str"),
    ],
)  # fmt: skip
def test_what_is_off_is_said(key, change, message, tmp_path, raw):
    path = written(tmp_path, raw, **{key: change(model_content(raw)[key])})
    with pytest.raises(ModelFormatError, match=message) as caught:
        imported(path)
    assert "generic_model.pkl" in str(caught.value)


def test_another_pickle_is_no_model(tmp_path):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ModelFormatError, match="it holds a list; a FLAME model is a dictionary"):
        imported(path)
