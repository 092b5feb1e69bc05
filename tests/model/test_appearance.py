"""The smooth albedo basis."""

from __future__ import annotations

import pytest
import torch

from hrnfit.model.appearance import MEAN_SKIN, smooth_albedo


def test_mean_is_one_skin_colour_and_modes_fall_in_strength():
    mean, basis = smooth_albedo(count=80, size=32)
    assert torch.allclose(mean[3, 5], torch.tensor(MEAN_SKIN))
    strength = basis.flatten(1).norm(dim=1)
    assert basis.shape == (80, 32, 32, 3)
    assert strength[0] > 4 * strength[-1]


def test_modes_are_smooth():
    _, basis = smooth_albedo(count=60, size=64)
    step = basis.diff(dim=1).abs().amax(dim=(1, 2, 3)) / basis.abs().amax(dim=(1, 2, 3))
    assert step.max() < 0.5


def test_samples_are_plausible_skins(generator):
    mean, basis = smooth_albedo()
    samples = mean + torch.tensordot(torch.randn(200, 60, generator=generator), basis, dims=1)
    inside = ((samples > 0.0) & (samples < 1.0)).float().mean()
    assert inside > 0.9
    assert (samples[..., 0] > samples[..., 2]).float().mean() > 0.9  # skin reflects more red
    tone = samples.mean(dim=(1, 2, 3))
    assert tone.std() > 0.05  # people differ


def test_more_melanin_takes_more_blue_than_red():
    mean, basis = smooth_albedo(count=1)
    darker = (mean + basis[0]) / mean
    assert (darker[..., 2] < darker[..., 0]).all()
    assert darker[..., 0].max() < 1.0


@pytest.mark.parametrize("size", [8, 33])
def test_sizes(size):
    mean, basis = smooth_albedo(count=7, size=size)
    assert mean.shape == (size, size, 3)
    assert basis.shape == (7, size, size, 3)
