"""FLAME files: releases, companions, licences, and what is said of those that are none."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hrnfit.geometry.uv import overlaps
from hrnfit.importers import flame_chart, flame_licence, flame_texture
from hrnfit.importers.flame_landmarks import PLACES, plausible
from hrnfit.importers.flame_licence import OPEN, Release
from hrnfit.importers.kinds import ImportOptions, checksums, import_model
from hrnfit.model.flame import FlameModel
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import landmark_positions
from tests.importers.python2_pickle import Ch, Select, dumps
from tests.importers.write_flame import (
    Raw,
    embedded,
    model_content,
    moving_jaw,
    raw_flame,
    reference,
    write_embeddings,
    write_texture,
)


@pytest.fixture(scope="module")
def raw() -> Raw:
    return raw_flame()


def written(folder: Path, raw: Raw, name: str = "generic_model.pkl", **changes) -> Path:
    """A model file with the embeddings beside it; keys given as None are left out."""
    content = model_content(raw) | changes
    path = folder / name
    path.write_bytes(dumps({k: v for k, v in content.items() if v is not None}))
    write_embeddings(folder, raw)
    return path


def imported(path: Path, **options) -> FlameModel:
    model = import_model("flame", path, "given", ImportOptions(**options))
    assert isinstance(model, FlameModel)
    return model


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


def test_a_chart_of_ours_where_no_file_brings_one(tmp_path, raw):
    model = imported(written(tmp_path, raw))
    assert overlaps(model.uv, model.uv_faces) == 0
    eyes = torch.from_numpy(raw.head.weights[:, 3:].sum(axis=1) == 1.0)
    assert torch.equal(model.regions["eyes"], eyes)
    assert not bool((model.regions["skin"] & eyes).any())
    assert bool(model.regions["lips"].any())


def test_texture_coordinates_of_a_template_mesh(tmp_path, raw):
    """The triangles of the mesh in another order and turned."""
    path = written(tmp_path, raw)
    own = imported(path)
    uv, ft = own.uv.numpy(), own.uv_faces.numpy()
    lines = [f"v {x} {y} {z}" for x, y, z in raw.head.points]
    lines += [f"vt {u} {1.0 - v}" for u, v in uv]
    order = np.random.default_rng(0).permutation(len(ft))
    for k, (f, t) in enumerate(zip(raw.head.faces[order], ft[order], strict=True)):
        corners = [f"{a + 1}/{b + 1}" for a, b in zip(np.roll(f, k), np.roll(t, k), strict=True)]
        lines.append("f " + " ".join(corners))
    template = tmp_path / "head_template_mesh.obj"
    template.write_text("\n".join(lines), encoding="utf-8")
    model = imported(path)
    assert torch.equal(model.uv_faces, own.uv_faces)
    assert torch.allclose(model.uv, own.uv, atol=1e-5)
    assert "head_template_mesh.obj" in dict(model.info.files)
    template.write_text("\n".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(
        ModelFormatError, match=r"head_template_mesh\.obj: \d+ triangles, but the model"
    ):
        imported(path)


def test_a_template_without_texture_coordinates_is_passed_over(tmp_path, raw):
    path = written(tmp_path, raw)
    own = imported(path)
    points = [f"v {x} {y} {z}" for x, y, z in raw.head.points]
    bare = [*points, *(f"f {a} {b} {c}" for a, b, c in raw.head.faces + 1)]
    (tmp_path / "head_template_mesh.obj").write_text("\n".join(bare), encoding="utf-8")
    model = imported(path)
    assert torch.equal(model.uv, own.uv)
    assert "head_template_mesh.obj" not in dict(model.info.files)
    lines = [*points, *(f"vt {0.5 * u} {1.0 - v}" for u, v in own.uv.numpy())]
    for f, t in zip(raw.head.faces + 1, own.uv_faces.numpy() + 1, strict=True):
        lines.append("f " + " ".join(f"{a}/{b}" for a, b in zip(f, t, strict=True)))
    (tmp_path / "head_template.obj").write_text("\n".join(lines), encoding="utf-8")
    model = imported(path)
    assert torch.allclose(model.uv, own.uv * torch.tensor([0.5, 1.0]), atol=1e-5)
    assert "head_template.obj" in dict(model.info.files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"v 0 0 0\n" + bytes(200), "has 1 vertices and 0 faces"),
        (b"v 0 0 0\nvt 0 0\nf 1/1 2/1 3/1\n", "not a valid OBJ"),
        (b"#" * 4000, "4000 bytes, more than the mesh needs"),
    ],
)
def test_broken_templates_say_what_is_off(content, message, tmp_path, raw, monkeypatch):
    monkeypatch.setattr(flame_chart, "LARGEST_TEMPLATE", 3000)
    path = written(tmp_path, raw)
    (tmp_path / "head_template.obj").write_bytes(content)
    with pytest.raises(ModelFormatError, match=rf"head_template\.obj: .*{message}"):
        imported(path)


def texture(folder: Path, **arrays) -> None:
    np.savez(folder / "FLAME_albedo_from_BFM.npz", **arrays)


def test_basel_colours_are_flat_and_blue_first(tmp_path, raw):
    path = written(tmp_path, raw)
    mean, modes = np.tile([0.1, 0.2, 0.4], 64 * 64), np.tile([[0.0], [0.0], [0.05]], (64 * 64, 1))
    texture(tmp_path, MU=mean, PC=modes)
    model = imported(path)
    found = model.albedo(torch.ones(1))[3, 5]
    red = ((0.4 + 0.055) / 1.055) ** 2.4
    slope = 2.4 / 1.055 * ((0.4 + 0.055) / 1.055) ** 1.4
    assert float(found[0]) == pytest.approx(red + 0.05 * slope, abs=1e-3)
    assert float(found[2]) == pytest.approx(((0.1 + 0.055) / 1.055) ** 2.4, abs=1e-4)


def test_dark_modes_follow_the_foot_of_the_curve(tmp_path, raw):
    """The foot ends at 0.04045 (IEC 61966-2-1), not before."""
    path = written(tmp_path, raw)
    texture(tmp_path, MU=np.full((64, 64, 3), 0.0403), PC=np.full((64, 64, 3, 1), 1.0))
    assert float(imported(path).unposed.albedo_basis[0, 3, 5, 0]) == pytest.approx(
        1 / 12.92, abs=2e-4
    )


def test_linear_albedo_stays_as_it_is(tmp_path, raw):
    path = written(tmp_path, raw)
    mean = np.tile([0.1, 0.2, 0.4], (64, 64, 1))
    texture(tmp_path, MU=mean, PC=0.1 * mean[..., None], specMU=mean, specPC=mean[..., None])
    model = imported(path)
    assert torch.allclose(model.albedo(torch.zeros(1))[0, 0], torch.tensor([0.4, 0.2, 0.1]))


def test_large_modes_are_averaged_down(tmp_path, raw, monkeypatch):
    monkeypatch.setattr(flame_texture, "BASIS", 32)
    path = written(tmp_path, raw)
    rng = np.random.default_rng(0)
    mean, modes = np.full((64, 64, 3), 0.5), 0.1 * rng.normal(size=(64, 64, 3, 2))
    for order in ("C", "F"):
        texture(tmp_path, MU=mean, PC=np.asarray(modes, order=order))
        basis = imported(path).unposed.albedo_basis
        slope = 2.4 / 1.055 * ((0.5 + 0.055) / 1.055) ** 1.4
        expected = slope * modes[2:4, 6:8, ::-1, 1].mean(axis=(0, 1))
        assert basis.shape == (2, 32, 32, 3)
        assert np.abs(basis[1, 1, 3].numpy() - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"MU": np.zeros((4, 4, 3))}, r"missing PC; it has MU"),
        ({"MU": np.zeros((4, 5, 3)), "PC": np.zeros((4, 5, 3, 1))}, "MU: .*expected a square"),
        ({"MU": np.zeros((4, 4, 3)), "PC": np.zeros((2, 4, 3, 1))}, "PC: shape .*expected 4 x 4 x 3"),
        ({"MU": np.full((4, 4, 3), np.nan), "PC": np.zeros((48, 1))}, "MU: expected colours in"),
        ({"MU": np.zeros((4, 4, 3)), "PC": np.full((48, 1), np.inf)}, "PC: a mode changes colour"),
        ({"MU": np.zeros((4, 4, 3)), "PC": np.zeros((48, 1)), "vt": np.zeros((3, 2)),
          "ft": np.zeros((7, 3), int)}, "ft: expected"),
    ],
)  # fmt: skip
def test_broken_textures_say_what_is_off(arrays, message, tmp_path, raw):
    path = written(tmp_path, raw)
    texture(tmp_path, **arrays)
    with pytest.raises(ModelFormatError, match=rf"FLAME_albedo_from_BFM\.npz: {message}"):
        imported(path)


def test_another_chart_does_not_fit(tmp_path, raw):
    path = written(tmp_path, raw)
    write_texture(tmp_path, raw)
    with np.load(tmp_path / "FLAME_texture.npz") as file:
        arrays = {key: file[key] for key in file.files}
    arrays["ft"] = arrays["ft"][::-1]
    np.savez(tmp_path / "FLAME_texture.npz", **arrays)
    with pytest.raises(ModelFormatError, match="lies at two vertices; it is another mesh"):
        imported(path)


def as_release(monkeypatch, path: Path, licence: str) -> None:
    """Let the file be a published one."""
    digest = dict(checksums([path]))[path.name]
    known = {digest: Release("FLAME of the test", licence)}
    monkeypatch.setattr(flame_licence, "RELEASES", known)


def test_an_unknown_file_is_not_for_commerce(tmp_path, raw):
    path = written(tmp_path, raw)
    info = imported(path).info
    assert not info.commercial
    assert "non-commercial" in info.licence
    assert "--licence cc-by-4.0" in info.note
    stated = imported(path, licence="CC-BY-4.0").info
    assert "CC-BY 4.0" in stated.licence
    assert not stated.commercial  # the embeddings beside it are not
    assert "flame_static_embedding.pkl" in stated.note


def test_the_open_release_is_known_by_its_checksum(tmp_path, raw, monkeypatch):
    path = written(tmp_path, raw)
    as_release(monkeypatch, path, OPEN)
    assert "CC-BY 4.0" in imported(path).info.licence
    as_release(monkeypatch, path, "non-commercial")
    with pytest.raises(
        ModelFormatError, match="this file is FLAME of the test, which is non-commercial"
    ):
        imported(path, licence="cc-by-4.0")
    with pytest.raises(
        ModelFormatError, match=r"licence 'mit': expected cc-by-4\.0 or non-commercial"
    ):
        imported(path, licence="mit")


def test_the_open_release_alone_may_be_sold():
    digest = next(k for k, release in flame_licence.RELEASES.items() if release.licence == OPEN)
    info = flame_licence.flame_info(digest, None, True, ())
    assert info.commercial
    assert "defamatory" in info.note
    for other in set(flame_licence.RELEASES) - {digest}:
        assert not flame_licence.flame_info(other, None, False, ()).commercial


def test_the_open_licence_is_not_taken_for_another_release():
    with pytest.raises(ValueError, match="holds supr_expression_metadata, which this file lacks"):
        flame_licence.flame_info("00", "cc-by-4.0", False, ())
    assert flame_licence.flame_info("00", "CC-BY-4.0", True, ()).commercial
