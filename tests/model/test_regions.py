"""Region masks drawn from the landmarks."""

from __future__ import annotations

import numpy as np
import torch

from hrnfit.model.regions import _distance, _inside
from tests.model.faces import small_model


def test_places_fall_into_their_regions():
    model = small_model()
    for name, place in {
        "lips": (0.0, -49.0),
        "nose": (0.0, 2.0),
        "brows": (-32.0, 51.0),
        "lids": (32.0, 44.0),
        "forehead": (0.0, 85.0),
        "cheeks": (45.0, 0.0),
    }.items():
        vertex = (model.mean[:, :2] - torch.tensor(place)).norm(dim=1).argmin()
        inside = [region for region, mask in model.regions.items() if mask[vertex]]
        assert name in inside, (name, inside)


def test_rims_are_the_holes():
    model = small_model()
    eyes = model.mean[model.regions["eyes"]]
    assert set(eyes[:, 0].sign().tolist()) == {-1.0, 1.0}
    assert (eyes[:, 1] > 20.0).all()
    assert (model.mean[model.regions["mouth"]][:, 1] < -20.0).all()


def test_features_exclude_each_other_and_skin_is_the_rest():
    regions = small_model().regions
    for name in ("lips", "brows", "lids"):
        assert not bool((regions["skin"] & regions[name]).any())
    assert not bool((regions["cheeks"] & regions["nose"]).any())


def test_masks_are_symmetric():
    model = small_model()
    mirrored = torch.cdist(model.mean * torch.tensor([-1.0, 1, 1]), model.mean).argmin(dim=1)
    for name, mask in model.regions.items():
        assert (mask[mirrored] != mask).float().mean() < 0.02, name


def test_polygon_by_hand():
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    points = np.array([[1.0, 1.0], [3.0, 1.0], [-1.0, -1.0]])
    assert _inside(points, square).tolist() == [True, False, False]
    assert np.allclose(_distance(points, square, closed=True), [1.0, 1.0, np.sqrt(2.0)])
    assert np.allclose(_distance(points, square, closed=False), [1.0, 1.0, np.sqrt(2.0)])
    assert _distance(np.array([[-1.0, 1.0]]), square, closed=False)[0] == np.sqrt(2.0)
