"""Levels by tables: the same meshes as by the steps of `levels.py`, and nothing made twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.device_levels import base_topology, fine_topology
from hrnfit.fit.levels import level_meshes, levels_there
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.deformation import deformation_operator
from tests.fit.cap_model import cap, state_of

KERNELS = ("bilinear", "cubic")


@pytest.fixture
def model(generator):
    return cap(generator)


def both(model, state, displacement, subdivisions, kernel):
    """By steps and by tables, both on the CPU."""
    n = len(model.mean)
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, n, 8)
    given = (displacement, subdivisions, kernel)
    coarse = model.shape(state.identity[None].expand(2, -1), state.expression)
    pose = pose_matrix(state.pose.double(), state.pose_reference.double())
    mid = coarse + operator(state.deformation)
    there = levels_there(model, coarse, mid, pose, *given)
    return level_meshes(model, state, operator, *given), there


def check_same(want, got):
    for level, frames in want.items():
        assert len(frames) == len(got[level])
        for a, b in zip(frames, got[level], strict=True):
            assert a.name == b.name == level
            for name in ("faces", "uv", "uv_faces"):
                assert torch.equal(getattr(a, name), getattr(b, name)), name
            torch.testing.assert_close(b.vertices, a.vertices, atol=5e-4, rtol=0)
            torch.testing.assert_close(b.normals, a.normals, atol=1e-4, rtol=0)
            assert a.landmarks.keys() == b.landmarks.keys()
            for scheme, points in a.landmarks.items():
                torch.testing.assert_close(
                    b.landmarks[scheme], points, atol=5e-4, rtol=0, equal_nan=True
                )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("subdivisions", [1, 2])
def test_tables_give_the_same_meshes(model, generator, kernel, subdivisions):
    _, state = state_of(model, generator)
    displacement = torch.randn(16, 16, generator=generator)
    check_same(*both(model, state, displacement, subdivisions, kernel))


def test_a_seam_takes_the_mean_of_its_places(model, generator):
    """The chart cut along a column of the grid: its vertices have two places each."""
    uv, uv_faces = model.uv.clone(), model.uv_faces.clone()
    seam = (uv[:, 0] - 0.5).abs() < 1e-6
    twin = torch.cumsum(seam, 0) + len(uv) - 1
    right = (uv[uv_faces.long()][..., 0].mean(-1) > 0.5)[:, None] & seam[uv_faces.long()]
    uv_faces = torch.where(right, twin[uv_faces.long()].int(), uv_faces)
    uv = torch.cat([0.8 * uv, 0.8 * uv[seam] + 0.2])
    cut = replace(model, uv=uv, uv_faces=uv_faces)
    _, state = state_of(model, generator)
    check_same(*both(cut, state, torch.randn(16, 16, generator=generator), 1, "bilinear"))


def test_a_model_without_landmarks(model, generator):
    _, state = state_of(model, generator)
    check_same(*both(replace(model, landmarks={}), state, torch.zeros(16, 16), 1, "bilinear"))


def test_topology_is_made_once_per_model(model):
    assert base_topology(model) is base_topology(model)
    assert fine_topology(model, 1) is fine_topology(model, 1)
    assert fine_topology(model, 2) is not fine_topology(model, 1)
    assert base_topology(replace(model)) is not base_topology(model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_a_gpu(model, generator):
    _, state = state_of(model, generator)
    displacement = torch.randn(16, 16, generator=generator)
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, len(model.mean), 8)
    given = (model.to("cuda"), state.to("cuda"), operator.to("cuda"), displacement.cuda())
    got = level_meshes(*given, subdivisions=2)
    check_same(level_meshes(model, state, operator, displacement, subdivisions=2), got)
    assert got["fine"][0].vertices.device.type == "cpu"
