"""Argument checks: what passes, and the sentence when it does not."""

import numpy as np
import pytest
import torch

from hrnfit.check import check_finite, check_one_of, check_range, check_rotation, check_shape


def test_check_shape():
    check_shape("x", torch.zeros(4, 68, 2), ("V", 68, 2))
    check_shape("x", np.zeros((5, 2, 3, 3)), ("...", 3, 3))
    check_shape("x", torch.zeros(3, 3), ("...", 3, 3))
    with pytest.raises(ValueError, match=r"^landmarks: expected \(V, 68, 2\), got \(68, 2\); pass"):
        check_shape("landmarks", torch.zeros(68, 2), ("V", 68, 2), "pass landmarks[None]")
    with pytest.raises(ValueError, match=r"expected \(D,\), got \(1, 2\)"):
        check_shape("x", torch.zeros(1, 2), ("D",))
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 3, 3\), got \(3,\)"):
        check_shape("x", torch.zeros(3), ("...", 3, 3))


def test_check_finite():
    check_finite("x", torch.ones(3))
    with pytest.raises(ValueError, match=r"^x: 2 of 3 values are NaN or infinite; look again"):
        check_finite("x", np.array([1.0, np.nan, np.inf]), "look again")


def test_check_range():
    check_range("x", 0.5, 0, 1)
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\], got 2"):
        check_range("x", torch.tensor([0.0, 2.0]), 0, 1)
    with pytest.raises(ValueError, match="got nan"):
        check_range("x", float("nan"), 0, 1)


def test_check_rotation():
    check_rotation("R", torch.eye(3).expand(4, 3, 3))
    with pytest.raises(ValueError, match=r"differs from the identity by 3 .*scale is 2"):
        check_rotation("R", 2 * torch.eye(3))
    with pytest.raises(ValueError, match="a reflection"):
        check_rotation("R", torch.diag(torch.tensor([1.0, 1.0, -1.0])))


def test_check_one_of_names_the_nearest():
    check_one_of("term", "landmark", ["landmark", "prior"])
    with pytest.raises(ValueError, match=r"'landmrk' is not known; did you mean 'landmark'.*prior"):
        check_one_of("term", "landmrk", ["landmark", "prior"])


def test_check_finite_reads_halves_by_their_bits():
    halves = np.array([[0.0, -0.0, 65504.0, -65504.0, 6e-8]], dtype=np.float16)
    check_finite("modes", halves)
    check_finite("modes", halves[:, ::2])
    check_finite("modes", halves[:0])
    for bad in (np.inf, -np.inf, np.nan, -np.nan):
        halves[0, 1] = bad
        with pytest.raises(ValueError, match="modes: 1 of 5 values are NaN or infinite"):
            check_finite("modes", halves)
