"""What is prepared on one machine is the same on the other: codes, landmarks, rigs."""

from __future__ import annotations

import lzma
import pickle

import pytest
import torch
from torch import Tensor

from benchmarks import cases
from benchmarks.prepared import Prepared, Recording, checksum, decoded, encoded, load
from hrnfit.io.image import encode_srgb, load_image
from hrnfit.observe.landmarks import LandmarkDetector
from hrnfit.observe.observation import Landmarks
from tests.fit.small_scene import rig

NAME = "cam_0"
KEY = ("sheet", 1, 128)


class Counting:
    """A detector that finds one point, or nothing, and counts."""

    def __init__(self, found: Landmarks | None) -> None:
        self.found, self.calls = found, 0

    def detect(self, image: Tensor) -> Landmarks | None:
        self.calls += 1
        return self.found


@pytest.fixture
def stores(monkeypatch):
    """The benchmarks' own stores, empty, and put back afterwards."""
    monkeypatch.setattr(cases, "RIGS", {})
    monkeypatch.setattr(cases, "MASKS", {})
    return cases


def mark() -> Landmarks:
    return Landmarks(torch.tensor([[3.0, 4.0]]), torch.ones(1), "five")


def test_a_checksum_survives_the_way_through_a_file(generator):
    image = torch.rand(40, 50, 3, generator=generator)
    again = load_image(encode_srgb(image)).image
    assert not torch.equal(again, image)
    assert checksum(again) == checksum(image)
    other = image.clone()
    other[7, 8, 1] = 1.0 - other[7, 8, 1].round()
    assert checksum(other) != checksum(image)


def test_a_rig_comes_back():
    """Images to the bit, for they are rounded as in a file; masks to half a code."""
    source = rig()
    packed = encoded(rig())
    again = decoded(packed)
    for name in source.images:
        assert torch.equal(again.images[name], source.images[name])
        assert (again.masks[name] - source.masks[name]).abs().max() <= 0.5 / 255 + 1e-6
        assert again.landmarks[name] is source.landmarks[name]
    assert torch.equal(again.truth.surface, source.truth.surface)
    assert again.cameras is source.cameras
    assert packed.images[NAME].dtype == packed.masks[NAME].dtype == "uint8"
    assert packed.rest.truth.albedo.shape == (1, 1, 3)


@pytest.mark.parametrize("found", [mark(), None])
def test_each_photograph_is_detected_once(found):
    """Also one in which nothing was found."""
    inner = Counting(found)
    detector = Recording(inner, {})
    assert isinstance(detector, LandmarkDetector)
    first, second = (rig().images[name] for name in ("cam_0", "cam_1"))
    for image in (first, first.clone(), second, first):
        assert detector.detect(image) is found
    assert inner.calls == 2
    assert set(detector.found) == {checksum(first), checksum(second)}


def test_prepared_answers_for_the_photographs_it_knows():
    known, unknown = (rig().images[name] for name in ("cam_0", "cam_1"))
    prepared = Prepared({checksum(known): mark()})
    assert isinstance(prepared, LandmarkDetector)
    assert torch.equal(prepared.detect(known).points, mark().points)
    with pytest.raises(KeyError, match=r"not prepared; run python -m benchmarks\.prepared"):
        prepared.detect(unknown)
    assert Prepared({checksum(unknown): None}).detect(unknown) is None


def test_nothing_is_read_without_a_file(stores):
    assert load(None) is None
    assert stores.RIGS == {}


def test_a_written_file_is_read_back_and_used(tmp_path, stores):
    source = rig()
    image = source.images[NAME]
    mask = {NAME: (255 * source.masks[NAME]).byte().numpy()}
    prepared = Prepared({checksum(image): mark()}, {"wild": mask}, {KEY: encoded(rig())})
    path = tmp_path / "prepared.xz"
    path.write_bytes(lzma.compress(pickle.dumps(prepared)))
    again = load(path)
    assert again is not None
    found = again.detect(image)
    assert found is not None
    assert found.scheme == mark().scheme
    assert torch.equal(found.points, mark().points)
    assert torch.equal(stores.RIGS[KEY].images[NAME], image)
    assert (stores.MASKS["wild"][NAME] == mask[NAME]).all()
