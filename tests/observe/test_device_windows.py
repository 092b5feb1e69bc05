"""The device's windows follow the host's law; here on tensors of the CPU."""

import pytest
import torch
import torch.nn.functional as F

from hrnfit.camera import Camera
from hrnfit.observe import window_source as window_source_module
from hrnfit.observe.device_windows import DevicePhotographs
from hrnfit.observe.observation import Landmarks, View
from hrnfit.observe.window_place import Cut, Placement, cut_of
from hrnfit.observe.window_source import (
    PER_PIXEL,
    HostPhotographs,
    photograph_bytes,
    window_source,
)
from hrnfit.observe.working import window_camera, working_views

CPU = torch.device("cpu")
LENSES = {
    "rig": [-0.12, 0.05, 0.001, -0.0007, 0.0],
    "none": [],
    "rational": [-0.12, 0.05, 0.001, -0.0007, 0.01, 0.02, 0.01, 0.001, 1e-3, 1e-4, -1e-3, 2e-4],
    "folds": [-1 / 0.12, 0.0, 0.0, 0.0],  # at r = 0.2 focal lengths
}


def _camera(lens, height=200, width=260, skew=0.0):
    K = [[400.0, skew, width / 2 + 5.3], [0, 401.2, height / 2 - 7.7], [0, 0, 1]]
    return Camera.create(K, distortion=lens, height=height, width=width, name="cam")


