"""Triton: the parts of an energy and of its validity as a mean, and a gradient scaled by it."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def mean(sums, out, parts, WEIGHED: tl.constexpr, BLOCK: tl.constexpr):
    """sums (2, parts): energy over validity, and 1 over validity; not WEIGHED: (parts), the energy, and 1."""
    energy = tl.zeros([BLOCK], sums.dtype.element_ty)
    validity = energy
    first = 0
    while first < parts:
        at = first + tl.arange(0, BLOCK)
        energy += tl.load(sums + at, mask=at < parts, other=0.0)
        if WEIGHED:
            validity += tl.load(sums + parts + at, mask=at < parts, other=0.0)
        first += BLOCK
    inverse = tl.sum(energy, 0) * 0.0 + 1.0
    if WEIGHED:
        inverse = 1.0 / tl.maximum(tl.sum(validity, 0), 1e-12)
    tl.store(out, tl.sum(energy, 0) * inverse)
    tl.store(out + 1, inverse)


@kernel
def scale(grad, by, inverse, out, count, BLOCK: tl.constexpr):
    """out = grad * by * inverse, two numbers on the device."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    factor = tl.load(by) * tl.load(inverse)
    tl.store(out + at, tl.load(grad + at, mask=at < count, other=0.0) * factor, mask=at < count)
