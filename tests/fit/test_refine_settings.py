"""Settings of a refinement: what is refused, and by what name weights go."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hrnfit.fit.first_order_stage import TermWeight
from hrnfit.fit.refine_settings import CoarseSolve, MapStage, RefineSettings, default_maps
from hrnfit.fit.terms import TERMS
from hrnfit.solve.unrolled import GradientSteps

STAGE = MapStage("skin", {"photometric": TermWeight(2.0)}, GradientSteps({"deformation": 0.1}))


def test_weights_go_by_stage_and_name():
    settings = RefineSettings(CoarseSolve(free=("identity", "pose")), (STAGE,))
    assert settings.first_weights() == {
        "coarse/landmark": 1.0,
        "coarse/identity": 1.0,
        "coarse/pose": 1.0,
        "skin/photometric": 2.0,
    }
    assert set(RefineSettings(coarse=None, maps=(STAGE,)).first_weights()) == {"skin/photometric"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, r"expected a name without '.' and '/', got 'a/b'"),
        ({"terms": {}}, "stage 'skin': no terms"),
        ({"terms": {"photometrc": TermWeight(1.0)}}, "did you mean 'photometric'"),
        ({"terms": {"fold": TermWeight(0.0)}}, "its logarithm is trained.*got 0.0; leave the term"),
        ({"terms": {"fold": TermWeight(math.inf)}}, "expected a finite number > 0, got inf"),
        ({"terms": {"fold": TermWeight(1.0, "l3")}}, "kernel of 'fold': 'l3' is not known"),
        ({"level": "finest"}, "level: 'finest' is not known; did you mean 'fine'"),
        ({"free": ()}, "free: no leaf is free; possible: identity"),
        ({"free": ("pose_reference",)}, "'pose_reference' is not known"),
        ({"free": ("deformation", "light")}, "rates: none given for light"),
        ({"size": 0}, "size: expected a positive number of px, got 0"),
    ],
)
def test_stages_that_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(STAGE, **changes)


def test_a_term_that_is_not_known_to_differentiate_twice_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(TERMS, "lookalike", object)
    with pytest.raises(ValueError, match="term 'lookalike' cannot be differentiated twice"):
        replace(STAGE, terms={"lookalike": TermWeight(1.0)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"free": ("deformation",)}, "'deformation' is not known; possible: expression"),
        ({"kernel": "l1"}, "kernel: 'l1' is not known"),
        ({"backward": "explicit"}, "did you mean 'implicit'"),
        ({"solver": "thesaurus"}, "did you mean 'theseus'"),
        ({"solver": "own", "backward": "unroll"}, "'unroll' is Theseus' alone; .*take 'implicit'"),
        ({"jaw": "line"}, "jaw: 'line' is not known"),
    ],
)
def test_coarse_solves_that_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CoarseSolve(**changes)


def test_stages_have_names_of_their_own():
    with pytest.raises(ValueError, match="skin named twice; give each its own name"):
        RefineSettings(maps=(STAGE, STAGE))
    with pytest.raises(ValueError, match="coarse named twice"):
        RefineSettings(maps=(replace(STAGE, name="coarse"),))
    assert RefineSettings(None, (replace(STAGE, name="coarse"),)).maps
    assert [stage.name for stage in default_maps()] == ["mid"]
