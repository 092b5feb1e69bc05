"""A whole conversion: to another model and back, to a template, on disk and from the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import hrnfit
from hrnfit import cli
from hrnfit.fit.head_frame import T_world_head
from hrnfit.io.maps import read_exr
from hrnfit.io.mesh import Mesh, read_mesh, write_mesh
from hrnfit.transfer.convert import convert
from tests.model.faces import ibug_vertices, sheet
from tests.transfer.faces import COARSE, DENSE, egg, fitted


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of models and results; correspondences are kept in it too."""
    folder = tmp_path_factory.mktemp("transfer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HRNFIT_HOME", str(folder / "home"))
        yield folder


@pytest.fixture(scope="module")
def result(place):
    return fitted(egg(COARSE, "coarse_egg"), place)


@pytest.fixture(scope="module")
def converted(result):
    return convert(result, egg(DENSE, "dense_egg"))


def test_surfaces_agree_within_the_sag_of_the_triangles(converted, result):
    for level in ("coarse", "mid", "fine"):
        error = converted.errors[level]
        for way in (error.target_to_source, error.source_to_target):
            assert way.median < 0.15, level
            assert way.p95 < 0.6, level
        assert len(converted.mesh(level).vertices) == len(egg(DENSE).mean)
    assert converted.common.uncovered < 0.15
    assert converted.unit == "mm"


def test_coefficients_explain_the_surface_alone(converted, result):
    # both triangulations have the same modes, so the coefficients can say everything
    state = converted.result.state
    for level in ("coarse", "mid", "fine"):
        error = converted.result_errors[level]
        assert error.source_to_target.median < 0.25, level
    here, there = T_world_head(state)[0], T_world_head(result.state)[0]
    assert torch.allclose(here[:3, :3], there[:3, :3], atol=0.01)
    assert torch.allclose(here[:3, 3], there[:3, 3], atol=1.0)


def test_maps_follow_the_chart(converted, result):
    assert converted.albedo.shape == result.maps.albedo.shape
    # both charts are the same map of one surface, so the picture is nearly the same
    inside = converted.result.maps.albedo.sum(-1) > 0
    off = (converted.albedo - result.maps.albedo)[inside].abs()
    assert float(off.median()) < 0.02
    state = converted.result.state
    again = egg(DENSE).albedo(state.albedo)
    assert state.albedo_map.shape == (32, 32, 3)
    assert torch.isfinite(again).all()


def test_every_frame_is_carried_over(place):
    two = fitted(egg(COARSE, "coarse_egg"), place, frames=2)
    pose = two.state.pose.clone()
    pose[1, 3] += 30.0
    moved = tuple(
        replace(m, vertices=m.vertices + torch.tensor([30.0, 0, 0])) for m in two.meshes["mid"][1:]
    )
    two = replace(
        two,
        state=two.state.replace(pose=pose),
        meshes={**two.meshes, "mid": (two.meshes["mid"][0], *moved)},
    )
    found = convert(two, egg(DENSE, "dense_egg"), levels=["mid"])
    first, second = (found.mesh("mid", t).vertices for t in range(2))
    assert torch.allclose(second - first, torch.tensor([30.0, 0, 0]).expand_as(first), atol=0.05)
    found.save(place / "two")
    assert (place / "two" / "meshes" / "frame_1" / "mid.obj").is_file()
    assert not (place / "two" / "meshes" / "fine.obj").exists()


def test_a_saved_conversion_is_a_result_of_the_model_and_goes_back(converted, result, place):
    target = egg(DENSE, "dense_egg")
    hrnfit_file = place / "dense_egg.npz"
    from hrnfit.model.load import save_model

    save_model(target, hrnfit_file)
    there = convert(result, hrnfit_file)
    out = there.save(place / "there")
    document = json.loads((out / "conversion.json").read_text())
    assert document["errors"]["mid"]["target_to_source"]["median"] < 0.15
    assert document["provenance"]["model"]["name"] == "dense_egg"
    assert document["provenance"]["converted_from"]["model"]["name"] == "coarse_egg"
    assert sorted(document["files"]) == sorted(
        p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()
    )
    again = hrnfit.FitResult.load(out)
    assert torch.equal(again.state.identity, there.result.state.identity)
    assert len(again.mesh("mid", neutral=True).vertices) == len(target.mean)
    mesh = read_mesh(out / "meshes" / "mid.obj")
    assert torch.allclose(mesh.vertices, there.mesh("mid").vertices, atol=1e-3)
    assert read_exr(out / "maps" / "displacement.exr").shape == (32, 32)
    back = convert(out, place / "coarse_egg.npz", levels=["mid"])
    off = (back.mesh("mid").vertices - result.mesh("mid").vertices).norm(dim=1)
    assert float(off.median()) < 0.8
    back.save(out)  # an earlier conversion is replaced whole
    assert not (out / "meshes" / "fine.obj").exists()


