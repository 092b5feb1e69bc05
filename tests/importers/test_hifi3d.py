"""What only the files of HIFI3D have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from hrnfit.geometry.uv import overlaps
from hrnfit.importers.hifi3d_files import IBUG_OF_86
from hrnfit.importers.kinds import ImportOptions, import_model
from hrnfit.importers.scale import decimal_unit, unit_by_eyes
from hrnfit.io.image import linear_from_srgb
from hrnfit.model.format_error import ModelFormatError
from tests.importers.write_hifi3d import write_hifi3d, write_hifi3d_maps, write_hifi3dpp


def changed(path, **arrays):
    content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")} | arrays
    savemat(path, {key: value for key, value in content.items() if value is not None})
    return path


def test_both_orders_of_coordinates_are_understood(tmp_path):
    (tmp_path / "other").mkdir()
    one = import_model("hifi3d", write_hifi3d(tmp_path).path, "x")
    two = import_model("hifi3d", write_hifi3d(tmp_path / "other", apart=False).path, "x")
    assert torch.allclose(one.mean, two.mean, atol=1e-3)
    assert torch.allclose(one.identity_basis, two.identity_basis, atol=1e-5)


def test_the_chart_is_the_file_s_own(tmp_path):
    written = write_hifi3d(tmp_path)
    model = import_model("hifi3d", written.path, "x")
    assert len(model.uv) > len(model.mean)  # torn along the middle
    assert overlaps(model.uv, model.uv_faces, 256) == 0
    eyes, chin = (model.landmarks["ibug68"].triangles[k].long() for k in (36, 8))
    assert model.uv[model.uv_faces[eyes].long(), 1].mean() < 0.5  # the forehead is up, v down
    assert model.uv[model.uv_faces[chin].long(), 1].mean() > 0.5


def test_the_mask_of_the_face_is_taken(tmp_path):
    written = write_hifi3d(tmp_path)
    whole = import_model("hifi3d", written.path, "x", ImportOptions(part="head"))
    mask = loadmat(written.path)["mask_face"].ravel()
    mask[np.argsort(-loadmat(written.path)["mu_shape"].reshape(3, -1)[1])[:200]] = 0  # the top
    path = changed(written.path, mask_face=mask[None])
    assert torch.equal(
        import_model("hifi3d", path, "x", ImportOptions(part="head")).faces, whole.faces
    )
    face = import_model("hifi3d", path, "x")
    assert face.n_vertices <= whole.n_vertices - 150
    with pytest.raises(ModelFormatError, match=r"mask_face: expected .* values"):
        import_model("hifi3d", changed(path, mask_face=mask[None, :9]), "x")


def test_the_face_of_hifi3dpp_may_lack_points_of_the_jaw(tmp_path):
    written = write_hifi3dpp(tmp_path)
    face = import_model("hifi3dpp", written.path, "x")
    absent = torch.nonzero(face.landmarks["ibug68"].triangles < 0)[:, 0].tolist()
    assert absent
    assert set(absent) <= set(range(17))
    head = import_model("hifi3dpp", written.path, "x", written.options)
    assert int((head.landmarks["ibug68"].triangles >= 0).sum()) == 68
    with pytest.raises(ValueError, match="part: expected face or head, got 'ears'"):
        import_model("hifi3dpp", written.path, "x", ImportOptions(part="ears"))


def test_albedo_maps_beside(tmp_path):
    written = write_hifi3d(tmp_path)
    mean, modes, at = write_hifi3d_maps(tmp_path)
    model = import_model("hifi3d", written.path, "x")
    assert model.n_albedo == 3
    assert [name for name, _ in model.info.files] == [
        written.path.name,
        "AI-NExT-Albedo-Global.mat",
    ]
    expected = linear_from_srgb(torch.from_numpy(mean).float())
    found = model.albedo_mean[at[:, 0], at[:, 1]]
    assert torch.allclose(found, expected, atol=1e-4)
    assert bool((model.albedo_mean[32:36, 200] > 0).all())  # filled beyond the border
    # a small step of a coefficient is a small step of the colours
    moved = linear_from_srgb(torch.from_numpy(mean + 0.05 * modes[0]).float())
    step = model.albedo(torch.tensor([0.05, 0.0, 0.0]))[at[:, 0], at[:, 1]] - found
    inner = (np.abs(at - [255, 255]) < [200, 180]).all(axis=1)
    assert float((step - (moved - expected))[inner].abs().median()) < 2e-4


def test_wrong_maps_are_refused(tmp_path):
    written = write_hifi3d(tmp_path)
    write_hifi3d_maps(tmp_path)
    maps = tmp_path / "AI-NExT-Albedo-Global.mat"
    places, sigma = (loadmat(maps)[key] for key in ("indices", "sigma"))
    changed(maps, sigma=np.ones((1, 2)))
    with pytest.raises(ModelFormatError, match="basis: expected 2 modes"):
        import_model("hifi3d", written.path, "x")
    places[0, 0] = 900
    changed(maps, sigma=sigma, indices=places)
    with pytest.raises(ModelFormatError, match="indices: 40 to 900, expected texels 0 to 511"):
        import_model("hifi3d", written.path, "x")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "basis_shape",
            np.zeros((2, 9)),
            r"basis_shape: expected \d+ numbers per mode, got \(2, 9\)",
        ),
        ("keypoints", np.zeros((1, 68)), "keypoints: expected 86 vertices"),
        ("tri", np.full((4, 3), -1), "tri: holds -1, but counting starts at 0"),
        ("tri_vt", np.zeros((4, 3)), "tri_vt: 4 triangles, but tri has"),
        ("vt_list", np.zeros((4, 3)), r"vt_list: expected \(T, 2\)"),
        ("mu_shape", np.zeros((1, 7)), "mu_shape: expected 3 numbers per vertex, got 7"),
        ("basis_exp", None, "missing basis_exp"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, key, value, sentence):
    path = changed(write_hifi3d(tmp_path).path, **{key: value})
    with pytest.raises(ModelFormatError, match=sentence):
        import_model("hifi3d", path, "x")


def test_order_of_the_86_points():
    assert len(set(IBUG_OF_86.tolist())) == 68
    assert IBUG_OF_86[:22].tolist() == list(range(22))  # jaw and the right brow's upper edge
    assert IBUG_OF_86[[30, 36, 45, 48, 54, 57]].tolist() == [54, 35, 46, 66, 70, 71]


def test_units_by_the_eyes():
    marks = np.zeros((68, 3))
    marks[45, 0] = 9.1
    assert decimal_unit(marks) == 10.0
    assert decimal_unit(marks / 100) == 1000.0
    with pytest.raises(ModelFormatError, match=r"5\.551 units apart, 90 mm in no usual unit"):
        decimal_unit(marks * 0.61)
    assert abs(unit_by_eyes(marks * 0.61) * 9.1 * 0.61 - 90.0) < 1e-9
    with pytest.raises(ModelFormatError, match="are 0 apart"):
        unit_by_eyes(marks * 0)
