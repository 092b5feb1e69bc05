"""Triton: Adam's update of one leaf, moments included, in one pass. `recorded_adam.plain_update` has the law."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def update(
    leaf, first, second, grad, table, step, rows, width, column, count, fresh, keep_squared, fresh_squared,
    epsilon, BLOCK: tl.constexpr,
):  # fmt: skip
    """Move a leaf by the rate in the table's row `step`. fresh, fresh_squared: 1 less the betas, rounded after the
    difference: in float32 that of 1 and 0.999 is off by 1.3e-5, and all second moments with it."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    row = table + tl.minimum(tl.load(step), rows - 1) * width
    rate, root = tl.load(row + column), tl.load(row + width - 1)
    g = tl.load(grad + at, mask=inside, other=0.0)
    m = tl.load(first + at, mask=inside, other=0.0)
    m = m + fresh * (g - m)
    v = keep_squared * tl.load(second + at, mask=inside, other=0.0) + fresh_squared * g * g
    x = tl.load(leaf + at, mask=inside, other=0.0)
    tl.store(first + at, m, mask=inside)
    tl.store(second + at, v, mask=inside)
    tl.store(leaf + at, x - rate * m / (tl.sqrt(v) / root + epsilon), mask=inside)
