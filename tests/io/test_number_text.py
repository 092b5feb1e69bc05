"""Numbers as text: byte for byte what Python's formatting writes."""

from __future__ import annotations

import numpy as np
import pytest

from hrnfit.io.number_text import fixed_lines, integer_lines


def by_python(prefix: str, table: np.ndarray, decimals: int) -> bytes:
    row = prefix + f" %.{decimals}f" * table.shape[1] + "\n"
    return "".join(row % tuple(float(x) for x in values) for values in table).encode()


@pytest.mark.parametrize("decimals", [1, 5, 7, 9])
def test_fixed_as_python(decimals):
    rng = np.random.default_rng(decimals)
    scale = 10.0 ** rng.integers(-8, 8, (400, 3))
    table = (rng.standard_normal((400, 3)) * scale).astype(np.float32)
    assert fixed_lines("v", table, decimals) == by_python("v", table, decimals)


def test_halves_zeros_and_signs_by_hand():
    table = np.array([[0.015625, 0.046875, -0.0], [0.0, -1e-9, 9.999996]], np.float32)
    assert fixed_lines("vn", table, 5) == (
        b"vn 0.01562 0.04688 -0.00000\nvn 0.00000 -0.00000 10.00000\n"
    )


@pytest.mark.parametrize(
    "table",
    [
        np.array([[np.nan, np.inf, -np.inf]], np.float32),
        np.array([[1e30, 1.0, 2e9]], np.float32),
        np.array([[0.1, 1 / 3, 1e-5]]),
        np.zeros((0, 3), np.float32),
    ],
)
def test_what_the_loop_cannot_write_is_written_all_the_same(table):
    assert fixed_lines("v", table, 5) == by_python("v", table, 5)


def test_integers_behind_their_slashes():
    table = np.array([[1, 20, 0], [123456789, 9, 10]])
    assert integer_lines("f", table, (0, 1, 2)) == b"f 1/20//0\nf 123456789/9//10\n"


def test_negative_integers_are_refused():
    with pytest.raises(ValueError, match="expected indices from 0, got -2"):
        integer_lines("f", np.array([[-2]]), (0,))
