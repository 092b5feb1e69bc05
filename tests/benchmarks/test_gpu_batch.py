"""The GPU benchmark's batches, as far as a machine without a GPU can tell."""

from __future__ import annotations

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
