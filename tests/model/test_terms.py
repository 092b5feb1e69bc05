"""Terms of models: the file's own words, the table's row, and words that contradict the flag."""

from __future__ import annotations

import pytest

from hrnfit.licences import known_part
from hrnfit.model import ict_head
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.load import load_model
from hrnfit.model.terms import contradiction, model_part, model_row


def info(licence="own", commercial=True, source="me", kind="npz", note="", files=(), name="m"):
    return ModelInfo(name, licence, commercial, source, kind, note, tuple(files))


def test_a_model_of_the_users_own_says_what_its_author_wrote():
    part = model_part(info("studio licence", False, "studio", note="ask Anna"))
    assert (part.name, part.kind, part.licence) == ("m", "model", "studio licence")
    assert (part.commercial, part.source, part.note) == ("no", "studio", "ask Anna")
    assert part.attribution == ""
    assert part.substitute.startswith("--model generic")
    assert model_part(info("studio licence", True)).commercial == "yes"


def test_the_packaged_model_and_ict_are_recognised():
    assert model_row(load_model().info) == known_part("model", "generic")
    part = model_part(ict_head.INFO)
    assert part.commercial == "yes"
    assert "Copyright (c) 2020 USC" in part.attribution
    assert part.source.startswith("https://github.com/ICT-VGL")
    renamed = info("MIT", source="converted", kind="ict", name="studio")
    assert model_part(renamed).attribution == part.attribution


@pytest.mark.parametrize(
    ("given", "row"),
    [
        (info("Basel", False, kind="bfm09"), "Basel Face Model 2009"),
        (info("Basel", False, kind="bfm19"), "Basel Face Model 2019"),
        (info("CC-BY-4.0", True, kind="flame"), "FLAME 2023 Open"),
        (
            info(
                "CC-BY-4.0",
                True,
                kind="flame",
                files=[("flame2023_Open.pkl", "0")],
                name="flame2020",
            ),
            "FLAME 2023 Open",
        ),
        (info("MPG", False, "FLAME 2023", kind="flame"), "FLAME 2023"),
        (info("MPG", False, "FLAME 2020", kind="flame"), "FLAME 2020"),
        (info("research", False, "HIFI3D++ by REALY"), "HIFI3D++"),
        (info("research", False, "HIFI3D"), "HIFI3D"),
        (info("research", False, "FaceVerse v3", kind="faceverse"), "FaceVerse"),
        (info("bought", True, kind="bfm09"), None),  # the flags disagree: a licence was bought
        (
            info("ours", True, "made here", name="flame2023_open-like"),
            None,
        ),  # a name proves nothing
    ],
)
def test_rows(given, row):
    found = model_row(given)
    assert (found.name if found else None) == row


def test_a_bought_licence_counts_and_owes_no_other_terms():
    part = model_part(info("University of Basel, contract 123", True, kind="bfm09"))
    assert (part.commercial, part.note, part.attribution) == ("yes", "", "")


@pytest.mark.parametrize(
    ("licence", "note"),
    [
        ("CC BY-NC 4.0", ""),
        ("cc-by-nc-sa-4.0", ""),
        ("Basel", "non-commercial research only"),
        ("for research only", ""),
        ("own", "Commercial use is prohibited."),
        ("Non Commercial", ""),
    ],
)
def test_words_that_forbid_what_the_flag_permits_are_doubtful(licence, note):
    given = info(licence, True, note=note)
    assert "ask whom it is from" in contradiction(given)
    part = model_part(given)
    assert part.commercial == "ask"
    assert part.note.startswith("The file permits commercial use, but its terms say")
    assert note in part.note
    assert contradiction(info(licence, False, note=note)) == ""


@pytest.mark.parametrize(
    "licence", ["MIT", "CC-BY-4.0", "for commercial and non-commercial use", "commercial licence 7"]
)
def test_words_that_permit_it_are_no_contradiction(licence):
    assert contradiction(info(licence, True)) == ""
    assert model_part(info(licence, True)).commercial == "yes"
