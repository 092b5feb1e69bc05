"""One recipe for every model: none names one, and `rig` runs on files of several layouts as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import hrnfit
from hrnfit.importers.kinds import KINDS, import_model
from hrnfit.model.face_model import FaceModel
from hrnfit.model.store import GENERIC
from hrnfit.synthetic import Subject, SyntheticRig, synthetic_rig
from tests.importers.test_conformance import WRITERS

ROOT = Path(__file__).resolve().parents[2]

SMALL: dict[str, object] = {
    f"stages.{stage}.{key}": value
    for stage in range(6)
    for key, value in (("size", 96), ("texels", 64), ("steps", 3))
} | {
    "stages.6.size": 96,
    "stages.6.rounds": 4,
    "stages.7.size": 96,
    "stages.7.texels": 64,
    "stages.7.steps": 1,
    "resolution.displacement": 32,
    "resolution.albedo": 64,
    "resolution.deformation": 32,
}
"""The recipe's own stages at a size for tests."""


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_recipes_name_no_model(recipe):
    words = set(re.findall(r"[a-z0-9_]+", recipe.read_text(encoding="utf-8").lower()))
    assert not words & {GENERIC, *KINDS, "bfm", "basel"}


def photographed(model: FaceModel) -> SyntheticRig:
    """A subject of the model before three small cameras; its landmarks are true."""
    subject = Subject(identity_sd=0.6, expression=0.2, deformation_mm=0.5)
    return synthetic_rig(model, seed=3, size=128, subject=subject, scheme="ibug68")


@pytest.mark.parametrize("kind", ["ict", "bfm09", "bfm19", "flame", "hifi3d"])
def test_the_rig_recipe_runs_on_every_layout(kind, tmp_path):
    written = WRITERS[kind](tmp_path)
    model = import_model(written.kind, written.path, kind, written.options)
    made = photographed(model)
    result = hrnfit.fit(
        made.images,
        made.cameras,
        model=model,
        masks=made.masks,
        landmarks=made.landmarks,
        recipe="rig",
        device="cpu",
        overrides=SMALL,
    )
    assert result.provenance["model"]["name"] == kind
    mean = model.shape(torch.zeros(model.n_identity), torch.zeros(model.n_expression))
    pose = made.truth.T_world_head
    error = off(result.mesh("mid").vertices, made)
    knows_nothing = off(mean @ pose[:3, :3].T + pose[:3, 3], made)  # the mean, truly placed
    assert error < 0.5
    assert error < 0.5 * knows_nothing


def off(vertices: torch.Tensor, made: SyntheticRig) -> float:
    """Median distance from the true surface along its normal, of what the cameras see, mm."""
    truth = made.truth
    across = ((vertices - truth.surface) * truth.normals).sum(1).abs()
    return float(across[made.seen].median())
