"""Terms of networks: the file's own words, the table's row, words that contradict the flag."""

from __future__ import annotations

import json

import pytest

from hrnfit.licences import known_part
from hrnfit.nets.kinds import KINDS
from hrnfit.nets.network_info import NetworkInfo, document_from_info, info_from, network_part


def test_json_and_back():
    info = NetworkInfo("a", "MIT", "yes", "here", "note", "hrn", (("x.pth", "ff"), ("y.pth", "00")))
    assert info_from(json.loads(json.dumps(document_from_info(info)))) == info


def test_a_network_of_the_users_own_says_what_its_author_wrote():
    part = network_part(NetworkInfo("a", "studio licence", "no", "studio", "ask Anna"))
    assert (part.name, part.kind, part.licence, part.commercial) == (
        "a",
        "weights",
        "studio licence",
        "no",
    )
    assert (part.source, part.note) == ("studio", "ask Anna")
    assert part.substitute.startswith("the optimisation")


@pytest.mark.parametrize("kind", list(KINDS))
def test_published_ones_have_a_row(kind):
    row = known_part("weights", KINDS[kind].part)
    assert row.importers == (kind,)
    part = network_part(NetworkInfo("a", row.licence, row.commercial, "a file", origin=kind))
    assert (part.source, part.note, part.substitute) == (row.source, row.note, row.substitute)
    assert part.commercial == ("no" if kind == "arcface" else "ask")


def test_words_that_forbid_what_the_flag_permits_are_doubtful():
    part = network_part(NetworkInfo("a", "research only", "yes", "x"))
    assert part.commercial == "ask"
    assert part.note.startswith(
        "The file permits commercial use, but its terms say 'research only'"
    )
    assert network_part(NetworkInfo("a", "MIT", "yes", "x")).commercial == "yes"
