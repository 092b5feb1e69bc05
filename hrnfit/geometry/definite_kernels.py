"""The inverse of one small symmetric positive definite system inside a Triton kernel.

A library's Cholesky factor of 64 unknowns with its two triangular solutions takes an H100 0.3 ms, mostly waiting.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def eliminated(A, M, MP: tl.constexpr):
    """Inverse of the symmetric positive definite upper left M x M of A; not finite where it is not definite."""
    r, c = tl.arange(0, MP)[:, None], tl.arange(0, MP)[None, :]
    for p in range(0, M):
        row = tl.sum(tl.where(r == p, A, 0.0), axis=0)
        column = tl.sum(tl.where(c == p, A, 0.0), axis=1)
        pivot = tl.sum(tl.where(tl.arange(0, MP) == p, row, 0.0))
        pivot = tl.where(pivot > 0, 1.0 / pivot, float("nan"))
        row = row * pivot
        A = A - column[:, None] * row[None, :]
        A = tl.where(r == p, row[None, :], A)
        A = tl.where(c == p, -column[:, None] * pivot, A)
        A = tl.where((r == p) & (c == p), pivot, A)
    return A
