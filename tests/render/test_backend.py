"""The choice of a renderer and its errors."""

from __future__ import annotations

import importlib.util

import pytest

from hrnfit.render.backend import rasterizer
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.reference import ReferenceRasterizer


def test_names():
    assert isinstance(rasterizer(), CpuRasterizer)
    assert isinstance(rasterizer("cpu"), CpuRasterizer)
    assert isinstance(rasterizer("reference", "cuda"), ReferenceRasterizer)


def test_errors_name_the_choices():
    with pytest.raises(ValueError, match="expected one of auto, cpu, reference, nvdiffrast"):
        rasterizer("opengl")
    with pytest.raises(ValueError, match="works on cpu, not on cuda"):
        rasterizer("cpu", "cuda")
    with pytest.raises(ValueError, match="works on cuda, not on cpu"):
        rasterizer("nvdiffrast", "cpu")


@pytest.mark.skipif(
    importlib.util.find_spec("nvdiffrast") is not None, reason="nvdiffrast is installed"
)
def test_missing_nvdiffrast_says_where_it_is_and_its_licence():
    with pytest.raises(ImportError, match=r"non-commercial.*github\.com/NVlabs/nvdiffrast"):
        rasterizer("nvdiffrast", "cuda")
