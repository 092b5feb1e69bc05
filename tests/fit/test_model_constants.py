"""What belongs to a model is made once per object, by whoever asks first, and goes with it."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace

import torch

from hrnfit.fit import model_constants
from hrnfit.fit.model_constants import chart_of, constants_of, map_operator, model_on, texels_of
from tests.fit.small_scene import face, one_instant, rig, scene_of, truth_scene, views_of

CPU = torch.device("cpu")


def test_made_once_per_model_object():
    model = replace(face())
    assert texels_of(model, 32) is texels_of(model, 32)
    assert chart_of(model, 32) is chart_of(model, 32)
    assert map_operator(model, 16) is map_operator(model, 16)
    assert texels_of(replace(model), 32) is not texels_of(model, 32)
    assert torch.equal(texels_of(replace(model), 32).flat, texels_of(model, 32).flat)


def test_the_next_fit_finds_them():
    state = truth_scene()[1]
    first, second = (scene_of(views_of(rig()), state, face(), one_instant(3)) for _ in range(2))
    assert second.texels(32) is first.texels(32)
    assert second.chart(32) is first.chart(32)
    assert second.operator(16) is first.operator(16)


def test_a_model_on_its_device_is_itself():
    assert model_on(face(), CPU) is face()
    model = replace(face())
    moved = model_on(model, torch.device("meta"))
    assert moved.uv.device.type == "meta"
    assert model_on(model, torch.device("meta")) is moved


def test_constants_go_with_the_model():
    model = replace(face())
    texels_of(model, 8)
    key = id(model)
    assert key in model_constants._CONSTANTS
    del model
    gc.collect()
    assert key not in model_constants._CONSTANTS


def test_models_that_cannot_be_referred_to_are_served_too():
    class Rigid:
        __slots__ = ("faces", "uv", "uv_faces")

    model = Rigid()
    model.uv, model.uv_faces, model.faces = face().uv, face().uv_faces, face().faces
    constants = constants_of.__wrapped__(model)  # the protocol is checked only by the outer layer
    assert constants.once("three", lambda: 3, CPU) == 3


def test_threads_make_a_constant_once():
    model, made, found = replace(face()), [], []
    gate = threading.Barrier(4)

    def make() -> object:
        made.append(1)
        return object()

    def ask() -> None:
        gate.wait()
        found.append(constants_of(model).once("thing", make, CPU))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all(thing is found[0] for thing in found)


def test_a_model_that_was_changed_in_place_is_sent_again():
    model = replace(face(), mean=face().mean.clone())
    meta = torch.device("meta")
    moved, chart = model_on(model, meta), chart_of(model, 32)
    assert model_on(model, meta) is moved
    model.mean.add_(1.0)
    assert model_on(model, meta) is not moved
    assert chart_of(model, 32) is not chart
    again = model_on(model, meta)
    assert model_on(model, meta) is again
