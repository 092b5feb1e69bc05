"""Which vertices make a part of the ICT model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.ict_parts import SLICES, Part, base_count, kept_vertices, parse_part, slices_of


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("face", Part()),
        ("head", Part("head")),
        ("face+teeth", Part("face", teeth=True)),
        ("head+eyes+teeth", Part("head", eyes=True, teeth=True)),
        ("head+teeth+eyes", Part("head", eyes=True, teeth=True)),
        ("full", Part("head", eyes=True, teeth=True)),
    ],
)
def test_parts_by_name(text, part):
    assert parse_part(text) == part


@pytest.mark.parametrize(
    "text", ["hair", "", "head+", "head+hair", "eyes", "head+eyes+eyes", "full+eyes"]
)
def test_other_names_are_refused(text):
    with pytest.raises(ValueError, match=r"part: expected face or head, with \+eyes and \+teeth"):
        parse_part(text)


def test_kept_vertices_of_the_published_mesh():
    full = kept_vertices(parse_part("full"), SLICES, 26719)
    # all but the sockets and irises of the eyes, and what lies over eyeballs
    assert len(full) == 24591 - 2 * 384 - 2 * 800
    assert (np.diff(full) > 0).all()
    assert full[:11248].tolist() == list(range(11248))
    eyes = kept_vertices(parse_part("face+eyes"), SLICES, 26719)
    assert eyes[9408:9411].tolist() == [9408, 21451, 21452]
    assert len(eyes) == 9409 + 2 * 770


def test_a_smaller_file_is_all_of_the_base():
    assert base_count(Part("head"), SLICES, 500) == 500
    assert base_count(Part(), SLICES, 10**6) == 9409


def test_a_missing_piece_is_named():
    with pytest.raises(ModelFormatError, match=r"needs mouth_socket, .* leave \+teeth out"):
        kept_vertices(parse_part("full"), SLICES, 11248)
    with pytest.raises(ModelFormatError, match=r"needs sclera_l, .* leave \+eyes out"):
        kept_vertices(parse_part("face+eyes"), SLICES, 11248)


def test_a_files_own_table_wins():
    table = {"vertex_slices": {"face": [0, 10], "teeth": [12, 20], "eyelash": "unknown"}}
    found = slices_of(json.dumps(table))
    assert found["face"] == (0, 10)
    assert found["teeth"] == (12, 20)
    assert found["head_neck"] == SLICES["head_neck"]
    assert slices_of("{}") == SLICES


@pytest.mark.parametrize("given", [[1, 2], [0], [0, 1.5], [5, 2], [-1, 4], "all", None])
def test_a_damaged_table_is_refused(given):
    table = {"vertex_slices": {"face": given} if given != [1, 2] else given}
    with pytest.raises(ValueError, match="vertex_slices"):
        slices_of(json.dumps(table))
