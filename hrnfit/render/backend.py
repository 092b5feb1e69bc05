"""Choose a renderer by name: the only place that knows which backends exist."""

from __future__ import annotations

import torch

from hrnfit.render.rasterizer import Rasterizer

BACKENDS = ("auto", "cpu", "reference", "nvdiffrast")


def rasterizer(name: str = "auto", device: str | torch.device = "cpu") -> Rasterizer:
    """The renderer `name` for tensors on `device`.

    `auto` takes `cpu` there and `nvdiffrast` on CUDA. Raises ValueError for a name or a device that
    does not fit, ImportError when an optional package is missing.
    """
    device = torch.device(device)
    if name not in BACKENDS:
        raise ValueError(f"renderer {name!r}: expected one of {', '.join(BACKENDS)}")
    if name == "auto":
        name = "cpu" if device.type == "cpu" else "nvdiffrast"
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
