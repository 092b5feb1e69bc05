"""HRN's chart, albedo maps, template and landmarks beside the Basel model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from hrnfit.importers import bfm09_extras
from hrnfit.importers.bfm09_extras import reduced_modes
from hrnfit.importers.kinds import ImportOptions, import_model
from hrnfit.importers.npy_file import map_npy
from hrnfit.model.format_error import ModelFormatError
from tests.importers.write_bfm09 import write_bfm09
from tests.importers.write_hrn_extras import write_extras

SIZE = 64


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A converted file, and its companions in a folder of their own."""
    folder = tmp_path_factory.mktemp("bfm")
    written = write_bfm09(folder)
    arrays = {k: v for k, v in loadmat(written.path).items() if not k.startswith("_")}
    write_extras(folder / "extras", arrays, SIZE)
    return written


@pytest.fixture
def extras(sound, tmp_path) -> Path:
    """A copy of the companions, to be spoilt."""
    return Path(shutil.copytree(sound.path.parent / "extras", tmp_path / "extras"))


def imported(sound, extras: Path | None):
    return import_model("bfm09", sound.path, "bfm", ImportOptions(extras=extras))


def test_chart_is_flipped_to_v_down(sound, extras):
    model = imported(sound, extras)
    uv = np.load(extras / "bfm_uvs2.npy")
    assert torch.allclose(model.uv[:, 0].double(), torch.tensor(uv[:, 0]))
    assert torch.allclose(model.uv[:, 1].double(), torch.tensor(1.0 - uv[:, 1]))
    # the forehead is at the top
    assert model.uv[model.mean[:, 1].argmax(), 1] < 0.2 < model.uv[model.mean[:, 1].argmin(), 1]


def test_maps_agree_with_the_colours_of_the_vertices(sound, extras):
    """Row 0 is v = 1: maps sampled in our chart give the colour of each vertex."""
    model = imported(sound, extras)
    assert model.albedo_mean.shape == (SIZE, SIZE, 3)
    assert model.albedo_basis.shape == (6, SIZE, SIZE, 3)
    at = (model.uv * SIZE).long().clamp(0, SIZE - 1)
    rng = np.random.default_rng(0)
    for a in (np.zeros(6), rng.normal(size=6)):
        expected = torch.tensor(sound.colour(a)).float()
        image = model.albedo(torch.tensor(a).float())
        right = (image[at[:, 1], at[:, 0]] - expected).abs().amax(dim=1)
        upside_down = (image.flip(0)[at[:, 1], at[:, 0]] - expected).abs().amax(dim=1)
        assert right.median() < 0.01
        assert right.max() < 0.06
        assert upside_down.median() > 5 * right.median()
    assert float(model.albedo_mean.min()) > 0.02  # black outside of the chart is filled


