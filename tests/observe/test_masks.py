"""Masks: GrabCut finds a shape that the model only nearly covers; skin is told from hair."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch

from hrnfit.observe.masks import eroded, hull_mask, mask_from_projection, skin_mask
from hrnfit.observe.observation import Landmarks


def _ellipse(height, width, centre, axes):
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    return torch.from_numpy(mask).float()


def _overlap(a, b):
    a, b = a > 0.5, b > 0.5
    return float((a & b).sum() / (a | b).sum())


def _scene(generator):
    """A skin-coloured ellipse on a blue-grey ground, both with noise."""
    face = _ellipse(300, 240, (120, 150), (60, 85))
    skin, ground = torch.tensor([0.45, 0.25, 0.18]), torch.tensor([0.1, 0.15, 0.3])
    image = torch.where(face[..., None] > 0, skin, ground)
    return (image * (1 + 0.1 * torch.randn(300, 240, 1, generator=generator))).clamp(0, 1), face


def test_grab_cut_corrects_the_silhouette(generator):
    image, face = _scene(generator)
    silhouette = _ellipse(300, 240, (124, 153), (57, 80))
    mask = mask_from_projection(image, silhouette)
    assert _overlap(silhouette, face) < 0.91
    assert _overlap(mask, face) > 0.97
    assert torch.equal(mask, mask_from_projection(image, silhouette))


def test_masks_are_the_same_side_by_side(generator):
    """OpenCV's random numbers belong to a thread: several masks at once are those of one after the other."""
    scenes = [_scene(generator)[0] for _ in range(6)]
    silhouette = _ellipse(300, 240, (124, 153), (57, 80))
    alone = [mask_from_projection(image, silhouette) for image in scenes]
    assert not torch.equal(alone[0], alone[1])
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            together = pool.map(lambda image: mask_from_projection(image, silhouette), scenes)
            assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_grab_cut_needs_no_background(generator):
    # The face fills the picture: the seeds alone decide, nothing fails.
    image, _ = _scene(generator)
    assert bool((mask_from_projection(image, torch.ones(300, 240)) == 1).all())


def test_grab_cut_errors(generator):
    image, _ = _scene(generator)
    with pytest.raises(ValueError, match="silhouette: is empty"):
        mask_from_projection(image, torch.zeros(300, 240))


def test_hull_mask_by_hand():
    points = torch.tensor([[10.0, 10], [30, 10], [30, 40], [10, 40], [90.0, 90]])
    marks = Landmarks(points, torch.tensor([1.0, 1, 1, 1, 0]), "five")
    mask = hull_mask(marks, 50, 60)
    assert float(mask[12:38, 12:28].min()) == 1
    assert float(mask.sum()) == pytest.approx(20 * 30, rel=0.1)
    with pytest.raises(ValueError, match="a hull needs 3 points, got 2"):
        hull_mask(Landmarks(points, torch.tensor([1.0, 1, 0, 0, 0]), "five"), 50, 60)


def test_skin_mask_leaves_hair_out_and_keeps_shading(generator):
    image, face = _scene(generator)
    image = image * torch.linspace(0.35, 1.0, 240)[None, :, None]  # light from one side
    hair = torch.zeros(300, 240)
    hair[70:100] = 1
    hair = hair * face
    image = torch.where(hair[..., None] > 0, torch.tensor([0.02, 0.012, 0.01]), image)
    skin = skin_mask(image, face)
    assert float((skin * hair).sum() / hair.sum()) < 0.05
    kept = face * (1 - hair)
    assert float((skin * kept).sum() / kept.sum()) > 0.95
    with pytest.raises(ValueError, match="face: 0 pixels are too few"):
        skin_mask(image, torch.zeros(300, 240))


def test_eroded_by_hand():
    mask = torch.zeros(20, 20)
    mask[5:15, 5:] = 1
    small = eroded(mask, 2)
    expected = torch.zeros(20, 20)
    expected[7:13, 7:] = 1  # the image's border erodes nothing
    assert torch.equal(small, expected)
    assert eroded(mask, 0) is mask
