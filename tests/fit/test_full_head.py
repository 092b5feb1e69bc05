"""A fit with a head that has eyes and a mouth behind its skin: three views of one subject, all stages."""

from __future__ import annotations

from functools import cache

import pytest
import torch

import hrnfit
from hrnfit.fit.recipe import recipe_from
from hrnfit.fit.result import FitResult
from hrnfit.model import ict
from hrnfit.model.linear import LinearFaceModel
from hrnfit.synthetic import Subject, SyntheticRig, synthetic_rig
from tests.fit.test_fit import RIG
from tests.importers.write_ict import compact_full_arrays


@cache
def head() -> LinearFaceModel:
    return ict.from_compact(compact_full_arrays(), "small.npz", "full")


@cache
def rig() -> SyntheticRig:
    subject = Subject(identity_sd=0.5, deformation_mm=2.0, displacement_mm=0.0, noise=0.001)
    return synthetic_rig(head(), seed=1, size=128, subject=subject, scheme="ibug68")


@pytest.fixture(scope="module")
def result() -> FitResult:
    source = rig()
    return hrnfit.fit(
        source.images,
        list(source.cameras),
        model=head(),
        recipe=recipe_from(RIG),
        masks=source.masks,
        landmarks=source.landmarks,
        device="cpu",
    )


def test_the_skin_is_found(result):
    truth = rig().truth
    seen = rig().seen & head().regions["skin"]
    errors = {}
    for level in ("coarse", "mid"):
        offset = result.mesh(level).vertices - truth.mid
        errors[level] = float((offset * truth.normals).sum(-1).abs()[seen].mean())
    assert errors["mid"] < 0.8
    assert errors["mid"] < 0.7 * errors["coarse"]


def test_eyeballs_move_with_their_lids(result):
    """The deformation takes each ball along with the lids around it, as a whole."""
    coarse, mid = (result.mesh(level).vertices for level in ("coarse", "mid"))
    moved, regions = mid - coarse, head().regions
    assert bool(torch.isfinite(moved).all())
    for side in (head().mean[:, 0] > 0, head().mean[:, 0] < 0):
        ball, lids = moved[regions["eyes"] & side], moved[regions["lids"] & side]
        assert (ball.mean(dim=0) - lids.mean(dim=0)).norm() < 1.0
        assert (ball - ball.mean(dim=0)).norm(dim=1).max() < 1.0


def test_the_result_carries_the_chart(result, tmp_path):
    mesh = result.mesh("fine")
    assert mesh.uv_faces.shape == mesh.faces.shape
    assert len(mesh.uv) != len(mesh.vertices)  # islands
    result.save(tmp_path)
    assert any(tmp_path.rglob("*.obj"))
