"""Landmarks without their lens, kept by their numbers.

Newton's method on a lens takes 3 to 5 ms per view, and the start of a fit, its windows and the next fit of the same
photographs ask for the same points. How long it runs depends on all points of a call together, so only equal calls
have equal results, bit for bit; those alone are shared.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera

MOST = 256
"""Calls kept; 478 points take 8 kB."""


def undistorted(camera: Camera, points: Float[Tensor, "L 2"]) -> Float[Tensor, "L 2"]:
    """`camera.undistort` in float64 on the CPU. What gradients are asked of is not kept. Raises outside the
    lens model."""
    alone = camera.to(torch.float64, "cpu")
    pixels = points.cpu().double()
    asked = any(x.requires_grad for x in (pixels, alone.K, alone.distortion))
    if asked or alone.distortion.shape[0] == 0:
        return alone.undistort(pixels)
    named = (pixels, alone.K, alone.distortion)
    return _undistorted(*(x.detach().contiguous().numpy().tobytes() for x in named)).clone()


@lru_cache(maxsize=MOST)
def _undistorted(points: bytes, K: bytes, distortion: bytes) -> Tensor:
    pixels, matrix, lens = (
        torch.from_numpy(np.frombuffer(x).copy()) for x in (points, K, distortion)
    )
    pose = torch.eye(4, dtype=torch.float64)  # has no part in it, nor have height and width
    return Camera(matrix.view(3, 3), pose, lens, 1, 1, "").undistort(pixels.view(-1, 2))
