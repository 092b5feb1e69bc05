"""The GPU benchmark's batches, as far as a machine without a GPU can tell."""

from __future__ import annotations

from contextlib import nullcontext

import hrnfit
from benchmarks import gpu_batch, gpu_cases
from hrnfit.fit.capture import kind_of, named_captures


def test_subjects_are_different_rigs_with_a_name_each(data_dir):
    made = named_captures(gpu_batch.captures(gpu_cases.subjects(5, 64)))
    assert len({capture.name for capture in made}) == 5
    assert {kind_of(capture) for capture in made} == {"rig"}
    assert len({tuple(capture.images) for capture in made}) == 5


def test_the_bound_of_more_and_larger_photographs_is_larger(data_dir, monkeypatch):
    monkeypatch.setattr(gpu_batch, "total_bytes", lambda device: 80_000_000_000)
    small, large, more = (
        gpu_batch._bound(case, "cpu")
        for case in (
            gpu_cases.rig(64, "01"),
            gpu_cases.rig(96, "01"),
            gpu_cases.rig(64, "012"),
        )
    )
    assert small < large
    assert small < more


def test_processes_are_timed_after_one_subject_in_each(monkeypatch):
    batches: list[tuple[str, int]] = []
    monkeypatch.setattr(gpu_batch, "model_of", lambda name: name)
    monkeypatch.setattr(gpu_batch, "used", lambda device: 3 * gpu_batch.MIB)
    monkeypatch.setattr(
        hrnfit, "BatchProcesses", lambda count, model, device: nullcontext(f"{count} on {device}"),
        raising=False,
    )  # fmt: skip
    monkeypatch.setattr(
        hrnfit, "fit_batch",
        lambda some, processes, detector, on_error: batches.append((processes, len(some))),
        raising=False,
    )  # fmt: skip
    found = gpu_batch.in_processes(
        [hrnfit.Capture("a.png")] * 8, [1, 2, 8], "cuda:0", gpu_cases.Detected({})
    )
    assert list(found) == ["processes 4: 2", "processes 4: 8", "processes 6: 2", "processes 6: 8"]
    assert batches[:3] == [("4 on cuda:0", 4), ("4 on cuda:0", 2), ("4 on cuda:0", 8)]
    assert all(entry["peak_mib"] == 3 for entry in found.values())
