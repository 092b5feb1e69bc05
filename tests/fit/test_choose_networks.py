"""Which networks a fit takes: by name, by the model, by their terms."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

import hrnfit
from hrnfit.fit.choose_networks import choose_networks
from hrnfit.fit.recipe import Recipe, recipe_from
from hrnfit.infer.load_networks import load_networks, networks_for, with_deretouch
from hrnfit.infer.networks import Networks
from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.deretouch import DeretouchConfig, DeretouchNet
from hrnfit.nets.generator import GeneratorConfig
from hrnfit.nets.hrn import Hrn, HrnConfig
from hrnfit.nets.network_info import NetworkInfo
from hrnfit.nets.store import networks_folder
from hrnfit.nets.weights import save_network
from hrnfit.nets.weights_error import WeightsError
from tests.fit.planted import planted_analyzer
from tests.fit.small_scene import face
from tests.fit.test_network_start import SMALL, fit

ANALYZER = AnalyzerConfig(4, 3, 5, 8, (1, 1, 1, 1))
TERMS = NetworkInfo("mine", "Apache-2.0", "yes", "tests", model="sheet")
AUTO = Recipe("any")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path))
    networks_folder().mkdir(parents=True)
    return networks_folder()


def keep(name: str, module: torch.nn.Module | None = None, **changes: str) -> None:
    hrn = module or Hrn(HrnConfig(ANALYZER, None, None))
    info = replace(TERMS, name=name, **changes)
    save_network(networks_folder() / f"{name}.safetensors", hrn, info)


def test_the_model_decides_by_its_name_or_kind():
    keep("mine")
    keep("other", model="bfm09")
    assert networks_for(face().info) == ["mine"]
    assert networks_for(replace(face().info, name="x", kind="bfm09")) == ["other"]


def test_weights_with_generators_come_first():
    keep("analyzer")
    keep("whole", Hrn(HrnConfig(ANALYZER, GeneratorConfig(6, 3, 4, 1), None)))
    assert networks_for(face().info) == ["whole", "analyzer"]


def test_a_broken_file_is_passed_over(folder, caplog):
    keep("mine")
    (folder / "torn.safetensors").write_bytes(b"\x00" * 40)
    with caplog.at_level(logging.WARNING):
        assert networks_for(face().info) == ["mine"]
    assert "torn" in caplog.text


def test_a_name_that_is_no_analyzer_is_an_error():
    keep("mine", DeretouchNet(DeretouchConfig(4)))
    with pytest.raises(WeightsError, match="of kind 'deretouch', expected 'hrn'"):
        load_networks("mine")
    with pytest.raises(FileNotFoundError, match="hrnfit nets add"):
        choose_networks("nobody", AUTO, face())


DETAIL = recipe_from(
    {
        "name": "detail",
        "stages": [
            {
                "name": "shading", "solver": "adam", "level": "fine", "free": ["displacement"],
                "albedo": "deretouched", "terms": {"photometric": {"weight": 1.0}},
            }
        ],
    }
)  # fmt: skip


def test_the_retouching_network_comes_along_where_a_stage_wants_it():
    keep("mine")
    keep("retouch", DeretouchNet(DeretouchConfig(4)))
    both = choose_networks(None, DETAIL, face())
    assert both.networks is not None
    assert both.networks.deretouch is not None
    assert [part.name for part in both.parts] == ["mine", "retouch"]
    named = choose_networks("mine", DETAIL, face()).networks
    assert named is not None
    assert named.deretouch is not None
    for asked in (None, "mine", both.networks):
        alone = choose_networks(asked, AUTO, face()).networks
        assert alone is not None
        assert alone.deretouch is None


def test_the_retouching_network_comes_along_where_its_terms_allow():
    keep("retouch", DeretouchNet(DeretouchConfig(4)), commercial="ask")
    keep("mine")
    mine = load_networks("mine")
    assert with_deretouch(mine).deretouch is not None
    assert with_deretouch(mine, commercial=True).deretouch is None
    assert with_deretouch(mine, commercial=True).parts == mine.parts


def test_commercial_use_takes_the_next_that_permits_it():
    keep("first", Hrn(HrnConfig(ANALYZER, GeneratorConfig(6, 3, 4, 1), None)), commercial="ask")
    keep("second")
    assert choose_networks(None, AUTO, face()).networks.name == "first"
    assert choose_networks(None, AUTO, face(), commercial=True).networks.name == "second"


def test_kept_networks_of_other_sizes_do_not_stand_in_the_way():
    other = Hrn(HrnConfig(AnalyzerConfig(5, 3, 5, 8, (1, 1, 1, 1)), None, None))
    keep("larger", other)
    choice = choose_networks(None, AUTO, face())
    assert choice.networks is None
    assert choice.warning
    assert "'larger': predict 5 identity" in choice.why
    assert choice.why.endswith("the fit starts from landmarks")
    keep("mine")
    assert choose_networks(None, AUTO, face()).networks.name == "mine"
    with pytest.raises(ValueError, match="'larger': predict 5 identity"):
        choose_networks("larger", AUTO, face())


def test_networks_in_training_mode_are_refused():
    hrn = Hrn(HrnConfig(ANALYZER, None, None))
    with pytest.raises(ValueError, match=r"in training mode.*call their eval"):
        choose_networks(Networks(hrn, name="mine"), AUTO, face())
    retouch = DeretouchNet(DeretouchConfig(4))
    with pytest.raises(ValueError, match="in training mode"):
        choose_networks(Networks(hrn.eval(), retouch), DETAIL, face())


def test_networks_of_the_caller_without_terms_are_asked_about():
    known = planted_analyzer()
    (part,) = choose_networks(known.networks, AUTO, face()).parts
    assert (part.kind, part.name, part.commercial) == ("weights", "planted", "ask")
    with pytest.raises(hrnfit.LicenceError, match=r"weights 'planted'.*not stated"):
        fit(known.rigs[0], ("cam_1",), networks=known.networks, commercial=True)
    stated = replace(known.networks, parts=(replace(part, licence="ours", commercial="yes"),))
    assert choose_networks(stated, AUTO, face(), commercial=True).parts == stated.parts


def test_a_fit_that_continues_starts_from_the_result_and_takes_no_networks():
    known = planted_analyzer()
    first = fit(known.rigs[0], ("cam_1",), networks=known.networks)
    again = fit(known.rigs[0], ("cam_1",), start=first)
    assert again.provenance["start"]["by"] == "result"
    assert again.stages[0].name == "result"
    assert torch.equal(again.state.identity, first.state.identity)
    assert not any("network" in text for text in again.warnings)
    with pytest.raises(ValueError, match="networks: given beside start="):
        fit(known.rigs[0], ("cam_1",), start=first, networks=known.networks)


def test_the_retouching_network_reaches_the_stage_that_asks():
    known = planted_analyzer()
    torch.manual_seed(0)
    retouch = DeretouchNet(DeretouchConfig(4)).eval().requires_grad_(False)
    stages = [{
        "name": "detail", "solver": "adam", "level": "fine", "free": ["displacement"], "size": 64,
        "steps": 2, "albedo": "deretouched", "terms": {"photometric": {"weight": 1.0}},
    }]  # fmt: skip
    energies = [
        fit(known.rigs[0], ("cam_1",), networks=networks, recipe={**SMALL, "stages": stages})
        .stages[-1]
        .energies[0]
        for networks in (known.networks, replace(known.networks, deretouch=retouch))
    ]
    assert energies[0] != energies[1]


def test_commercial_use_leaves_doubtful_weights_alone_or_refuses_them_by_name():
    keep("mine", commercial="ask", licence="not stated")
    choice = choose_networks(None, AUTO, face(), commercial=True)
    assert choice.networks is None
    assert choice.warning
    assert "left alone (not stated)" in choice.why
    made = planted_analyzer().rigs[0]
    with pytest.raises(hrnfit.LicenceError, match="weights 'mine'"):
        fit(made, networks="mine", commercial=True)


def test_dropping_weights_in_makes_a_fit_start_there_and_recorded():
    known = planted_analyzer()
    keep("mine", known.networks.hrn)
    result = fit(known.rigs[0], ("cam_1",), recipe={**SMALL, "initialize": "auto"})
    assert result.provenance["start"] == {"by": "networks", "networks": "mine"}
    used = [row["name"] for row in result.provenance["licences"] if row["kind"] == "weights"]
    assert used == ["mine"]
    assert result.provenance["commercial_use"]
    again = fit(known.rigs[0], ("cam_1",), recipe=SMALL, networks=known.networks)
    # a mapped file lies in memory otherwise, and sums are taken in another order
    torch.testing.assert_close(result.state.identity, again.state.identity, atol=1e-5, rtol=0)


def test_weights_of_another_model_are_refused_by_name_and_named_in_the_reason():
    keep("other", model="flame")
    with pytest.raises(ValueError, match="trained for model 'flame', this fit is with 'sheet'"):
        choose_networks("other", AUTO, face())
    assert "kept for other models: other (flame)" in choose_networks(None, AUTO, face()).why


def test_among_equals_the_one_that_permits_commercial_use_is_taken():
    keep("asks", commercial="ask")
    keep("mine")
    assert networks_for(face().info) == ["mine", "asks"]
