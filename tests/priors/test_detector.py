"""How the detector errs: what the statistics recover, and one small run through the renderer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hrnfit.fit.detector_noise import FILE
from hrnfit.model.load import load_model
from hrnfit.observe.observation import Landmarks
from hrnfit.render.cpu import CpuRasterizer
from priors.detector.measure import (
    FLOOR,
    Errors,
    Population,
    centred,
    detector_errors,
    main,
    noise_model,
    regression_on_faces,
)

POINTS, FACES, COMMON, OWN, UNREPORTED = 478, 600, 3, 0.5, 0.15


@pytest.fixture(scope="module")
def synthetic() -> tuple[Errors, Tensor]:
    """Errors made of three smooth patterns, noise of each point, a share of the face, a shift per
    face and a bias per point; and the patterns (2 * POINTS, 3)."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    patterns = normal(POINTS, 2, COMMON) * torch.tensor([2.0, 1.5, 1.0])
    patterns = patterns - patterns.mean(0)  # a shift of the whole face is no pattern
    deviation = 3.0 * normal(FACES, POINTS, 2)
    marked = torch.einsum("nk,pck->npc", normal(FACES, COMMON), patterns)
    marked = marked + OWN * normal(FACES, POINTS, 2) - UNREPORTED * deviation
    marked = marked + 5.0 * normal(FACES, 1, 2) + 2.0 * normal(1, POINTS, 2)
    known = torch.ones(POINTS, dtype=torch.bool)
    known[468:] = False
    return Errors(marked, deviation, known), patterns


def test_covariance_of_known_patterns_is_recovered(synthetic):
    errors, patterns = synthetic
    basis, variance = noise_model([centred(errors, UNREPORTED)], [errors.known], COMMON)
    assert basis.shape == (POINTS, 2, COMMON)
    found, true = (b[:468].flatten(0, 1) for b in (basis, patterns - patterns[:468].mean(0)))
    error = found @ found.T - true @ true.T
    assert float(error.norm() / (true @ true.T).norm()) < 0.1  # 600 faces: 1 / sqrt(600) is 0.04
    assert float(variance[:468].mean()) == pytest.approx(OWN**2 + FLOOR**2, rel=0.03)
    assert float(basis[468:].abs().max()) == 0.0


def test_what_is_not_reported_is_found(synthetic):
    errors, _ = synthetic
    assert regression_on_faces(errors) == pytest.approx(UNREPORTED, abs=0.01)
    left = centred(errors, UNREPORTED)
    assert float(left.mean(0).abs().max()) < 1e-12
    assert float(left[:, errors.known].mean(1).abs().max()) < 1e-12


def test_models_that_lack_points_do_not_thin_out_the_others():
    """The same errors from two models; what only one of them has keeps its variance."""
    generator = torch.Generator().manual_seed(1)
    left = torch.randn(200, POINTS, 2, generator=generator, dtype=torch.float64)
    half = torch.arange(POINTS) < POINTS // 2
    both, variance = noise_model(
        [left, left * half[:, None]], [torch.ones(POINTS, dtype=torch.bool), half], 5
    )
    total = variance + both.square().sum(-1) - FLOOR**2
    assert torch.allclose(total, left.square().mean(0))


def test_a_detector_that_finds_nothing_is_named():
    with pytest.raises(ValueError, match=r"'generic': a face was found in 0 of 2 renders"):
        detector_errors(
            load_model("generic"), lambda image: None, CpuRasterizer(), 2, 0, Population(size=32)
        )


def test_error_is_in_mm_at_the_face_whatever_the_distance():
    """A detector that marks the middle of the picture: the points' own offsets, with their sign."""
    size = 64

    def middle(image: Tensor) -> Landmarks:
        return Landmarks(torch.full((POINTS, 2), size / 2), torch.ones(POINTS), "mediapipe478")

    model = load_model("generic")
    for distance in (600.0, 6000.0):
        seen = Population(0, yaw_deg=0.0, pitch_deg=0.0, distance=(distance, distance), size=size)
        errors = detector_errors(model, middle, CpuRasterizer(), 1, 4, seen)
        # FaceMesh: 10 top of the forehead, 152 chin, 33 and 263 outer eye corners
        assert float(errors.marked[0, 152, 1] - errors.marked[0, 10, 1]) < -120.0
        assert float(errors.marked[0, 263, 0] - errors.marked[0, 33, 0]) == pytest.approx(
            -90, abs=15
        )
        assert errors.marked.shape == errors.deviation.shape == (1, POINTS, 2)


def test_a_small_run_writes_the_format_of_the_library(tmp_path):
    pytest.importorskip("mediapipe")
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path in paths:
        main([str(path), "--faces", "5", "--seed", "3"])
    with np.load(paths[0]) as own, np.load(paths[1]) as again, np.load(FILE) as shipped:
        assert own["basis"].shape == (POINTS, 2, 4)  # five faces less their mean
        assert own["variance"].shape == shipped["variance"].shape
        for name in ("basis", "variance"):
            assert own[name].dtype == shipped[name].dtype
            assert np.array_equal(own[name], again[name])
        length = np.sqrt((np.square(own["basis"], dtype=float).sum((1, 2))).mean())
    assert 0.5 < length < 4.0  # mm
