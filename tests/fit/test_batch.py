"""Many subjects in one call: order, equality with single fits, errors by subject, nothing lost."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

import hrnfit
from hrnfit.fit import batch_terms, batch_work
from hrnfit.fit.batch_terms import Terms, UnfinishedError
from hrnfit.fit.batch_threads import InThreads
from hrnfit.fit.batch_work import BatchError, BatchInterrupted, BatchProgress
from hrnfit.fit.out_of_memory import OutOfMemoryError
from hrnfit.fit.recipe import recipe_from
from hrnfit.fit.result import FitResult
from tests.fit.small_scene import NAMES, face, rig

SKIN = {"name": "skin", "solver": "map", "free": ["deformation"], "size": 48, "texels": 48,
        "steps": 1, "offset": 0}  # fmt: skip
SMALL = recipe_from(
    {
        "name": "small",
        "resolution": {"deformation": 24, "displacement": 32, "albedo": 64},
        "stages": [SKIN],
    }
)


def capture(names: tuple[str, ...] = NAMES, name: str = "") -> hrnfit.Capture:
    """The small rig, or some of its views."""
    source = rig()
    return hrnfit.Capture(
        {n: source.images[n] for n in names},
        [c for c in source.cameras if c.name in names],
        masks={n: source.masks[n] for n in names},
        landmarks={n: source.landmarks[n] for n in names},
        name=name,
    )


def blind(name: str = "") -> hrnfit.Capture:
    """A subject whose fit fails: its landmarks are far from any face."""
    made = capture(name=name)
    assert isinstance(made.landmarks, dict)
    lost = {n: replace(m, points=m.points * 0.0 + 5000.0) for n, m in made.landmarks.items()}
    return replace(made, landmarks=lost)


def batch(captures: list[hrnfit.Capture], **changes: Any) -> list[Any]:
    given = {"model": face(), "recipe": SMALL, "device": "cpu"} | changes
    return hrnfit.fit_batch(captures, **given)


@cache
def single(one: hrnfit.Capture) -> FitResult:
    return hrnfit.fit(one.images, one.cams, masks=one.masks, landmarks=one.landmarks,
                      model=face(), recipe=SMALL, device="cpu")  # fmt: skip


THREE = [capture(name="all"), capture(NAMES[:2], "two"), capture(NAMES[1:], "others")]


@pytest.mark.parametrize("workers", [None, 3])
def test_results_are_those_of_single_fits_in_the_order_given(workers):
    found = batch(THREE, workers=workers)
    for one, result in zip(THREE, found, strict=True):
        alone = single(one)
        assert result.view_names == alone.view_names
        for level in ("coarse", "mid", "fine"):
            assert torch.equal(result.mesh(level).vertices, alone.mesh(level).vertices)
        assert torch.equal(result.maps.albedo, alone.maps.albedo)
        assert result.provenance == alone.provenance
        assert result.warnings == alone.warnings


def test_results_share_one_model():
    model = face()
    assert all(result.model is model for result in batch(THREE[1:], model=model, workers=2))


def test_a_subject_that_fails_leaves_the_others_alone():
    missing = hrnfit.Capture("no/such/photograph.png", name="gone")
    found = batch([blind("lost"), missing, THREE[0]], workers=2)
    assert isinstance(found[0], ValueError)
    assert "lie outside the" in str(found[0])
    assert isinstance(found[1], FileNotFoundError)
    assert str(found[1]).startswith("subject 'gone': no/such/photograph.png: no such image")
    assert isinstance(found[2], FitResult)


def test_on_request_the_first_failure_ends_the_batch_and_keeps_what_was_fitted():
    with pytest.raises(BatchError, match=r"subject 'lost': .* lie outside the") as caught:
        batch([THREE[1], blind("lost"), THREE[0]], on_error="raise")
    fitted, failed, left = caught.value.results
    assert isinstance(fitted, FitResult)
    assert isinstance(failed, ValueError)
    assert left is None


def test_faulty_input_ends_a_strict_batch_before_any_work(monkeypatch):
    monkeypatch.setattr(batch_work.BatchWork, "_fit", None)
    with pytest.raises(BatchError, match=r"subject 'subject_1': .*no such image"):
        batch([THREE[0], hrnfit.Capture("no/such/photograph.png")], on_error="raise")


def test_what_is_wrong_with_the_call_is_said_before_any_work():
    with pytest.raises(ValueError, match="two subjects are called 'all'"):
        batch([THREE[0], THREE[0]])
    with pytest.raises(ValueError, match="none given"):
        batch([])
    with pytest.raises(ValueError, match="'a/b' must have a name that a folder can have"):
        batch([capture(name="a/b")])
    with pytest.raises(ValueError, match="workers: expected at least 1, got 0"):
        batch(THREE, workers=0)
    with pytest.raises(ValueError, match="on_error"):
        batch(THREE, on_error="ignore")
    with pytest.raises(ValueError, match="save: given beside finish="):
        batch(THREE, save="out", finish=lambda name, result: name)
    with pytest.raises(FileNotFoundError, match="no such recipe"):
        batch(THREE, recipe="rigg")
    with pytest.raises(ValueError, match="expected auto, cpu, cuda or cuda:N"):
        batch(THREE, device="gpu")


def test_results_are_saved_as_they_come_and_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(FitResult, "save", lambda result, folder: folder / result.view_names[0])
    found = batch(THREE[1:], save=tmp_path, workers=2)
    assert found == [tmp_path / "two" / NAMES[0], tmp_path / "others" / NAMES[1]]


def test_where_nothing_can_be_saved_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_work.BatchWork, "_fit", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"save='.*file': .*file is a file; choose"):
        batch(THREE[:1], save=tmp_path / "file")
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "cameras.json").write_text("[]")
    with pytest.raises(FileExistsError, match=r"cameras\.json there would be overwritten"):
        batch(THREE[:2], save=tmp_path)


def test_finish_is_entered_by_one_worker_at_a_time_and_its_failure_keeps_the_result():
    inside, most = [], []

    def finish(name: str, result: FitResult) -> str:
        inside.append(name)
        most.append(len(inside))
        inside.remove(name)
        if name == "two":
            raise OSError("the disk is full")
        return name.upper()

    first, second, third = batch(THREE, finish=finish, workers=3)
    assert (first, third) == ("ALL", "OTHERS")
    assert isinstance(second, UnfinishedError)
    assert "subject 'two' was fitted, but the disk is full" in str(second)
    assert second.result is not None
    assert second.result.view_names == NAMES[:2]
    assert max(most) == 1


def test_progress_names_subject_and_stage_and_counts_the_finished():
    told: list[BatchProgress] = []
    batch(THREE[:2], progress=told.append, workers=2)
    ended = [p for p in told if p.step is None]
    assert sorted(p.done for p in ended) == [1, 2]
    assert {p.name for p in ended} == {"all", "two"}
    assert {p.step.stage for p in told if p.step is not None} == {"skin"}
    assert all(p.count == 2 for p in told)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_callback_that_fails_ends_the_batch(workers):
    def broken(step: BatchProgress) -> None:
        raise RuntimeError("no display")

    with pytest.raises(BatchError, match="progress: no display"):
        batch(THREE, progress=broken, workers=workers)


def test_an_interrupt_hands_over_what_is_finished():
    def interrupted(step: BatchProgress) -> None:
        if step.done == 1 and step.step is not None:
            raise KeyboardInterrupt

    with pytest.raises(BatchInterrupted, match="1 of 3 subjects") as caught:
        batch(THREE, progress=interrupted)
    first, *others = caught.value.results
    assert isinstance(first, FitResult)
    assert others == [None, None]


def test_an_error_of_no_subject_hands_over_what_is_finished(monkeypatch):
    def crew(self, workers, indices, *_):
        self.outcomes[indices[0]] = "fitted"
        raise RuntimeError("no stream")

    monkeypatch.setattr(batch_work.BatchWork, "_crew", crew)
    with pytest.raises(BatchError, match="no stream") as caught:
        batch(THREE)
    assert caught.value.results == ["fitted", None, None]


def test_an_interrupt_counts_what_finish_was_given():
    def interrupted(step: BatchProgress) -> None:
        if step.done == 1 and step.step is not None:
            raise KeyboardInterrupt

    with pytest.raises(BatchInterrupted, match="1 of 3 subjects") as caught:
        batch(THREE, progress=interrupted, finish=lambda name, _: name)
    assert caught.value.results == ["all", None, None]


def test_subjects_for_which_memory_was_short_are_repeated_alone(monkeypatch):
    true, met = batch_work.BatchWork._fit, threading.Barrier(2)
    asked: list[tuple[int, int]] = []

    def short(self, crew, fitter, shared, index):
        asked.append((index, threading.active_count()))
        if shared:
            met.wait(10)
        monkeypatch.setattr(batch_terms, "fit", refused if shared else fitted)
        true(self, crew, fitter, shared, index)

    def refused(*_: Any, **__: Any) -> FitResult:
        raise OutOfMemoryError("no room")

    alone = single(THREE[0])

    def fitted(*_: Any, **__: Any) -> FitResult:
        return alone

    monkeypatch.setattr(batch_work.BatchWork, "_fit", short)
    found = batch(THREE[:2], workers=2)
    assert all(isinstance(result, FitResult) for result in found)
    assert [index for index, _ in asked[2:]] == [0, 1]


class Finder:
    """A detector that must not be entered twice at once."""

    inside = 0

    def detect(self, image):
        self.inside += 1
        assert self.inside == 1
        found = next(
            rig().landmarks[n]
            for n in NAMES
            if torch.allclose(rig().images[n].float(), image, atol=1e-3)
        )
        self.inside -= 1
        return found


def test_a_detector_of_the_callers_own_is_asked_by_one_worker_at_a_time():
    given = [replace(one, landmarks=None) for one in THREE[:2]]
    found = batch(given, detector=Finder(), workers=2)
    for result, one in zip(found, THREE, strict=False):
        assert torch.equal(result.mesh("mid").vertices, single(one).mesh("mid").vertices)
        named = [r["name"] for r in result.provenance["licences"] if r["kind"] == "detector"]
        assert named == ["Finder"]


def test_on_a_gpu_the_first_of_each_kind_is_fitted_alone_and_once_for_all(monkeypatch):
    crews: list[tuple[int, list[int]]] = []

    def crew(self, workers, indices, shared):
        assert shared == (workers > 1)
        crews.append((workers, indices))
        for i in indices:
            self.outcomes[i] = ValueError("no face") if i == 0 else "fitted"

    monkeypatch.setattr(batch_work.BatchWork, "_crew", crew)
    model = replace(face())
    subjects = (*THREE, capture(NAMES[:1], "one"), replace(THREE[0], cams=None, name="free"))

    def run() -> list[Any]:
        terms, nothing = Terms("cuda:0"), [None] * len(subjects)
        place = InThreads(terms, (model, {}), torch.device("cuda", 0), Finder, False)
        return batch_work.BatchWork(subjects, place, None, False, nothing).run(3)

    run()
    assert crews == [(1, [0]), (1, [1]), (1, [3]), (1, [4]), (3, [2])]
    crews.clear()
    run()
    assert crews == [(3, [0, 1, 2, 3, 4])]
