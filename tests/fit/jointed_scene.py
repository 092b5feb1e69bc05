"""A synthetic head whose jaw and neck turn, photographed by a rig: the truth behind it is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from hrnfit.geometry import mesh
from hrnfit.geometry.rotation import rigid_matrix, rotation_exp
from hrnfit.model.flame import FlameModel
from hrnfit.observe.observation import View
from hrnfit.synthetic import Subject
from hrnfit.synthetic.paint import paint, studio_light
from hrnfit.synthetic.rig import _develop, _landmarks, _moved, _photograph, rig_cameras
from hrnfit.synthetic.subject import Truth, _assemble
from tests.model.heads import flame_model

JAW, NECK = 0.26, 0.17
"""Opening of the jaw and turn of the neck to the subject's left, rad: 15 and 10 degrees."""


@cache
def jointed_face() -> FlameModel:
    return flame_model()


def index(name: str) -> int:
    """Place of a turn among the expression coefficients."""
    return jointed_face().expression_names.index(name)


def angle(expression: Tensor, name: str) -> float:
    """A turn, rad."""
    model = jointed_face()
    k = index(name) - model.unposed.n_expression
    return float(expression[index(name)] * model.skeleton.deviation.flatten()[k])


@cache
def jointed_truth(seed: int = 0) -> tuple[Truth, Tensor]:
    """A subject with an open mouth and a turned head, and its dense surface in the world, mm."""
    model, rng = jointed_face(), np.random.default_rng(seed)
    subject = Subject()
    identity = torch.from_numpy(rng.normal(0, 0.5, model.n_identity)).float()
    expression = torch.zeros(model.n_expression)
    expression[: model.unposed.n_expression] = torch.tensor([0.4, -0.3, 0.2])
    deviation = model.skeleton.deviation.flatten()
    for name, turn in (("jaw_x", JAW), ("neck_y", NECK)):
        expression[index(name)] = turn / deviation[index(name) - model.unposed.n_expression]
    flat = torch.zeros(16, 16)
    shape = _assemble(model, identity, expression, flat[..., None].expand(16, 16, 3), flat)
    T = rigid_matrix(
        rotation_exp(torch.tensor([np.pi / 2, 0.0, 0.0]).float())
        @ rotation_exp(torch.tensor([0.05, -0.1, 0.03])),
        torch.tensor([80.0, -40.0, 1200.0]),
    )
    coefficients, albedo = paint(model, subject, rng)
    coarse, dense = _moved(T, shape.coarse), _moved(T, shape.surface)
    light = studio_light(rng, T[:3, :3])
    normals = mesh.vertex_normals(dense, shape.faces)[: len(coarse)]
    truth = Truth(
        shape, T, coefficients, albedo, light, coarse, coarse, dense[: len(coarse)], normals
    )
    return truth, dense


@cache
def jointed_views(size: int = 160) -> tuple[View, ...]:
    """Five photographs of one instant with true landmarks."""
    truth, dense = jointed_truth()
    rng = np.random.default_rng(1)
    cameras = rig_cameras(truth, (-40.0, -20.0, 0.0, 20.0, 40.0), size, rng)
    marks = _landmarks(jointed_face(), truth, cameras, "ibug68")
    views = []
    for camera in cameras:
        light, mask, _ = _photograph(truth, dense, camera, 2)
        image = _develop(light, mask, 0.001, rng)
        views.append(View(camera.name, image, camera, True, 0, marks[camera.name], mask))
    return tuple(views)
