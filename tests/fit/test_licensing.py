"""What fits refuse, and what their results say they were made with: true for each, not a constant."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import hrnfit
from hrnfit.fit import fit as fit_module
from hrnfit.fit import licensing
from hrnfit.fit.licensing import (
    choose_device,
    detector_part,
    earlier_parts,
    licence_line,
    licence_record,
    licence_text,
    planned_parts,
    recorded_parts,
    solver_parts,
)
from hrnfit.fit.recipe import recipe_from
from hrnfit.fit.report import licence_table
from hrnfit.fit.result import FitResult, StageReport
from hrnfit.licences import LicenceError, Part, known_part
from hrnfit.model.face_model import ModelInfo
from hrnfit.render import backend
from hrnfit.solve.solver import Outcome
from tests.fit.small_scene import NAMES, face, rig

SKIN = {"name": "skin", "solver": "map", "free": ["deformation"], "size": 64, "texels": 48,
        "steps": 1, "offset": 0}  # fmt: skip
SHADING = {"name": "shading", "solver": "adam", "level": "mid", "free": ["deformation"], "size": 64,
           "steps": 1, "terms": {"deformation_size": {"weight": 1.0}}}  # fmt: skip


def document(*stages):
    sizes = {"deformation": 24, "displacement": 32, "albedo": 64}
    return {"name": "small", "resolution": sizes, "stages": list(stages)}


RESEARCH = ModelInfo("basel", "research only", False, "Basel")


def fit(*stages, names=NAMES, **changes) -> FitResult:
    source = rig()
    arguments = {
        "model": face(),
        "recipe": recipe_from(document(*stages)),
        "masks": {n: source.masks[n] for n in names},
        "landmarks": {n: source.landmarks[n] for n in names},
        "device": "cpu",
    } | changes
    cameras = [c for c in source.cameras if c.name in names]
    return hrnfit.fit({n: source.images[n] for n in names}, cameras, **arguments)


class Finder:
    """A detector that knows the answer, by the image's content."""

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, image):
        self.asked += 1
        return next(
            rig().landmarks[n]
            for n in NAMES
            if torch.allclose(rig().images[n].float(), image, atol=1e-3)
        )


class Stated(Finder):
    part = Part("studio net", "detector", "our own", "yes", "intranet", attribution="by us")