def _view(camera, generator, masked=False, frame=0):
    """A photograph with details of 4 px and up to 0.4 per pixel."""
    h, w = camera.height, camera.width
    coarse = torch.rand(1, 3, h // 4, w // 4, generator=generator)
    image = F.interpolate(coarse, (h, w), mode="bicubic")[0].permute(1, 2, 0).clamp(0, 1)
    mask = (torch.rand(h, w, generator=generator) > 0.3).float() if masked else None
    points = camera.K[:2, 2].float() + 30 * (torch.rand(5, 2, generator=generator) - 0.5)
    marks = Landmarks(points, torch.tensor([1.0, 0, 0.5, 1, 1]), "five")
    return View("cam", image.contiguous(), camera, True, frame, marks, mask)


def _views(generator):
    return tuple(
        _view(camera, generator, masked=i % 2 == 0)
        for i, camera in enumerate(
            [
                _camera(LENSES["rig"]),
                _camera(LENSES["none"], 180, 180),
                _camera(LENSES["rational"], skew=0.7),
                _camera(LENSES["folds"]),
            ]
        )
    )


BOXES = torch.tensor(
    [[60.0, 30, 200, 170], [-20, 10, 150, 190], [20, 25, 240, 180], [0, 0, 260, 200]]
)
"""The second reaches beyond its photograph, the third is widened to a square, the last to beyond the fold."""


@pytest.mark.parametrize("size", [12, 40, 97, 256, 400])
def test_device_and_host_see_alike(size, generator):
    """Within the float32 coordinates: 2e-5 px of 260, so 2e-4 in a mask of single pixels enlarged."""
    views = _views(generator)
    host = working_views(views, BOXES, size)
    device = DevicePhotographs(views, CPU).windows(BOXES, size)
    torch.testing.assert_close(device.images, host.images, atol=3e-5, rtol=0)
    torch.testing.assert_close(device.masks, host.masks, atol=2e-4, rtol=0)
    assert torch.equal(device.inside, host.inside)
    assert bool(host.inside.any())
    assert not bool(host.inside.all())
    torch.testing.assert_close(device.K, host.K, atol=1e-4, rtol=1e-6)
    assert torch.equal(device.T_cam_world, host.T_cam_world)
    torch.testing.assert_close(device.landmarks, host.landmarks, atol=1e-4, rtol=1e-6)
    assert torch.equal(device.landmark_confidence, host.landmark_confidence)
    assert (device.names, device.landmark_scheme) == (host.names, host.landmark_scheme)


def test_the_lens_without_a_mask_on_one_size(generator):
    """All views of a rig at once, as its fit cuts them."""
    views = tuple(_view(_camera(LENSES["rig"]), generator) for _ in range(3))
    boxes = torch.tensor([[40.0, 20, 210, 190]]).repeat(3, 1) + torch.arange(3.0)[:, None]
    photographs = DevicePhotographs(views, CPU)
    place = Placement.of(photographs.K, boxes.double(), 64)
    assert {cut_of(place, row, (200, 260)) for row in range(3)} == {
        Cut(64, (200, 260), block=1, samples=3, enlarging=False)
    }
    host, device = working_views(views, boxes, 64), photographs.windows(boxes, 64)
    torch.testing.assert_close(device.images, host.images, atol=3e-5, rtol=0)
    assert bool((device.masks == 1).all())


def test_blocks_are_averaged_once(generator):
    photographs = DevicePhotographs(_views(generator)[:1], CPU)
    photographs.windows(BOXES[:1], 20)  # seven photograph pixels per window pixel: blocks of 3
    level = photographs.levels[0, 3]
    assert level.shape == (4, 69, 89)
    photographs.windows(BOXES[:1] + 1.0, 20)
    assert photographs.levels[0, 3] is level


def test_placement_by_hand():
    K = torch.tensor([[[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]], dtype=torch.float64)
    place = Placement.of(K, torch.tensor([[10.0, 20, 50, 40]], dtype=torch.float64), 80)
    # a square of 40 px from (10, 10), two window pixels per photograph pixel
    assert place.scale.tolist() == [2.0]
    assert place.corner.tolist() == [[10.0, 10.0]]
    assert place.shift.tolist() == [[-20.0, -20.0]]
    assert place.packed().shape == (1, 14)
    camera = Camera.create(K[0], height=100, width=100)
    window = window_camera(camera, torch.tensor([10.0, 20, 50, 40]), 80)
    torch.testing.assert_close(place.K[0], window.K)
    place = Placement.of(K, torch.tensor([[0.0, 0, 90, 90]]).double(), 20)
    # 4.5 photograph pixels per pixel
    assert cut_of(place, 0, (100, 100)) == Cut(20, (100, 100), 2, 3, False)


def test_who_cuts_the_windows(generator):
    views = _views(generator)
    source = window_source(views, CPU)
    host = working_views(views, BOXES, 40)
    assert torch.equal(source.windows(BOXES, 40).landmarks, host.landmarks)
    assert torch.equal(source.windows(BOXES, 40).images, host.images)
    assert source.windows(BOXES, 40, torch.float64).images.dtype == torch.float64


def test_errors(generator):
    photographs = DevicePhotographs(_views(generator), CPU)
    with pytest.raises(ValueError, match=r"boxes: expected \(4, 4\), got \(1, 4\); one left"):
        photographs.windows(BOXES[:1], 8)
    with pytest.raises(
        ValueError, match=r"left < right and top < bottom, got \[0.0, 0.0, 0.0, 0.0"
    ):
        photographs.windows(torch.zeros(4, 4), 8)
    with pytest.raises(ValueError, match="size: expected a positive"):
        photographs.windows(BOXES, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("size", [12, 97, 400])
def test_the_gpu_sees_what_the_host_sees(size, generator):
    views = _views(generator)
    host = working_views(views, BOXES, size)
    device = DevicePhotographs(views, torch.device("cuda")).windows(BOXES, size)
    torch.testing.assert_close(device.images.cpu(), host.images, atol=3e-5, rtol=0)
    torch.testing.assert_close(device.masks.cpu(), host.masks, atol=2e-4, rtol=0)
    assert torch.equal(device.inside.cpu(), host.inside)


def test_photographs_too_large_for_a_device_stay_on_the_host(monkeypatch, generator):
    views = _views(generator)[:1]
    assert photograph_bytes(views) == PER_PIXEL * views[0].image.shape[0] * views[0].image.shape[1]
    monkeypatch.setattr(window_source_module, "_memory", lambda device: photograph_bytes(views))
    source = window_source(views, torch.device("meta"))
    assert isinstance(source, HostPhotographs)
    boxes = torch.tensor([[4.0, 4.0, 20.0, 20.0]])
    made = source.windows(boxes, 16)
    assert {made.images.device.type, made.masks.device.type, made.K.device.type} == {"meta"}
    assert made.images.shape == (1, 16, 16, 3)
