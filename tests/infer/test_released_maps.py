"""The released maps of a model, through the protocol: its own raster, operator and chart."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hrnfit.infer.convention import MapConvention
from hrnfit.infer.released_maps import released_maps
from hrnfit.model.deformation import deformation_operator
from hrnfit.render.texture import uv_interpolate, uv_raster
from tests.model.faces import small_model


def test_maps_of_a_model():
    """Sizes follow the arguments; deformation and offsets agree at the model's vertices."""
    model = small_model()
    maps: MapConvention = released_maps(model, size=32, deformation=8)
    posed = model.mean / 100.0
    assert maps.texture(torch.rand(3, 64, 64), posed).shape == (3, 32, 32)
    chart = uv_raster(model.uv, model.uv_faces, model.faces, 32, 32)
    want = uv_interpolate(posed, chart).permute(2, 0, 1)
    assert torch.allclose(maps.position_map(posed), want, atol=1e-6)

    along = torch.arange(8.0) / 100.0
    ramp = torch.stack([along.expand(8, 8), along[:, None].expand(8, 8), torch.ones(8, 8) / 100.0])
    ours = maps.deformation(ramp)
    sampling = deformation_operator(model.faces, model.uv, model.uv_faces, len(model.mean), 8)
    want = 100.0 * maps.vertex_offsets(ramp)
    error = (sampling(ours) - want).norm(dim=-1)
    copied = (sampling(100.0 * ramp.permute(1, 2, 0)) - want).norm(dim=-1)
    assert float(copied.median()) > 0.7  # half a texel of ramps of 1 mm per texel
    assert float(error.max()) < 0.3
    assert float(error.median()) < 0.1


def test_a_displacement_of_a_model_is_fitted_to_the_released_shading():
    """Finite all over the chart, of about the size of theirs, and not just theirs with a sign."""
    model = small_model()
    maps = released_maps(model, size=64, deformation=8)
    theirs = 0.003 * torch.sin(torch.arange(64.0) / 2.0).expand(1, 64, 64)
    one_sign = 100.0 * maps.sign * theirs[0] * maps.mask
    ours = maps.displacement(theirs, model.mean / 100.0)
    assert ours.shape == (64, 64)
    assert ours.dtype == torch.float32
    assert not ours[~maps.mask].any()
    assert float(ours.abs().max()) < 2.0 * 0.3
    assert float((ours - one_sign).abs().max()) > 0.03


def test_a_chart_made_before_is_taken_and_must_have_the_size():
    model = small_model()
    chart = uv_raster(model.uv, model.uv_faces, model.faces, 16, 16)
    assert released_maps(model, size=16, chart=chart).triangle is chart.triangle
    with pytest.raises(ValueError, match=r"chart: expected \(32, 32\), got \(16, 16\)"):
        released_maps(model, size=32, chart=chart)


def test_a_model_with_a_seam_is_refused():
    model = small_model()
    uv = torch.cat([model.uv, model.uv[:1]])
    seam = model.uv_faces.clone()
    seam[torch.nonzero(seam == 0)[0, 0]] = len(model.uv)
    with pytest.raises(ValueError, match="one place per vertex"):
        released_maps(dataclasses.replace(model, uv=uv, uv_faces=seam), size=16)
