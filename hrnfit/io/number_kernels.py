"""Compiled loops that write numbers as decimal text into a buffer; called through `number_text.py`."""

# numba has no complete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingParameterType=false
from __future__ import annotations

from hrnfit.geometry.compiled import kernel

SPACE, SLASH, MINUS, POINT, ZERO, NEWLINE = 32, 47, 45, 46, 48, 10
"""ASCII."""


@kernel
def write_fixed(units, negative, decimals, prefix, out):
    """Rows of `prefix` and numbers of `units` of 10^-decimals; returns the bytes written."""
    at = 0
    for i in range(units.shape[0]):
        for code in prefix:
            out[at] = code
            at += 1
        for j in range(units.shape[1]):
            out[at] = SPACE
            at += 1
            if negative[i, j]:
                out[at] = MINUS
                at += 1
            rest, power, digits = units[i, j], 1, decimals
            for _ in range(decimals):
                power *= 10
            while power <= rest // 10:
                power *= 10
                digits += 1
            while power > 0:
                out[at] = ZERO + rest // power
                at += 1
                rest %= power
                power //= 10
                if digits == decimals:
                    out[at] = POINT
                    at += 1
                digits -= 1
        out[at] = NEWLINE
        at += 1
    return at


@kernel
def write_integers(table, slashes, prefix, out):
    """Rows of `prefix` and non-negative integers; `slashes`: before each column, 0 for a space."""
    at = 0
    for i in range(table.shape[0]):
        for code in prefix:
            out[at] = code
            at += 1
        for j in range(table.shape[1]):
            if slashes[j] == 0:
                out[at] = SPACE
                at += 1
            for _ in range(slashes[j]):
                out[at] = SLASH
                at += 1
            rest, power = table[i, j], 1
            while power <= rest // 10:
                power *= 10
            while power > 0:
                out[at] = ZERO + rest // power
                at += 1
                rest %= power
                power //= 10
        out[at] = NEWLINE
        at += 1
    return at
