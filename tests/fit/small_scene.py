"""A synthetic subject that a fit can see: a small smooth face, three cameras, and its scene."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from hrnfit.fit.model_constants import model_on
from hrnfit.fit.scene import Scene
from hrnfit.model.linear import LinearFaceModel
from hrnfit.observe.observation import View, WorkingViews
from hrnfit.render.backend import rasterizer
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.state import FaceState, Sharing
from hrnfit.synthetic import Subject, SyntheticRig, synthetic_rig
from hrnfit.synthetic.rig import _develop, _moved, _photograph
from hrnfit.synthetic.subject import _assemble
from tests.model.faces import small_model

NAMES = ("cam_0", "cam_1", "cam_2")


@cache
def face(identity: int = 4, expression: int = 3) -> LinearFaceModel:
    """The sheet of the model tests with smooth modes of about 2 mm."""
    model = small_model(identity=identity, expression=expression)
    generator = torch.Generator().manual_seed(5)

    def modes(count: int) -> Tensor:
        wave = 0.03 * torch.randn(count, 1, 3, 3, generator=generator)
        phase = 6.0 * torch.rand(count, 1, 3, generator=generator)
        angle = (model.mean[None, :, None] * wave).sum(-1) + phase
        return (2.0 * angle.sin()).flatten(1)

    return replace(model, identity_basis=modes(identity), expression_basis=modes(expression))


@cache
def rig(size: int = 128, deformation: float = 2.0, seed: int = 1) -> SyntheticRig:
    """Three photographs of one subject with sharp skin and little noise."""
    subject = Subject(identity_sd=0.5, deformation_mm=deformation, displacement_mm=0.0, noise=0.001)
    return synthetic_rig(face(), seed=seed, size=size, subject=subject, scheme="ibug68")


def views_of(source: SyntheticRig, frame: int = 0) -> tuple[View, ...]:
    return tuple(
        View(c.name, source.images[c.name], c, True, frame, source.landmarks[c.name],
             source.masks[c.name])
        for c in source.cameras
    )  # fmt: skip


def one_instant(views: int) -> Sharing:
    row = torch.zeros(views, dtype=torch.int64)
    return Sharing(row, row, row)


def scene_of(
    views: tuple[View, ...], state: FaceState, model: LinearFaceModel, sharing: Sharing
) -> Scene:
    scene = Scene(views, model, sharing, CpuRasterizer(), torch.device("cpu"))
    return scene.framed(state)


@cache
def truth_scene(dtype: torch.dtype = torch.float32) -> tuple[Scene, FaceState]:
    """Scene and true state; the map of 16 nodes is the best approximation of the true 64."""
    source = rig()
    state = source.truth.state(face(), len(NAMES), albedo_map=128)
    scene = scene_of(views_of(source), state, face(), one_instant(len(NAMES)))
    return (scene, state) if dtype == torch.float32 else (in_double(scene), state.to(dtype))


def in_double(scene: Scene, sizes: tuple[int, ...] = (96,)) -> Scene:
    """The scene with model and windows in float64, for finite differences."""
    windows = {scene.windows(size).size: cast(scene.windows(size)) for size in sizes}
    model = scene.model.to(torch.float64)  # type: ignore[attr-defined]
    return replace(scene, model=model, _windows=windows)


def cast(windows: WorkingViews) -> WorkingViews:
    moved = {
        name: getattr(windows, name).double()
        for name in ("images", "masks", "K", "T_cam_world", "landmarks", "landmark_confidence")
    }
    return replace(windows, **moved)


@cache
def truth_on(device: torch.device) -> tuple[Scene, FaceState]:
    """`truth_scene` on a device, with the renderer that is made for it."""
    scene, state = truth_scene()
    if device.type == "cpu":
        return scene, state
    model, renderer = model_on(scene.model, device), rasterizer("auto", device)
    moved = replace(
        scene, model=model, rasterizer=renderer, device=device, _windows={}, _sources=[]
    )
    return moved, state.to(device)


SMILES = (0, 1, 0, 1, 0)
"""Which of two instants each view of `wrinkled_scene` shows."""


@cache
def wrinkled_scene(size: int = 256) -> tuple[Scene, FaceState, Tensor]:
    """Five views of one subject at two instants, with a bump that stays and one that is elsewhere at the
    other instant; the true state without displacement, and the true map of each view, mm."""
    subject = Subject(identity_sd=0.5, deformation_mm=2.0, displacement_mm=0.0, noise=0.001)
    yaws = (-30.0, -15.0, 0.0, 15.0, 30.0)
    made = synthetic_rig(face(), seed=1, yaws=yaws, size=size, subject=subject, scheme="ibug68")
    truth, generator = made.truth, np.random.default_rng(0)
    maps = [bump(0.5, 0.3, 1.0) + bump(across, 0.6, 2.0) for across in (0.3, 0.7)]
    views = []
    for camera, instant in zip(made.cameras, SMILES, strict=True):
        own = truth.shape
        own = _assemble(face(), own.identity, own.expression, own.deformation, maps[instant])
        moved = replace(truth, shape=own)
        skin = _moved(truth.T_world_head, own.surface)
        light, mask, _ = _photograph(moved, skin, camera, 2)
        image = _develop(light, mask, subject.noise, generator)
        marks = made.landmarks[camera.name]
        views.append(View(camera.name, image, camera, True, 0, marks, mask))
    state = truth.state(face(), len(yaws), albedo_map=64)
    scene = scene_of(tuple(views), state, face(), one_instant(len(yaws)))
    return scene, state, torch.stack([maps[instant] for instant in SMILES])


def bump(across: float, down: float, height: float, size: int = 128) -> Tensor:
    """A round bump in UV, a twentieth of the chart wide; mm."""
    centres = (torch.arange(size) + 0.5) / size
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    return height * torch.exp(-((u - across).square() + (v - down).square()) / (2 * 0.05**2))
