"""FLAME's companions for the chart and the albedo."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.geometry.uv import overlaps
from hrnfit.importers import flame_chart, flame_texture
from hrnfit.model.format_error import ModelFormatError
from tests.importers.flame_files import imported, texture, written
from tests.importers.write_flame import (
    Raw,
    raw_flame,
    write_texture,
)


@pytest.fixture(scope="module")
def raw() -> Raw:
    return raw_flame()


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