def test_same_albedo_as_from_the_vertices(sound, extras):
    """The basis they rasterised from the vertices is the one that we rasterise."""
    theirs = imported(sound, extras)
    (extras / "bfm_tex_mean2.npy").unlink()
    (extras / "bfm_texmap_base2.npy").unlink()
    ours = imported(sound, extras)
    assert ours.albedo_mean.shape[0] == 512
    a = torch.linspace(-1, 1, 6)
    small = torch.nn.functional.avg_pool2d(ours.albedo(a).permute(2, 0, 1), 512 // SIZE)
    assert (small.permute(1, 2, 0) - theirs.albedo(a)).abs().median() < 0.005


def test_modes_are_averaged_inside_only(sound, extras, monkeypatch):
    """Means of 2 x 2 texels, and of the ones inside where the border passes."""
    monkeypatch.setattr(bfm09_extras, "BASIS_SIZE", SIZE // 2)
    monkeypatch.setattr(bfm09_extras, "ROWS", 5)  # not a divisor of the rows
    model = imported(sound, extras)
    assert model.albedo_basis.shape == (6, SIZE // 2, SIZE // 2, 3)
    assert model.albedo_mean.shape == (SIZE, SIZE, 3)
    full = np.load(extras / "bfm_texmap_base2.npy").reshape(SIZE, SIZE, 3, 6)
    inside = np.load(extras / "bfm_tex_mean2.npy").max(axis=2) > 0
    small, some = reduced_modes(extras / "bfm_texmap_base2.npy", torch.tensor(inside))
    borders = 0
    for row in range(SIZE // 2):
        for column in range(SIZE // 2):
            cell = np.s_[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert bool(some[row, column]) == inside[cell].any()
            if inside[cell].any():
                expected = full[cell][inside[cell]].mean(axis=0).T / 255.0
                assert np.abs(small[:, row, column].numpy() - expected).max() < 1e-6
                borders += not inside[cell].all()
    assert borders > 20


def test_other_layouts_of_the_same_modes(sound, extras):
    """(H, W, 3, A), and written column by column."""
    path = extras / "bfm_texmap_base2.npy"
    flat = np.load(path)
    inside = torch.ones(SIZE, SIZE, dtype=torch.bool)
    expected, _ = reduced_modes(path, inside)
    np.save(path, flat.reshape(SIZE, SIZE, 3, 6))
    assert torch.equal(reduced_modes(path, inside)[0], expected)
    np.save(path, np.asfortranarray(flat))
    assert torch.equal(reduced_modes(path, inside)[0], expected)


def test_found_beside_the_file_and_in_the_folders_of_hrn(sound, tmp_path):
    root = tmp_path / "assets"
    (root / "template_mesh").mkdir(parents=True)
    (root / "bfm_albedo_map_basis").mkdir()
    shutil.copy(sound.path, root)
    source = sound.path.parent / "extras"
    for name in ("bfm_uvs2.npy", "template_bfm.obj"):
        shutil.copy(source / name, root / "template_mesh")
    for name in ("bfm_tex_mean2.npy", "bfm_texmap_base2.npy"):
        shutil.copy(source / name, root / "bfm_albedo_map_basis")
    model = import_model("bfm09", root, "bfm")
    assert model.albedo_mean.shape[0] == SIZE
    assert {name for name, _ in model.info.files} == {
        *("BFM_model_front.mat", "bfm_uvs2.npy", "template_bfm.obj"),
        *("bfm_tex_mean2.npy", "bfm_texmap_base2.npy"),
    }


def test_maps_upside_down_are_refused(sound, extras):
    path = extras / "bfm_tex_mean2.npy"
    np.save(path, np.load(path)[::-1])
    with pytest.raises(ModelFormatError, match=r"bfm_tex_mean2.npy: agrees .* upside down"):
        imported(sound, extras)


def test_maps_need_each_other(sound, extras):
    (extras / "bfm_uvs2.npy").unlink()
    with pytest.raises(ModelFormatError, match=r"bfm_tex_mean2.npy: needs bfm_uvs2.npy beside it"):
        imported(sound, extras)
    (extras / "bfm_tex_mean2.npy").unlink()
    with pytest.raises(ModelFormatError, match=r"needs bfm_uvs2.npy and bfm_tex_mean2.npy"):
        imported(sound, extras)


def test_wrong_arrays_are_refused(sound, extras):
    for name, wrong, says in (
        ("bfm_uvs2.npy", np.zeros((7, 2)), r"expected \(\d+, 2\), one place per vertex"),
        ("bfm_uvs2.npy", np.full_like(np.load(extras / "bfm_uvs2.npy"), 3.0), "places in 0..1"),
        ("bfm_tex_mean2.npy", np.ones((SIZE, SIZE + 1, 3)), "expected a square map"),
        ("bfm_tex_mean2.npy", np.full((SIZE, SIZE, 3), np.nan), "beyond 0..255 or NaN"),
        ("bfm_tex_mean2.npy", np.zeros((SIZE, SIZE, 3)), "black inside the chart"),
        ("bfm_texmap_base2.npy", np.zeros((SIZE, 6)), rf"expected \({3 * SIZE**2}, modes\)"),
        ("bfm_texmap_base2.npy", np.full((3 * SIZE**2, 2), 1e30), "beyond 255 or NaN"),
    ):
        sound_array = np.load(extras / name)
        np.save(extras / name, wrong)
        with pytest.raises(ModelFormatError, match=says) as caught:
            imported(sound, extras)
        assert name in str(caught.value)
        np.save(extras / name, sound_array)
    assert imported(sound, extras).n_albedo == 6


def test_a_template_of_another_mesh_is_refused(sound, extras):
    path = extras / "template_bfm.obj"
    lines = path.read_text(encoding="ascii").splitlines()
    path.write_text("\n".join([*lines[:-1], "f 1 2 3"]), encoding="ascii")
    with pytest.raises(ModelFormatError, match=r"triangles are not the \d+ of tri; .*take it out"):
        imported(sound, extras)
    path.write_text("\n".join(["v 0 0 0", *lines]), encoding="ascii")
    with pytest.raises(ModelFormatError, match=r"template_bfm.obj: \d+ vertices, expected"):
        imported(sound, extras)


def test_landmarks_of_another_model_are_refused(sound, extras):
    path = extras / "similarity_Lm3D_all.mat"
    lm = loadmat(path)["lm"]
    savemat(path, {"lm": lm[::-1]})
    with pytest.raises(ModelFormatError, match=r"lm lies .* mm off the model's landmarks"):
        imported(sound, extras)
    savemat(path, {"lm": lm * 100.0})  # mm
    with pytest.raises(ModelFormatError, match=r"at 0\.9\d* mm per unit|at 0\.909 mm per unit"):
        imported(sound, extras)
    savemat(path, {"lm": lm[:5]})
    with pytest.raises(ModelFormatError, match=r"lm: expected \(68, 3\)"):
        imported(sound, extras)


def test_damaged_npy_files_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(12.0).reshape(3, 4))
    sound = path.read_bytes()
    assert map_npy(path).tolist() == np.arange(12.0).reshape(3, 4).tolist()
    for harmed, says in (
        (sound[:-1], "needs 96 bytes, the file has 95"),
        (sound.replace(b"(3, 4)", b"(3, 9)"), "needs 216 bytes"),
        (sound.replace(b"(3, 4)", b"(-1,4)"), "bytes"),
        (sound[:20], "not a readable npy file"),
        (b"\x93NUMPY\x09\x00" + sound[8:], "not a readable npy file"),
        (b"text", "not a readable npy file"),
        (b"", "not a readable npy file"),
        (sound.replace(b"<f8", b"|O8"), "real numbers"),
    ):
        path.write_bytes(harmed)
        with pytest.raises(ModelFormatError, match=says):
            map_npy(path)
    np.save(path, np.zeros((0, 3)))
    with pytest.raises(ModelFormatError, match="is empty"):
        map_npy(path)
