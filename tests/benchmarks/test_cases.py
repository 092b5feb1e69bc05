"""Synthetic subjects can be held against the protocol."""

from __future__ import annotations

import numpy as np


def test_truth_of_a_synthetic_subject_is_measured_as_a_scan(data_dir):
    from benchmarks import cases, data

    case = cases.synthetic(data.model_of("ict"), 1, same_model=True, size=64)
    truth = case.truth
    assert truth.external.shape == (len(truth.vertices),)
    assert 0.1 < truth.external.mean() < 0.95
    points, normals, radius = data.protocol().scan_points(truth, "now", "area")
    assert 60 < radius < 130
    # the subject's own surface is where the scan is
    offset = np.linalg.norm(points - truth.landmarks.mean(0), axis=1)
    assert offset.max() < 1.5 * radius
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)
