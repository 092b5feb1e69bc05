"""The bound of a fit's memory: by hand, growing with everything that costs memory, above what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit import memory
from hrnfit.fit.memory import (
    BASE,
    CONTEXT,
    KEPT_PIXEL,
    KEPT_TEXEL,
    WORK_PIXEL,
    WORK_TEXEL,
    fit_bytes,
    free_bytes,
    gigabytes,
    model_bytes,
    processes_that_fit,
    stage_sides,
    total_bytes,
    workers_that_fit,
)
from hrnfit.fit.recipe import Recipe, load_recipe, recipe_from
from tests.fit.small_scene import face

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


def recipe(size: int = 512, texels: int = 256, albedo: int = 64) -> Recipe:
    stage = {
        "name": "skin",
        "solver": "map",
        "free": ["deformation"],
        "size": size,
        "texels": texels,
    }
    maps = {"deformation": 24, "displacement": 32, "albedo": albedo}
    return recipe_from({"name": "small", "resolution": maps, "stages": [stage]})


def needed(views: int = 3, side: int = 1024, **changes: int) -> int:
    return fit_bytes(recipe(**changes), face(), [(side, side)] * views)


def test_one_stage_by_hand():
    expected = (
        BASE
        + model_bytes(recipe(), face())
        + 27 * 3 * 1024**2
        + 3 * (KEPT_PIXEL + WORK_PIXEL) * 512**2
        + 3 * (KEPT_TEXEL + WORK_TEXEL) * 256**2
    )
    assert needed() == expected


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"views": 3}, {"views": 4}),
        ({"side": 1024}, {"side": 2048}),
        ({"size": 512}, {"size": 768}),
        ({"texels": 256}, {"texels": 384}),
        ({"albedo": 1024}, {"albedo": 2048}),
    ],
)
def test_more_of_anything_needs_more(less, more):
    assert needed(**more) > needed(**less)


def test_a_surface_stage_counts_pairs_of_its_texels():
    plain = recipe()
    refit = {"name": "refit", "solver": "surface", "free": ["identity"], "texels": 32, "size": 256}
    settings = recipe_from({"name": "refit", "resolution": {}, "stages": [refit]}).stages
    two = replace(plain, stages=(*plain.stages, *settings))
    grown = fit_bytes(two, face(), [(512, 512)]) - fit_bytes(plain, face(), [(512, 512)])
    constants = model_bytes(two, face()) - model_bytes(plain, face())
    texels = 0.8 * 32**2
    assert grown == int(40 * texels**2) + constants + KEPT_PIXEL * 256**2 + KEPT_TEXEL * 32**2


def test_stages_add_up_in_what_they_keep_and_not_in_what_they_work_with():
    one = recipe()
    two = replace(one, stages=one.stages * 2)
    grown = fit_bytes(two, face(), [(512, 512)]) - fit_bytes(one, face(), [(512, 512)])
    assert grown == KEPT_PIXEL * 512**2 + KEPT_TEXEL * 256**2


def test_windows_are_no_finer_than_the_photographs():
    (stage,) = recipe(size=768).stages
    assert stage_sides(stage, 500) == (512, 256)
    assert stage_sides(stage, 4000) == (768, 256)


def test_photographs_take_no_more_than_their_share_of_a_device():
    sizes = [(6000, 4000)] * 16
    whole = fit_bytes(recipe(), face(), sizes)
    assert whole - fit_bytes(recipe(), face(), sizes, 8_000_000_000) == 27 * 16 * 24_000_000 - 1.2e9
    assert fit_bytes(recipe(), face(), sizes, 80_000_000_000) == whole


def test_a_mirror_image_counts_as_a_view():
    stages = {s.name: s for s in load_recipe("single_view").stages}
    assert memory.mirrored(stages["symmetry"]) == 2
    assert memory.mirrored(stages["outline"]) == 1


def test_the_bound_lies_above_what_a_rig_was_measured_to_need():
    """Five views of 512 px with the model of ICT-FaceKit, of 66 MB with its tangent: 2.56 GB on an H100."""
    assert fit_bytes(load_recipe("rig"), face(), [(512, 512)] * 5) > 2_560_000_000 - 66_000_000


def test_workers_share_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000_000_000)
    assert workers_that_fit(GPU, 64, 4_000_000_000) == 2
    assert workers_that_fit(GPU, 64, 1_000_000_000) == memory.MOST_WORKERS
    assert workers_that_fit(GPU, 64, 40_000_000_000) == 1
    assert workers_that_fit(GPU, 2, 1_000_000) == 2
    assert workers_that_fit(CPU, 64, 0) == 1


def test_this_machine_has_memory():
    free, total = free_bytes(CPU), total_bytes(CPU)
    assert free is not None
    assert total is not None
    assert 0 < free <= total


def test_bytes_as_people_read_them():
    assert gigabytes(2_710_000_000) == "2.7 GB"
    assert gigabytes(38_000_000) == "38 MB"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_memory_of_a_gpu_counts_what_torch_has_in_reserve():
    device = torch.device("cuda", torch.cuda.current_device())
    made = torch.zeros(100_000_000, dtype=torch.uint8, device=device)
    before = free_bytes(device)
    del made
    after = free_bytes(device)
    assert before is not None
    assert after is not None
    assert after - before >= 100_000_000


def test_processes_share_the_memory_and_own_what_they_hold():
    one = 400_000_000 + CONTEXT
    assert processes_that_fit(6, 16, 400_000_000, 3 * one, [0] * 6) == 3
    assert processes_that_fit(6, 16, 400_000_000, one, [one, one, 0, 0, 0, 0]) == 3
    assert processes_that_fit(6, 2, 400_000_000, 9 * one, [0] * 6) == 2
    assert processes_that_fit(6, 16, 400_000_000, 9 * one, [0] * 6) == 6
    assert processes_that_fit(6, 16, 400_000_000, 0, [0] * 6) == 1
