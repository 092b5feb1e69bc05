"""The page of `hrnfit models check`, and the command."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from hrnfit import cli_models
from hrnfit.fit.chart_picture import FLIPPED, chart_picture, checker
from hrnfit.fit.model_sheet import GAP, LARGE, PAPER, model_sheet
from hrnfit.model.load import save_model
from hrnfit.render.cpu import CpuRasterizer
from tests.model.faces import small_model


def test_a_page_shows_everything():
    model = small_model(identity=4, expression=3)
    page = model_sheet(model, CpuRasterizer(), "a title")
    assert page.shape[1] == 4 * LARGE + 5 * GAP
    assert page.dtype == np.uint8
    inked = (page != np.array(PAPER)).any(axis=2)
    for row in range(2):
        for column in range(4):
            top, left = 60 + row * (LARGE + 28), GAP + column * (LARGE + GAP)
            panel = inked[top : top + LARGE, left : left + LARGE]
            assert panel.mean() > 0.1, (row, column)
    assert inked[:36, :200].any()  # the title


def test_more_modes_need_more_room():
    rasterizer = CpuRasterizer()
    few = model_sheet(small_model(identity=1, expression=1), rasterizer)
    many = model_sheet(small_model(identity=8, expression=9), rasterizer)
    none = replace(
        small_model(),
        identity_basis=torch.zeros(0, 3 * small_model().n_vertices),
        expression_basis=torch.zeros(0, 3 * small_model().n_vertices),
        expression_names=(),
        landmarks={},
        albedo_basis=torch.zeros(0, 16, 16, 3),
    )
    heights = [len(page) for page in (model_sheet(none, rasterizer), few, many)]
    assert heights[0] < heights[1] < heights[2]


def test_an_expression_is_red_where_it_moves():
    """The page of a model whose only expression lifts the left half: red there and nowhere else."""
    model = small_model(identity=0, expression=1)
    lift = torch.zeros(model.n_vertices, 3)
    lift[model.mean[:, 0] > 0, 2] = 5.0
    page = model_sheet(replace(model, expression_basis=lift.reshape(1, -1)), CpuRasterizer())
    panel = page[-160:, GAP : GAP + 150].astype(int)
    red = (panel[..., 0] - panel[..., 2]) > 60
    assert red[:, 90:].mean() > 0.15  # the subject's left is on the right
    assert red[:, :60].mean() < 0.02


def test_charts_are_coloured_by_density_and_flips():
    model = small_model()
    assert not (chart_picture(model, model.mean, 64) == np.array(FLIPPED)).all(axis=2).any()
    uv = model.uv.clone()
    uv[:, 0] = torch.where(uv[:, 0] > 0.6, 1.2 - uv[:, 0], uv[:, 0])
    folded = chart_picture(replace(model, uv=uv), model.mean, 256).astype(int)
    pink = (folded[..., 0] > 150) & (folded[..., 1] < 90) & (folded[..., 2] > 120)
    assert pink.mean() > 0.05
    squares = checker(cells=2, size=8)
    assert squares.shape == (8, 8, 3)
    assert float(squares[0, 0].mean()) < float(squares[0, 7].mean())
    assert 0.0 <= float(squares.min()) <= float(squares.max()) <= 1.0


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    model = small_model()
    save_model(model, tmp_path / "sheet.npz")
    inside_out = replace(model, faces=model.faces.flip(1), uv_faces=model.uv_faces.flip(1))
    save_model(inside_out, tmp_path / "harmed.npz")
    return tmp_path


def test_the_command_writes_table_and_picture(home, capsys):
    with pytest.raises(SystemExit) as left:
        cli_models.main(["check", str(home / "harmed.npz")])
    assert left.value.code == 1
    shown = capsys.readouterr().out
    assert "sheet: 1 fail" in shown
    assert "counter-clockwise" in shown
    picture = cv2.imread(str(home / "harmed_check.png"))
    assert picture.shape[1] == 4 * LARGE + 5 * GAP


def test_the_picture_goes_where_it_is_told(home, capsys):
    cli_models.main(["add", "npz", "sheet.npz", "--name", "studio"])
    cli_models.main(["check", "studio"])  # nothing fails
    assert (home / "studio_check.png").is_file()  # here, not among the models
    cli_models.main(["check", "studio", "--picture", str(home / "other.png")])
    assert (home / "other.png").is_file()
    assert "other.png" in capsys.readouterr().out


def test_the_packaged_model_passes(home, capsys):
    cli_models.main(["check", "generic", "--picture", str(home / "generic.png")])
    assert "generic: 1 warn" in capsys.readouterr().out  # tongueOut moves nothing, having no tongue


def test_a_broken_file_is_a_finding(home, capsys):
    whole = (home / "sheet.npz").read_bytes()
    (home / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SystemExit) as left:
        cli_models.main(["check", "cut.npz"])
    assert left.value.code == 1
    assert "not readable" in capsys.readouterr().out
    assert not (home / "cut_check.png").exists()
