"""The renderers that one suite tests: each with a device that it works on here, and how exact it is."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from hrnfit.render.backend import rasterizer
from hrnfit.render.rasterizer import Rasterizer

GPU = torch.cuda.is_available()


@dataclass(frozen=True)
class Case:
    """A renderer under test."""

    name: str
    device: str
    tolerance: float = 1e-5
    """Relative, of values and derivatives in float32."""
    other_pixels: float = 0.0
    """Share of pixels that may see another triangle: nvdiffrast rounds corners to 1/16 px."""

    def make(self) -> Rasterizer:
        """The renderer; `cuda` on the CPU runs in Triton's interpreter."""
        if self.name == "cuda" and self.device == "cpu":
            from hrnfit.render.cuda import CudaRasterizer

            return CudaRasterizer()
        return rasterizer(self.name, self.device)


def _param(case: Case, missing: str | None) -> Any:
    skip = pytest.mark.skipif(missing is not None, reason=missing or "")
    # the interpreter computes masked lanes, too
    quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning")
    return pytest.param(case, id=case.name, marks=[skip, quiet])


def _nvdiffrast() -> str | None:
    if not GPU:
        return "torch sees no CUDA device"
    return None if find_spec("nvdiffrast") else "the optional package nvdiffrast is not installed"


CUDA = _param(
    Case("cuda", "cuda" if GPU else "cpu"),
    None if find_spec("triton") else "the optional package triton is not installed",
)
EXACT = [_param(Case("reference", "cpu"), None), _param(Case("cpu", "cpu"), None), CUDA]
ALL = [*EXACT, _param(Case("nvdiffrast", "cuda", 1e-3, 0.015), _nvdiffrast())]
INTERPRETED = pytest.param(
    Case("cuda", "cpu"),
    id="cuda",
    marks=[
        pytest.mark.skipif(GPU, reason="kernels are compiled in this process"),
        pytest.mark.skipif(not find_spec("triton"), reason="triton is not installed"),
        pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    ],
)
DOUBLE = [_param(Case("reference", "cpu"), None), _param(Case("cpu", "cpu"), None), INTERPRETED]
"""Renderers that take float64 tensors on the CPU here: for bounds that float32 cannot keep."""
