"""The inverse of one small symmetric positive definite system inside a Triton kernel.

A library's Cholesky factor of 64 unknowns with its two triangular solutions takes an H100 0.3 ms, mostly waiting.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def eliminated(A, room, M, MP: tl.constexpr):
    """Inverse of the symmetric positive definite upper left M x M of A; not a number where it is not definite.

    By sweeps (Goodnight 1979), which keep it symmetric, so that one row is all that a step needs of others: it goes through
    memory, room (MP + 2, MP) of A's type. Rows and columns found by sums over the matrix took 1.7 us a step.
    """
    r, c = tl.arange(0, MP)[:, None], tl.arange(0, MP)[None, :]
    # read back, threads hold the matrix as they store its rows: else every step exchanged all of it, for 0.8 us
    tl.store(room + r * MP + c, A)
    tl.debug_barrier()
    A = tl.load(room + r * MP + c)
    p = 0
    while p < M:
        # two places in turn: some threads still read the row of the step before
        row = room + (MP + p % 2) * MP
        tl.store(row + c + 0 * r, A, mask=r == p)
        tl.debug_barrier()
        pivot = tl.load(row + p)
        pivot = tl.where(pivot > 0, 1.0 / pivot, float("nan"))
        down = tl.where(r == p, -1.0, tl.load(row + r))
        across = tl.where(c == p, -1.0, tl.load(row + c))
        A = tl.where((r == p) | (c == p), 0.0, A) - (down * pivot) * across
        p += 1
    return -A
