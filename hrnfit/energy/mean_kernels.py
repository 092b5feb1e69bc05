"""Triton: the parts of energies and of their validities as means, their weighted sum, and gradients scaled by both."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def means(sums, layout, factors, found, BLOCK: tl.constexpr):
    """Of term `program_id(0)`: its energy, divided by its validity if that is weighed, to `found`; and its factor over
    its validity behind all energies. layout (terms, 3): first part, number of parts, weighed or not."""
    term, terms = tl.program_id(0), tl.num_programs(0)
    parts, weighed = tl.load(layout + 3 * term + 1), tl.load(layout + 3 * term + 2)
    own = sums + tl.load(layout + 3 * term)
    energy = tl.zeros([BLOCK], sums.dtype.element_ty)
    validity = energy
    first = 0
    while first < parts:
        at = first + tl.arange(0, BLOCK)
        energy += tl.load(own + at, mask=at < parts, other=0.0)
        validity += tl.load(own + parts + at, mask=at < parts * weighed, other=0.0)
        first += BLOCK
    below = tl.where(weighed > 0, tl.maximum(tl.sum(validity, 0), 1e-12), 1.0)
    tl.store(found + term, tl.sum(energy, 0) / below)
    tl.store(found + terms + term, tl.load(factors + term) / below)


@kernel
def weighed_sum(found, factors, terms, BLOCK: tl.constexpr):
    """The energies at the front of `found` times their factors, to its end."""
    at = tl.arange(0, BLOCK)
    energy = tl.load(found + at, mask=at < terms, other=0.0)
    energy *= tl.load(factors + at, mask=at < terms, other=0.0)
    tl.store(found + 2 * terms, tl.sum(energy, 0))


@kernel
def scale(grad, by, share, out, count, SHARED: tl.constexpr, BLOCK: tl.constexpr):
    """out = grad * by * share, two numbers on the device; without the second where not SHARED."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    factor = tl.load(by)
    if SHARED:
        factor *= tl.load(share)
    tl.store(out + at, tl.load(grad + at, mask=at < count, other=0.0) * factor, mask=at < count)


@kernel
def scale_two(grad, by, shares, out, count, BLOCK: tl.constexpr):
    """out = (grad[0] * shares[0] + grad[1] * shares[1]) * by."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    first = tl.load(grad + at, mask=at < count, other=0.0) * tl.load(shares)
    second = tl.load(grad + count + at, mask=at < count, other=0.0) * tl.load(shares + 1)
    tl.store(out + at, (first + second) * tl.load(by), mask=at < count)


@kernel
def scale_pixels(
    grad, by, colour, coverage, out, pixels,
    COLOUR: tl.constexpr, COVERAGE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = grad * by, times `colour` in the first three of four channels and `coverage` in the last; zero where there
    is no such number."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, 4)[None, :]
    first, last = tl.load(by) * 0.0, tl.load(by) * 0.0
    if COLOUR:
        first = tl.load(by) * tl.load(colour)
    if COVERAGE:
        last = tl.load(by) * tl.load(coverage)
    at, inside = 4 * pixel[:, None] + c, (pixel < pixels)[:, None]
    value = tl.load(grad + at, mask=inside, other=0.0) * tl.where(c < 3, first, last)
    tl.store(out + at, value, mask=inside)
