"""The rule of commercial use, and how its error reads."""

from __future__ import annotations

import pytest

import hrnfit
from hrnfit.licences import LicenceError, Part, check_commercial, known_part

FREE = Part("ours", "code", "Apache-2.0", "yes", "here")
RESEARCH = Part("basel", "model", "research only", "no", "there", substitute="--model generic")
DOUBTFUL = Part("Mine", "detector", "not stated", "ask", "caller")


def test_what_permits_it_passes():
    check_commercial([FREE, FREE])
    check_commercial([])


def test_the_error_names_part_licence_and_substitute():
    with pytest.raises(LicenceError) as caught:
        check_commercial([FREE, RESEARCH, DOUBTFUL], "this conversion")
    said = str(caught.value)
    assert said.startswith(
        "commercial use was asked for, but this conversion would use the model 'basel'"
    )
    assert (
        "(research only) does not permit it: instead use --model generic; and the detector" in said
    )
    assert "'Mine', whose licence (not stated) is not known to permit it" in said
    assert "ours" not in said


def test_the_error_is_a_value_error_and_public():
    assert issubclass(LicenceError, ValueError)
    assert hrnfit.LicenceError is LicenceError


def test_a_row_that_is_missing_is_named():
    with pytest.raises(KeyError, match="renderer 'opengl' has no row"):
        known_part("renderer", "opengl")
