"""A synthetic subject is what its truth says, and its photographs agree with each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hrnfit.geometry.mesh import vertex_normals
from hrnfit.model.face_model import LandmarkSet, ModelInfo
from hrnfit.model.linear import LinearFaceModel
from hrnfit.synthetic import Subject, synthetic_rig
from hrnfit.synthetic.subject import sample_map, sample_shape, smooth_noise


def dome(side: int = 33) -> LinearFaceModel:
    """Half an ellipsoid of a head's size, with one identity and three expression modes."""
    v, u = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    x, y = 150 * (u - 0.5), 200 * (0.5 - v)
    z = 90 * (1 - (x / 110) ** 2 - (y / 150) ** 2).clamp_min(0).sqrt()
    mean = torch.stack([x, y, z], -1).reshape(-1, 3)
    index = torch.arange(side * side).reshape(side, side)
    a, b, c, d = (
        i.reshape(-1) for i in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:])
    )
    faces = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).int()
    uv = torch.stack([u, v], -1).reshape(-1, 2)
    modes = torch.stack([mean * s for s in (0.02, 0.01, -0.01, 0.005)]).flatten(1)
    marks = LandmarkSet(
        torch.arange(0, 1000, 50, dtype=torch.int32), torch.full((20, 3), 1 / 3), torch.zeros(20)
    )
    return LinearFaceModel(
        info=ModelInfo("dome", "none", True, "test"),
        mean=mean,
        identity_basis=modes[:1],
        expression_basis=modes[1:],
        expression_names=("a", "b", "c"),
        expression_is_blendshape=True,
        faces=faces,
        uv=uv,
        uv_faces=faces,
        albedo_mean=torch.full((8, 8, 3), 0.4),
        albedo_basis=torch.zeros(0, 8, 8, 3),
        landmarks={"mediapipe478": marks},
    )  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return dome()


@pytest.fixture(scope="module")
def rig(model):
    return synthetic_rig(model, seed=3, size=128, subject=Subject(noise=0.0))


def test_same_seed_same_subject_other_seed_another(model, rig):
    again = synthetic_rig(model, seed=3, size=128, subject=Subject(noise=0.0))
    other = synthetic_rig(model, seed=4, size=128, yaws=(0,))
    for name, image in rig.images.items():
        assert torch.equal(image, again.images[name])
    assert not torch.allclose(rig.truth.mid, other.truth.mid, atol=1.0)


def test_maps_have_the_size_that_was_asked_for(model, rig):
    shape = rig.truth.shape
    assert shape.deformation.square().sum(-1).mean().sqrt().item() == pytest.approx(0.8, rel=1e-4)
    assert shape.displacement.square().mean().sqrt().item() == pytest.approx(0.06, rel=1e-4)
    # the displacement is along the normal: what remains across is nothing
    offset = rig.truth.surface - rig.truth.mid
    along = (offset * rig.truth.normals).sum(-1)
    across = (offset - along[:, None] * rig.truth.normals).norm(dim=-1)
    assert along.abs().max() > 0.1
    assert (
        across.max() < 0.2 * along.abs().max()
    )  # the normals are those of the surface, not of mid


def test_deformation_is_along_the_normal_unless_it_may_slide(model):
    """What lies along the surface is a gauge: it is there only when asked for."""
    rng = np.random.default_rng
    plain = sample_shape(model, Subject(), rng(5))
    slid = sample_shape(model, Subject(tangential=True), rng(5))
    normals = vertex_normals(plain.coarse, model.faces)

    def across(shape):
        offset = shape.mid - shape.coarse
        along = (offset * normals).sum(-1, keepdim=True) * normals
        return (offset - along).square().sum(-1).mean().sqrt().item()

    assert torch.equal(plain.coarse, slid.coarse)
    # normals between texel centres are interpolated, on a dome of 66 vertices per texel row's length
    assert across(plain) < 0.12
    assert across(slid) > 0.5


def test_levels_are_the_models_shape_in_the_world(model, rig):
    truth, state = rig.truth, rig.truth.state(model, views=3)
    head = model.shape(state.identity, state.expression[0])
    T = state.pose_reference[0]
    assert torch.allclose(head @ T[:3, :3].T + T[:3, 3], truth.coarse, atol=1e-3)
    moved = head + sample_map(state.deformation, model.uv)
    assert torch.allclose(moved @ T[:3, :3].T + T[:3, 3], truth.mid, atol=1e-3)
    assert torch.allclose(model.albedo(state.albedo).mean() + state.albedo_map.mean(), truth.albedo.mean(), atol=1e-3)  # fmt: skip
    assert state.camera.shape == (3, 6)


def test_cameras_look_at_the_head_from_the_asked_side(rig):
    truth = rig.truth
    R = truth.T_world_head[:3, :3].double()
    centre = truth.mid.double().mean(0)
    for camera, yaw in zip(rig.cameras, (-30, 0, 30), strict=True):
        towards = (camera.centre - centre) @ R
        assert math.degrees(math.atan2(towards[0], towards[2])) == pytest.approx(yaw, abs=6)
        assert camera.sees(truth.surface.double()).all()
    # the subject's left is +x: a camera there sees it from yaw > 0


def test_all_photographs_show_one_albedo_under_one_light(rig):
    """The law of a rig: a point looks alike in every view that sees it (matte, fixed light)."""
    truth = rig.truth
    facing = []
    colours = []
    for camera in rig.cameras:
        pixels = camera.project(truth.surface.double()) / 128
        colours.append(sample_map(rig.images[camera.name], pixels.float()))
        ray = torch.nn.functional.normalize(camera.centre - truth.surface.double(), dim=-1)
        facing.append((ray * truth.normals).sum(-1))
    both = (facing[0] > 0.7) & (facing[2] > 0.7) & rig.seen
    assert both.sum() > 100
    difference = (colours[0] - colours[2])[both].abs()
    spread = colours[0][both].std(0).mean()
    assert difference.median() < 0.25 * spread


def test_landmarks_and_masks_lie_on_the_head(rig):
    for name, marks in rig.landmarks.items():
        covered = sample_map(rig.masks[name][..., None], marks.points / 128)
        assert (covered[marks.confidence > 0] > 0.4).all()
        assert 0.1 < rig.masks[name].mean() < 0.8


def test_noise_is_smooth_standard_and_repeatable():
    noise = smooth_noise(np.random.default_rng(0), 64, 2, sigma=4.0)
    assert noise.mean().abs() < 1e-5
    assert noise.var(unbiased=False).item() == pytest.approx(1.0, rel=1e-4)
    assert (noise[1:] - noise[:-1]).std() < 0.5
    assert torch.equal(noise, smooth_noise(np.random.default_rng(0), 64, 2, sigma=4.0))
