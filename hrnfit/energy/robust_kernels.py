"""Triton: the robust kernels of `energy/kernel.py` with their derivatives, for kernels that reduce an energy."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel

KINDS = {"square": 0, "abs": 1, "charbonnier": 1, "huber": 2, "geman_mcclure": 3, "cauchy": 4}
"""Number of each kernel of `energy.kernel.KERNELS` in `rho`."""


@kernel
def rho(r, KIND: tl.constexpr):
    """Value and derivative of a kernel at residuals."""
    s = r * r
    if KIND == 0:
        value, slope = s, 2.0 * r
    elif KIND == 1:
        root = tl.sqrt(s + 1e-4)  # the square of `kernel.SMOOTH_ABS`
        value, slope = s / (root + 1e-2), r / root
    elif KIND == 2:
        size = tl.abs(r)
        value = tl.where(size <= 1.0, s, 2.0 * size - 1.0)
        slope = tl.where(size <= 1.0, 2.0 * r, tl.where(r > 0, 2.0, -2.0))
    elif KIND == 3:
        value, slope = s / (1.0 + s), 2.0 * r / ((1.0 + s) * (1.0 + s))
    else:
        # log1p: 1 + s rounds, which its own logarithm over (1 + s) - 1 corrects
        up = 1.0 + s
        gone = up - 1.0
        value = tl.where(gone == 0.0, s, tl.log(up) * (s / tl.where(gone == 0.0, 1.0, gone)))
        slope = 2.0 * r / up
    return value, slope
