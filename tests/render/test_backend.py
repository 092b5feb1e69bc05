"""The choice of a renderer and its errors."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from hrnfit.render import backend
from hrnfit.render.backend import chosen_backend, rasterizer
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.reference import ReferenceRasterizer


def test_names():
    assert isinstance(rasterizer(), CpuRasterizer)
    assert isinstance(rasterizer("cpu"), CpuRasterizer)
    assert isinstance(rasterizer("reference", "cuda"), ReferenceRasterizer)


def test_errors_name_the_choices():
    with pytest.raises(ValueError, match="expected one of auto, cpu, cuda, reference, nvdiffrast"):
        rasterizer("opengl")
    with pytest.raises(ValueError, match="works on cpu, not on cuda"):
        rasterizer("cpu", "cuda")
    for name in ("nvdiffrast", "cuda"):
        with pytest.raises(ValueError, match="works on cuda, not on cpu"):
            rasterizer(name, "cpu")


def test_auto_takes_ours_on_cuda_where_triton_is(monkeypatch):
    assert chosen_backend("auto", "cpu") == "cpu"
    monkeypatch.setattr(backend, "find_spec", lambda module: object())
    assert chosen_backend("auto", "cuda:1") == "cuda"
    monkeypatch.setattr(backend, "find_spec", lambda module: None)
    assert chosen_backend("auto", "cuda:1") == "nvdiffrast"


def test_missing_triton_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "hrnfit.render.cuda", None)
    with pytest.raises(ImportError, match=r"pip install 'hrnfit\[gpu\]'"):
        rasterizer("cuda", "cuda")


@pytest.mark.skipif(
    importlib.util.find_spec("nvdiffrast") is not None, reason="nvdiffrast is installed"
)
def test_missing_nvdiffrast_says_where_it_is_and_its_licence():
    with pytest.raises(ImportError, match=r"non-commercial.*github\.com/NVlabs/nvdiffrast"):
        rasterizer("nvdiffrast", "cuda")
