"""Configurations from JSON: a round trip per kind, and what a stranger's file may hold."""

from __future__ import annotations

import json

import pytest
import torch

from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.arcface import ArcFaceConfig
from hrnfit.nets.configs import (
    CONFIGS,
    build,
    config_from,
    document_from,
    parameter_count,
)
from hrnfit.nets.deretouch import DeretouchConfig
from hrnfit.nets.discriminator import DiscriminatorConfig
from hrnfit.nets.generator import GeneratorConfig
from hrnfit.nets.hrn import HrnConfig
from hrnfit.nets.limits import check_depths, check_whole

EXAMPLES = {
    "analyzer": AnalyzerConfig(80, 64, 80, 2, (1, 2, 1, 1)),
    "generator": GeneratorConfig(6, 3, width=2, blocks=1),
    "deretouch": DeretouchConfig(width=2),
    "discriminator": DiscriminatorConfig(inputs=4, width=2, layers=2),
    "arcface": ArcFaceConfig(width=1, depths=(1, 1, 1, 1), embedding=3),
    "hrn": HrnConfig(AnalyzerConfig(width=1), GeneratorConfig(6, 3), None, "hrnfit"),
}


def test_every_kind_has_an_example():
    assert set(EXAMPLES) == set(CONFIGS)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_round_trip_through_json(kind):
    config = EXAMPLES[kind]
    document = json.loads(json.dumps(document_from(config)))
    assert config_from(kind, document) == config
    with torch.device("meta"):
        network = build(config_from(kind, document))
    assert sum(p.numel() for p in network.parameters()) == parameter_count(config)


def test_defaults_may_be_left_out():
    assert config_from("analyzer", {}) == AnalyzerConfig()
    assert config_from("generator", {"inputs": 6, "outputs": 3}) == GeneratorConfig(6, 3)


HRN = {"analyzer": {"width": 1}, "mid": None, "high": None}


@pytest.mark.parametrize(
    ("kind", "document", "error", "message"),
    [
        ("analyser", {}, ValueError, "'analyser' is not known; did you mean 'analyzer'"),
        ("analyzer", [], TypeError, "analyzer: expected an object of settings, got list"),
        ("analyzer", None, TypeError, "expected an object of settings, got nothing"),
        ("analyzer", {"widht": 64}, ValueError, "'widht' is not known; did you mean 'width'"),
        ("analyzer", {3: 64}, ValueError, "setting: '3' is not known"),
        ("analyzer", {"width": "64"}, TypeError, "analyzer.width: .* whole number, got str '64'"),
        ("analyzer", {"width": 64.0}, TypeError, "analyzer.width: .* whole number, got float"),
        ("analyzer", {"width": True}, TypeError, "analyzer.width: .* whole number, got bool"),
        ("analyzer", {"width": 10**12}, ValueError, "analyzer.width: .* from 1 to 4096"),
        ("analyzer", {"width": -1}, ValueError, "analyzer.width: .* from 1 to 4096, got -1"),
        ("analyzer", {"depths": [3, 4, 6]}, ValueError, "analyzer.depths: expected 4 numbers"),
        ("analyzer", {"depths": 3}, TypeError, "analyzer.depths: expected a list of 4, got int"),
        ("analyzer", {"depths": [3, 4, "6", 3]}, TypeError, r"analyzer.depths\[2\]: .* got str"),
        ("analyzer", {"depths": [3, 4, 6, 10**9]}, ValueError, r"depths\[3\]: .* from 1 to 64"),
        ("generator", {"inputs": 6}, ValueError, "generator: missing outputs"),
        ("hrn", {**HRN, "mid": 3}, TypeError, "hrn.mid: expected an object of settings, got int"),
        ("hrn", {**HRN, "convention": "mine"}, ValueError, "hrn.convention: 'mine' is not known"),
        ("hrn", {**HRN, "convention": 1}, TypeError, "hrn.convention: expected a word, got int"),
        ("hrn", {"mid": None, "high": None}, ValueError, "hrn: missing analyzer"),
        ("hrn", {**HRN, "mid": {"inputs": 1, "outputs": 3}}, ValueError, "hrn.mid: expected 6"),
        ("analyzer", {"width": 4096}, ValueError, "more than 268,435,456 parameters"),
        ("discriminator", {"inputs": 4096, "width": 2048}, ValueError, "more than 268,435,456"),
    ],
)
def test_documents_that_are_refused(kind, document, error, message):
    with pytest.raises(error, match=message):
        config_from(kind, document)


def test_the_largest_of_everything_takes_no_memory():
    largest = {"width": 4096, "depths": [64] * 4, "identity": 4096}
    with pytest.raises(ValueError, match="more than 268,435,456 parameters"):
        config_from("analyzer", largest)


def test_checks_of_whole_numbers():
    check_whole("n", 3, 3, 3)
    with pytest.raises(ValueError, match="n: expected a whole number from 1 to 2, got 3"):
        check_whole("n", 3, 1, 2)
    with pytest.raises(ValueError, match="depths: expected 4 numbers of blocks, got 1"):
        check_depths("depths", [1])
