"""What the GPU benchmarks fit and print, without a GPU."""

from __future__ import annotations

import torch

from benchmarks import data, gpu_cases, gpu_fit, gpu_summary
from hrnfit.observe.landmarks import MediaPipeDetector


def test_the_rig_at_half_size_keeps_its_geometry(data_dir):
    """A world point lies at half the pixel, and the photographs have the size that the cameras say."""
    whole, half = gpu_cases.rig(1024, "46"), gpu_cases.rig(512, "46")
    truth = torch.as_tensor(data.rig_truth().vertices[::500])
    for large, small in zip(whole.cameras, half.cameras, strict=True):
        assert torch.allclose(small.project(truth), large.project(truth) / 2)
        assert half.images[small.name].shape == (small.height, small.width, 3) == (512, 512, 3)
        assert half.masks[small.name].max() == 1


def test_subjects_differ_and_begin_with_the_rig(data_dir):
    several = gpu_cases.subjects(64, 64)
    assert len({tuple(s.images) for s in several}) == 64
    assert tuple(several[0].images) == tuple(f"cam_{i}" for i in gpu_cases.RIG)


def test_apart_measures_each_level():
    here = {"mid": torch.zeros(4, 3)}
    there = {"mid": torch.tensor([[0.0, 0, 0], [3, 4, 0], [0, 1, 0], [0, 0, 1]])}
    assert gpu_fit.apart(here, there)["mid"] == {"median": 1.0, "p95": 4.4, "largest": 5.0}


def test_the_median_of_runs_counts_a_missing_part_as_nothing():
    runs = [{"total": 1.0, "fuse": 0.5}, {"total": 3.0}, {"total": 2.0}]
    assert gpu_fit.middle(runs) == {"total": 2.0, "fuse": 0.0}


def test_the_page_shows_every_part():
    about = {"command": "c", "machine": {"cpu": "p", "gpu": "G"}, "torch": "2", "revision": "r"}
    fit = {
        "first": {"total": 9.0},
        "warm": {"total": 0.5, "init": 0.25},
        "accuracy": {"mean face": {"median": 1.0, "p95": 2.0}},
    }
    parts = {
        "cuda": {"rig": fit},
        "agreement": {"rig": {"mid": {"median": 0.001, "p95": 0.01, "largest": 1.0}}},
        "render": {"11k": {"cuda": {"all, graph": 0.9}, "nvdiffrast": {"missing": "why"}}},
        "iterations": {"Adam": 0.7},
        "batch": {"16": {"seconds": 4.0, "per_second": 4.0, "peak_mib": 3000}},
        "memory": {"five views": {"bound_mib": 900, "peak_mib": 800}},
    }
    page = gpu_summary.summary({name: about | {"figures": part} for name, part in parts.items()})
    for text in ("0.250", "1.000 / 2.00", "0.001", "0.900", "0.700", "4.00", "3000", "900"):
        assert text in page, text
    assert all(f"## {title}" in page for title in gpu_summary.SECTIONS)


def test_without_a_file_the_detector_is_mediapipe():
    assert isinstance(gpu_cases.detector(None, [64]), MediaPipeDetector)
