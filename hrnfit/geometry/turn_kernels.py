"""Triton kernels of rotation vectors: R = exp(w), the left Jacobian, and poses at tangents. The laws stand in
`rotation.py`; a program takes a block of vectors.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def _coefficients(squared, below):
    """sin(a) / a, (1 - cos a) / a^2 and (a - sin a) / a^3 of the squared angle."""
    q = squared
    small = q < below
    safe = tl.where(small, 1.0, q)
    angle = tl.sqrt(safe)
    sinc = tl.sin(angle) / angle
    half = angle / 2
    ratio = tl.sin(half) / half
    versine = 0.5 * ratio * ratio
    cubic = (1.0 - sinc) / safe
    first = 1.0 - q / 6.0 * (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0)))
    second = 0.5 - q / 24.0 * (1.0 - q / 30.0 * (1.0 - q / 56.0 * (1.0 - q / 90.0)))
    third = (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0 * (1.0 - q / 110.0)))) / 6.0
    first = tl.where(small, first, sinc)
    return first, tl.where(small, second, versine), tl.where(small, third, cubic)


@kernel
def _store(out, at, x, y, z, alpha, beta, mask):
    """eye + alpha K + beta K K of the cross-product matrix K, row by row."""
    tl.store(out + at, 1.0 - beta * (y * y + z * z), mask=mask)
    tl.store(out + at + 1, beta * (x * y) - alpha * z, mask=mask)
    tl.store(out + at + 2, beta * (x * z) + alpha * y, mask=mask)
    tl.store(out + at + 3, beta * (x * y) + alpha * z, mask=mask)
    tl.store(out + at + 4, 1.0 - beta * (x * x + z * z), mask=mask)
    tl.store(out + at + 5, beta * (y * z) - alpha * x, mask=mask)
    tl.store(out + at + 6, beta * (x * z) - alpha * y, mask=mask)
    tl.store(out + at + 7, beta * (y * z) + alpha * x, mask=mask)
    tl.store(out + at + 8, 1.0 - beta * (x * x + y * y), mask=mask)


@kernel
def turns(vectors, rotation, jacobian, count, below, BLOCK: tl.constexpr):
    """Rotation matrices (B, 3, 3) and left Jacobians (B, 3, 3) of rotation vectors (B, 3)."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < count
    x = tl.load(vectors + 3 * i, mask=mask, other=0.0)
    y = tl.load(vectors + 3 * i + 1, mask=mask, other=0.0)
    z = tl.load(vectors + 3 * i + 2, mask=mask, other=0.0)
    first, second, third = _coefficients(x * x + y * y + z * z, below)
    _store(rotation, 9 * i, x, y, z, first, second, mask)
    _store(jacobian, 9 * i, x, y, z, second, third, mask)


@kernel
def poses(tangents, references, out, count, below, BLOCK: tl.constexpr):
    """Homogeneous matrices (B, 4, 4) at tangents (B, 6) about references (B, 4, 4)."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < count
    x = tl.load(tangents + 6 * i, mask=mask, other=0.0)
    y = tl.load(tangents + 6 * i + 1, mask=mask, other=0.0)
    z = tl.load(tangents + 6 * i + 2, mask=mask, other=0.0)
    a, b, _ = _coefficients(x * x + y * y + z * z, below)
    r00, r01, r02 = 1.0 - b * (y * y + z * z), b * (x * y) - a * z, b * (x * z) + a * y
    r10, r11, r12 = b * (x * y) + a * z, 1.0 - b * (x * x + z * z), b * (y * z) - a * x
    r20, r21, r22 = b * (x * z) - a * y, b * (y * z) + a * x, 1.0 - b * (x * x + y * y)
    own = references + 16 * i
    to = out + 16 * i
    for k in tl.static_range(3):
        top = tl.load(own + k, mask=mask, other=0.0)
        middle = tl.load(own + 4 + k, mask=mask, other=0.0)
        low = tl.load(own + 8 + k, mask=mask, other=0.0)
        tl.store(to + k, r00 * top + r01 * middle + r02 * low, mask=mask)
        tl.store(to + 4 + k, r10 * top + r11 * middle + r12 * low, mask=mask)
        tl.store(to + 8 + k, r20 * top + r21 * middle + r22 * low, mask=mask)
    for k in tl.static_range(3):
        shift = tl.load(own + 4 * k + 3, mask=mask, other=0.0)
        moved = shift + tl.load(tangents + 6 * i + 3 + k, mask=mask, other=0.0)
        tl.store(to + 4 * k + 3, moved, mask=mask)
    for k in tl.static_range(4):
        tl.store(to + 12 + k, tl.where(k == 3, 1.0, 0.0) + tl.zeros_like(x), mask=mask)
