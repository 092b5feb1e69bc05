"""Choose a renderer by name: the only place that knows which backends exist."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from hrnfit.render.rasterizer import Rasterizer

BACKENDS = ("auto", "cpu", "cuda", "reference", "nvdiffrast")

MISSING_TRITON = (
    "the renderer 'cuda' needs the optional package triton (Linux, comes with torch for CUDA): "
    "pip install 'hrnfit[gpu]'; without it take the renderer 'cpu'"
)


def chosen_backend(name: str, device: str | torch.device) -> str:
    """The backend that `name` stands for on a device: what `auto` takes there, else the name itself."""
    if name not in BACKENDS:
        raise ValueError(f"renderer {name!r}: expected one of {', '.join(BACKENDS)}")
    if name != "auto":
        return name
    if torch.device(device).type == "cpu":
        return "cpu"
    return "cuda" if find_spec("triton") is not None else "nvdiffrast"


def rasterizer(name: str = "auto", device: str | torch.device = "cpu") -> Rasterizer:
    """The renderer `name` for tensors on `device`.

    `auto` takes `cpu` there and `cuda` on CUDA, or `nvdiffrast` where Triton is missing. Raises
    ValueError for a name or a device that does not fit, ImportError when an optional package is missing.
    """
    device = torch.device(device)
    name = chosen_backend(name, device)
    if name == "reference":
        from hrnfit.render.reference import ReferenceRasterizer

        return ReferenceRasterizer()
    needed = "cpu" if name == "cpu" else "cuda"
    if device.type != needed:
        raise ValueError(
            f"renderer {name!r} works on {needed}, not on {device}; "
            "choose another device or the renderer 'auto'"
        )
    if name == "cpu":
        from hrnfit.render.cpu import CpuRasterizer

        return CpuRasterizer()
    if name == "cuda":
        try:
            from hrnfit.render.cuda import CudaRasterizer
        except ModuleNotFoundError as error:
            raise ImportError(MISSING_TRITON) from error

        return CudaRasterizer()
    from hrnfit.render.nvdiffrast import NvdiffrastRasterizer

    return NvdiffrastRasterizer(device)
