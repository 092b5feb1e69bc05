"""The benchmark of the networks: its files are what it says, its steps add up, and it says when answers differ."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from benchmarks import nets, nets_run
from benchmarks.nets_files import Sizes, hrn_network, write_checkpoints, write_photograph
from benchmarks.stopwatch import REST, Stopwatch
from hrnfit.importers.nets import add_network
from hrnfit.io.image import load_image
from hrnfit.model.load import save_model
from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.arcface import ArcFaceConfig
from hrnfit.nets.deretouch import DeretouchConfig
from hrnfit.nets.generator import GeneratorConfig
from hrnfit.nets.hrn import Hrn, HrnConfig
from hrnfit.observe.given import landmarks_by_name
from tests.model.faces import small_model


def small_sizes() -> Sizes:
    model = small_model()
    counts = (model.n_identity, model.n_expression, model.n_albedo)
    return Sizes(
        HrnConfig(
            AnalyzerConfig(*counts, width=2, depths=(1, 1, 1, 1)),
            GeneratorConfig(6, 3, width=2, blocks=1),
            GeneratorConfig(9, 1, width=2, blocks=1),
        ),
        DeretouchConfig(width=2),
        ArcFaceConfig(width=2, depths=(1, 1, 1, 1), embedding=4),
    )


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder as the benchmark prepares it, and the networks of a user who keeps all of them."""
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path / "full"))
    model = small_model()
    info = replace(model.info, kind="bfm09")  # whose coefficients HRN predicts
    model = replace(model, info=info)
    save_model(model, tmp_path / "model.npz")
    write_photograph(tmp_path, model, 320, 240)
    sizes = small_sizes()
    for kind, path in write_checkpoints(tmp_path, sizes).items():
        add_network(kind, path, config=getattr(sizes, kind))
    nets.write_own(tmp_path, sizes)
    return tmp_path


def test_steps_add_up_and_the_innermost_counts(monkeypatch):
    """By a clock that goes on by 1 whenever it is read."""
    ticks = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    watch = Stopwatch()  # 0
    with watch.step("outer"):  # 1
        with watch.step("inner"):  # 2
            pass  # 3
        watch.lap()  # 4
    watch.lap("import")  # 5, left the outer; 6
    assert watch.seconds == {REST: 1.0, "outer": 3.0, "inner": 1.0, "import": 1.0}


def test_functions_are_timed_while_watched_and_put_back(monkeypatch):
    module = ModuleType("timed_here")
    module.Box = type("Box", (), {"double": lambda self, x: 2 * x})  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "timed_here", module)
    box = module.Box
    before, watch = box.double, Stopwatch()
    with watch.watching({"doubling": ("timed_here:Box.double",)}):
        assert box().double(3) == 6
        assert box.double is not before
    assert box.double is before
    assert set(watch.seconds) == {REST, "doubling"}
    with (
        pytest.raises(AttributeError, match="halve"),
        watch.watching({"a": ("timed_here:Box.halve",)}),
    ):
        pass


def test_every_step_names_functions_that_exist():
    before = Hrn.deformation
    with Stopwatch().watching(nets_run.STEPS):
        assert Hrn.deformation is not before
    assert Hrn.deformation is before


def test_the_analyzer_answers_near_the_mean_face():
    network = hrn_network(small_sizes().hrn)
    with torch.no_grad():
        found = network.coefficients(torch.rand(1, 3, 224, 224))[0]
    assert 1e-3 < float(found.abs().max()) < 5.0
    assert float(found[-3:].abs().max()) < 0.2  # decimetres
    assert network.alpha.item() == pytest.approx(0.1)


def test_the_photograph_shows_the_face_where_its_landmarks_are(tmp_path):
    picture, marks = write_photograph(tmp_path, small_model(), 320, 240)
    image = load_image(picture).image
    points = landmarks_by_name([picture.stem], marks, [])[picture.stem].points
    assert image.shape == (320, 240, 3)
    assert bool((points > 20).all())
    assert bool((points[:, 0] < 220).all())
    nose = points[30].long()
    background, skin = image[4, 4], image[nose[1], nose[0]]
    assert (background - background.mean()).abs().max() < 0.01
    assert float(skin[0] - skin[2]) > 0.05  # redder than blue


def test_a_run_tells_every_step_and_repeats_itself(root):
    first, second = (nets_run.inference(root, str(root / "own.safetensors")) for _ in range(2))
    told = {"weights", "crop", "analyzer", "texture", "mid", "high", "deretouch", "model", "read"}
    assert told <= set(first["steps"])
    assert sum(first["steps"].values()) == pytest.approx(first["seconds"], abs=0.02)
    both = nets.middle([first | {"load": 0.0}, second | {"load": 0.0}])
    assert both["equal"]
    assert "digest" not in both
    other = nets.middle([first, second | {"digest": "another"}])
    assert not other["equal"]
    assert other["seconds"] in (first["seconds"], second["seconds"])


def test_a_fit_begins_with_the_networks_and_is_saved(root):
    found = nets_run.fitted(root, "hrn", root / "out")
    assert {"landmarks", "mask", "pose", "merge", "assemble", "save"} <= set(found["steps"])
    assert (root / "out" / "result.json").is_file()


def test_tables_hold_what_was_measured():
    run = {"seconds": 4.5, "cpu": 6.0, "peak_gb": 1.25, "steps": {"import": 2.0, "save": 1.5}}
    entries = {"fit/a": run | {"equal": True}, "inference/b": run | {"equal": False, "warm": 0.5}}
    added = {
        "checkpoint_mb": 370.0,
        "file_mb": 187.5,
        "seconds": 9.0,
        "peak_gb": 1.0,
        "load_s": 0.05,
    }
    text = nets.summary(entries | {"add/hrn": added})
    assert "3.00" in text  # without saving
    assert "NO" in text
    assert "0.050" in text
    assert "| import |" in text.replace("  ", "")
