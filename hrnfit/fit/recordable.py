"""Which scenes run as recordings."""

from __future__ import annotations

import torch

from hrnfit.fit.scene import Scene
from hrnfit.geometry.device_kernels import has_kernels


def recordable(scene: Scene) -> bool:
    """Whether stages of this scene run as recordings: on CUDA in float32, with a renderer that can be recorded."""
    if not has_kernels(scene.device) or scene.model.uv.dtype != torch.float32:
        return False
    from hrnfit.render.cuda import CudaRasterizer  # local: triton

    return isinstance(scene.rasterizer, CudaRasterizer)
