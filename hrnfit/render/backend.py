"""Choose a renderer by name: the only place that knows which backends exist."""

from __future__ import annotations

import torch

from hrnfit.render.rasterizer import Rasterizer

BACKENDS = ("auto", "cpu", "reference", "nvdiffrast")


def chosen_backend(name: str, device: str | torch.device) -> str:
    """The backend that `name` stands for on a device: what `auto` takes there, else the name itself."""
    if name not in BACKENDS:
        raise ValueError(f"renderer {name!r}: expected one of {', '.join(BACKENDS)}")
    if name != "auto":
        return name
    return "cpu" if torch.device(device).type == "cpu" else "nvdiffrast"


def rasterizer(name: str = "auto", device: str | torch.device = "cpu") -> Rasterizer:
    """The renderer `name` for tensors on `device`.

    `auto` takes `cpu` there and `nvdiffrast` on CUDA. Raises ValueError for a name or a device that
    does not fit, ImportError when an optional package is missing.
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
    from hrnfit.render.nvdiffrast import NvdiffrastRasterizer

    return NvdiffrastRasterizer(device)