def template(folder, scale):
    """A quad template with groups, in another unit, and its landmarks."""
    points, faces = sheet(*DENSE)
    path, marks = folder / "studio.obj", folder / "studio68.json"
    write_mesh(path, Mesh(points * scale, faces))
    marks.write_text(json.dumps(ibug_vertices(points).tolist()))
    return path, marks


def test_a_template_in_cm_comes_out_in_mm_in_its_own_file(result, tmp_path):
    path, marks = template(tmp_path, 0.1)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["g skin", *lines, "# end"]) + "\n")
    found = convert(result, path, landmarks=marks, levels="mid")
    assert found.unit == "cm"
    assert "is in cm" in found.warnings[0]
    assert any("no texture coordinates" in warning for warning in found.warnings)
    assert found.result is None
    assert found.albedo is None
    span = lambda x: x.amax(0) - x.amin(0)  # noqa: E731
    assert torch.allclose(
        span(found.mesh("mid").vertices), span(result.mesh("mid").vertices), atol=8
    )
    out = found.save(tmp_path / "out")
    text = (out / "meshes" / "mid.obj").read_text()
    assert "g skin" in text
    assert "# end" in text
    assert torch.allclose(
        read_mesh(out / "meshes" / "mid.obj").vertices, found.mesh("mid").vertices, atol=1e-3
    )
    assert not (out / "result.json").exists()


def test_wrong_input_is_told(result, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no such folder; give one that `hrnfit fit` wrote"
    ):
        convert(tmp_path / "none", "generic")
    with pytest.raises(FileNotFoundError, match=r"no result\.json in it"):
        convert(tmp_path, "generic")
    with pytest.raises(FileNotFoundError, match="did you mean 'generic'"):
        convert(result, "generik")
    with pytest.raises(ValueError, match="levels: expected some of coarse, mid, fine"):
        convert(result, "generic", levels=["low"])


def test_terms_of_both_models_hold(converted, result):
    named = [part["name"] for part in converted.provenance["licences"]]
    assert {"coarse_egg", "dense_egg"} <= set(named)
    assert converted.provenance["commercial_use"] is True
    closed = egg(DENSE, "dense_egg")
    closed = replace(closed, info=replace(closed.info, licence="research only", commercial=False))
    with pytest.raises(
        hrnfit.LicenceError, match=r"this conversion would use the model 'dense_egg'.*--to generic"
    ):
        convert(result, closed, commercial=True)
    studied = replace(result, model=replace(result.model, info=closed.info))
    with pytest.raises(
        hrnfit.LicenceError, match="the fit to convert would use the model 'dense_egg'"
    ):
        convert(studied, egg(DENSE, "open_egg"), commercial=True)


def test_a_fit_is_never_replaced_by_its_conversion(converted, tmp_path):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(FileExistsError, match="holds a fit"):
        converted.save(tmp_path)


def test_command_line(place, result, tmp_path, capsys):
    from hrnfit.fit.archive import save_archive
    from hrnfit.model.load import save_model

    save_archive(result, tmp_path / "fit", {})
    save_model(egg(DENSE, "dense_egg"), place / "dense_egg.npz")
    arguments = ["convert", str(tmp_path / "fit"), "--to", str(place / "dense_egg.npz")]
    cli.main([*arguments, "--level", "mid"])
    shown = capsys.readouterr().out
    assert "median mm" in shown
    assert "licences: commercial use permitted" in shown
    assert "model dense_egg" in (tmp_path / "fit_dense_egg" / "licences.txt").read_text()
    assert "has no counterpart on the fit" in shown
    assert (tmp_path / "fit_dense_egg" / "meshes" / "mid.glb").is_file()
    assert not (tmp_path / "fit_dense_egg" / "meshes" / "coarse.obj").exists()
    cli.main([*arguments, "--quiet", "--out", str(tmp_path / "quiet")])
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--out", str(tmp_path / "fit")])
    assert stop.value.code == 2
    assert "choose another folder" in capsys.readouterr().err