@pytest.fixture
def gpu(monkeypatch):
    """A machine that seems to have a GPU and nvdiffrast, but no Triton."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(backend, "find_spec", lambda module: None)
    monkeypatch.setattr(
        licensing, "is_installed", lambda part: part.name == "nvdiffrast" or part.needed
    )


@pytest.fixture
def untouched(monkeypatch):
    """Fails when anything is read: a refusal comes before."""

    def read(*_, **__):
        raise AssertionError("images were read")

    monkeypatch.setattr(fit_module, "load_views", read)


def named(result: FitResult, kind: str) -> list[str]:
    return [row["name"] for row in result.provenance["licences"] if row["kind"] == kind]


@pytest.fixture(scope="module")
def plain() -> FitResult:
    return fit(SKIN)


def test_a_fit_with_given_landmarks_records_no_detector(plain):
    provenance = plain.provenance
    assert named(plain, "detector") == []
    assert named(plain, "code") == ["hrnfit"]
    assert named(plain, "model") == ["sheet"]
    assert named(plain, "renderer") == ["cpu"]
    assert named(plain, "solver") == ["hrnfit solvers"]
    assert named(plain, "weights") == []
    assert provenance["commercial_use"] is True
    assert provenance["commercial_asked"] is False
    assert (
        licence_line(provenance)
        == "licences: commercial use permitted (hrnfit, sheet, cpu, hrnfit solvers)"
    )


def test_the_terms_lie_beside_the_meshes(plain, tmp_path):
    text = (plain.save(tmp_path / "out") / "licences.txt").read_text()
    assert text == licence_text(plain.provenance)
    assert "renderer cpu: Apache-2.0; commercial use: yes" in text
    assert f"model {plain.provenance['model']['name']}" in text
    old = {k: v for k, v in plain.provenance.items() if k != "licences"}
    folder = replace(plain, provenance=old).save(tmp_path / "out")
    assert not (folder / "licences.txt").exists()


def test_stages_that_did_not_run_are_not_recorded():
    both = fit(SKIN, SHADING)
    assert named(both, "solver") == ["hrnfit solvers", "torch.optim"]
    alone = fit(SHADING, SKIN, names=("cam_1",))  # one view: `skin` is left out
    assert [stage.name for stage in alone.stages] == ["landmarks", "shading"]
    assert named(alone, "solver") == ["hrnfit solvers", "torch.optim"]
    recipe = recipe_from(document(SKIN, SHADING))
    ran = [StageReport("skin", "mid", Outcome.CONVERGED, 1, 0.1)]
    assert [part.name for part in solver_parts(recipe, ran)] == ["hrnfit solvers"]


def test_a_detector_that_ran_is_recorded_with_its_terms():
    finder = Finder()
    result = fit(SKIN, landmarks=None, detector=finder)
    assert finder.asked == 3
    assert named(result, "detector") == ["Finder"]
    assert result.provenance["commercial_use"] is False
    assert "detector Finder: not stated" in licence_line(result.provenance)


def test_a_detector_that_was_not_needed_is_neither_recorded_nor_refused():
    finder = Finder()
    result = fit(SKIN, detector=finder, commercial=True)
    assert finder.asked == 0
    assert named(result, "detector") == []
    assert result.provenance["commercial_use"] is True
    assert result.provenance["commercial_asked"] is True


def test_the_usual_detector_is_mediapipe(monkeypatch):
    monkeypatch.setattr("hrnfit.fit.prepare.MediaPipeDetector", Stated)
    assert named(fit(SKIN, landmarks=None), "detector") == [
        "studio net"
    ]  # what ran, not what is usual
    assert detector_part(None) == known_part("detector", "MediaPipe")


def test_a_detector_without_terms_is_refused_and_one_with_terms_is_not():
    with pytest.raises(LicenceError, match=r"detector 'Finder'.*attribute `part`"):
        fit(SKIN, landmarks=None, detector=Finder(), commercial=True)
    result = fit(SKIN, landmarks=None, detector=Stated(), commercial=True)
    assert result.provenance["licences"][3] == {
        "kind": "detector",
        "name": "studio net",
        "licence": "our own",
        "commercial": "yes",
        "source": "intranet",
        "attribution": "by us",
    }


def test_a_model_for_research_is_recorded_and_with_commercial_refused(untouched, monkeypatch):
    basel = replace(face(), info=RESEARCH)
    with pytest.raises(LicenceError, match=r"the model 'basel'.*research only.*--model generic"):
        fit(SKIN, model=basel, commercial=True)
    monkeypatch.undo()
    result = fit(SKIN, model=basel)
    assert result.provenance["commercial_use"] is False
    assert "model basel: research only" in licence_line(result.provenance)


def test_the_renderer_of_a_gpu_is_refused_before_any_work(gpu, untouched):
    with pytest.raises(LicenceError, match=r"renderer 'nvdiffrast'.*instead use --device cpu"):
        fit(SKIN, device="cuda", commercial=True)
    with pytest.raises(LicenceError, match=r"model 'basel'.*; and the renderer 'nvdiffrast'"):
        fit(SKIN, model=replace(face(), info=RESEARCH), device="cuda", commercial=True)


def test_auto_with_commercial_stays_on_the_cpu_and_says_so(gpu):
    assert choose_device("auto") == (torch.device("cuda"), ())
    result = fit(SKIN, device="auto", commercial=True)
    assert result.provenance["device"] == "cpu"
    assert named(result, "renderer") == ["cpu"]
    assert any("the CPU renders" in w and "nvdiffrast" in w for w in result.warnings)


def test_auto_with_commercial_takes_a_gpu_with_our_renderer(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(backend, "find_spec", lambda module: object())
    monkeypatch.setattr(licensing, "is_installed", lambda part: part.name == "cuda")
    for commercial in (False, True):
        assert choose_device("auto", commercial) == (torch.device("cuda"), ())
    (renderer,) = (p for p in planned_parts(RESEARCH, "cuda", None) if p.kind == "renderer")
    assert (renderer.name, renderer.commercial) == ("cuda", "yes")


def test_auto_without_a_gpu_or_its_renderer_says_nothing(gpu, monkeypatch):
    monkeypatch.setattr(licensing, "is_installed", lambda part: part.needed)
    assert choose_device("auto", commercial=True) == (torch.device("cpu"), ())
    assert choose_device("auto") == (torch.device("cpu"), ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", commercial=True) == (torch.device("cpu"), ())
    with pytest.raises(ValueError, match="torch sees no CUDA GPU"):
        choose_device("cuda")


def test_a_start_hands_its_parts_on(plain):
    parts = (*recorded_parts(plain.provenance), known_part("renderer", "nvdiffrast"))
    made = replace(plain, provenance={**plain.provenance, **licence_record(parts, False)})
    again = fit(SKIN, start=made)
    assert named(again, "renderer") == ["cpu", "nvdiffrast"]
    assert again.provenance["commercial_use"] is False
    with pytest.raises(LicenceError, match="nvdiffrast"):
        fit(SKIN, start=made, commercial=True)
    assert named(fit(SKIN, start=plain, commercial=True), "renderer") == ["cpu"]


def test_results_from_before_records_load_and_tell_their_renderer(plain, tmp_path):
    folder = plain.save(tmp_path / "out")
    file = folder / "result.json"
    content = json.loads(file.read_text())
    assert content["provenance"]["commercial_use"] is True
    assert FitResult.load(folder).provenance["licences"] == plain.provenance["licences"]
    for key in ("licences", "commercial_use", "commercial_asked"):
        del content["provenance"][key]
    file.write_text(json.dumps(content))
    old = FitResult.load(folder)
    assert recorded_parts(old.provenance) == ()
    assert licence_line(old.provenance) == ""
    assert "Nothing was recorded" in licence_table(old.provenance)
    assert [part.name for part in earlier_parts(old.provenance)] == ["cpu"]
    assert [part.name for part in earlier_parts({"device": "cuda:0"})] == ["nvdiffrast"]
    assert earlier_parts({}) == ()


def test_a_record_survives_being_read_back_and_names_a_part_once():
    part = Part("net", "weights", "CC-BY-4.0", "yes", "there", note="n", attribution="by them")
    record = licence_record([part, part], True)
    assert recorded_parts(json.loads(json.dumps(record))) == (part,)
    assert len(record["licences"]) == 1
    assert record["commercial_asked"] is True
