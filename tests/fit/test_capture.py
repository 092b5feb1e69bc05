"""Kinds and sizes of captures, as the batch asks for them before any work."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import torch

import hrnfit
from hrnfit.fit.batch_terms import Terms
from hrnfit.fit.capture import kind_of, photograph_sizes
from tests.fit.small_scene import NAMES, face, rig
from tests.fit.test_batch import THREE, capture

fit_batch_module = importlib.import_module("hrnfit.fit.batch")


def test_sizes_and_kinds_of_captures(tmp_path):
    one = capture(NAMES[:1])
    assert kind_of(one) == "single"
    assert kind_of(replace(one, images=rig().images[NAMES[0]])) == "single"
    assert kind_of(THREE[0]) == "rig"
    assert kind_of(replace(THREE[0], cams=None)) == "views"
    assert photograph_sizes(THREE[0], None) == [(128, 128)] * 3
    assert photograph_sizes(one, 64) == [(64, 64)]
    assert photograph_sizes(hrnfit.Capture(["a.png", "b.png"]), None) == []


def test_a_faulty_capture_does_not_hide_how_many_workers_fit():
    terms, rest = Terms("cuda:0"), (face(), torch.device("cuda", 0), 80_000_000_000)
    gone, odd = hrnfit.Capture("no/such/photograph.png"), hrnfit.Capture(np.zeros(5))
    assert fit_batch_module._most_needed(terms, [gone], *rest) == 0
    assert fit_batch_module._most_needed(terms, [odd], *rest) > 0
    alone = fit_batch_module._most_needed(terms, [THREE[0]], *rest)
    assert fit_batch_module._most_needed(terms, [gone, THREE[0]], *rest) == alone > 0
