"""What Triton kernels read between the pixels of a map: bilinear, the border's values going on beyond it."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def between_pixels(plane, y, x, size, mask):
    """A plane (size, size) at y, x px from its first pixel's centre."""
    y, x = tl.minimum(tl.maximum(y, 0.0), size - 1.0), tl.minimum(tl.maximum(x, 0.0), size - 1.0)
    i, j = y.to(tl.int32), x.to(tl.int32)
    fy, fx = y - i, x - j
    below, right = tl.minimum(i + 1, size - 1), tl.minimum(j + 1, size - 1)
    top = (1.0 - fx) * tl.load(plane + i * size + j, mask=mask, other=0.0)
    top += fx * tl.load(plane + i * size + right, mask=mask, other=0.0)
    low = (1.0 - fx) * tl.load(plane + below * size + j, mask=mask, other=0.0)
    low += fx * tl.load(plane + below * size + right, mask=mask, other=0.0)
    return (1.0 - fy) * top + fy * low
