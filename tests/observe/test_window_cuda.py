"""The kernel that cuts windows against the plain law, in Triton's interpreter or on a device."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.camera import Camera
from hrnfit.geometry import device_kernels
from hrnfit.geometry.launched import INTERPRETED
from hrnfit.observe.device_windows import DevicePhotographs
from hrnfit.observe.observation import View, WorkingViews
from hrnfit.observe.window_cuda import packed_cameras, packed_placement
from hrnfit.observe.window_place import Cut, Placement, cut_of
from hrnfit.observe.working import working_views

CPU = torch.device("cpu")
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

LENSES = {
    "none": [],
    "four": [-0.12, 0.05, 0.001, -0.0007],
    "five": [-0.12, 0.05, 0.001, -0.0007, 0.01],
    "rational": [-0.12, 0.05, 0.001, -0.0007, 0.01, 0.02, 0.01, 0.001],
    "prism": [-0.12, 0.05, 0.001, -0.0007, 0.01, 0.02, 0.01, 0.001, 1e-3, 1e-4, -1e-3, 2e-4],
    "folds": [-1 / 0.12, 0.0, 0.0, 0.0],  # at r = 0.2 focal lengths
}
SIZES = {"enlarged": 111, "reduced by 2.5": 24, "reduced by 9": 7}
"""Windows onto boxes of 60 px; none is a multiple of the block."""
BOX = (-5.0, 3.25, 55.0, 63.25)
"""Beyond the left and the lower border of 64 x 56 px."""


def view(generator: torch.Generator, lens: list[float], skew: float = 0.0, masked: bool = True):
    """64 x 56 px of noise, the hardest to look up in the same place."""
    height, width = 56, 64
    K = [[150.0, skew, width / 2 + 2.3], [0, 151.2, height / 2 - 1.7], [0, 0, 1]]
    camera = Camera.create(K, distortion=lens, height=height, width=width, name="cam")
    image = torch.rand(height, width, 3, generator=generator)
    mask = (torch.rand(height, width, generator=generator) > 0.3).float() if masked else None
    return View("cam", image, camera, True, 0, None, mask)


def both(
    views: list[View], boxes: Tensor, size: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[WorkingViews, WorkingViews]:
    """Windows by the kernel, and by plain torch on the CPU."""
    with monkeypatch.context() as patched:
        patched.setattr(device_kernels, "DEVICES", frozenset({DEVICE.type}))
        ours = DevicePhotographs(tuple(views), DEVICE).windows(boxes, size)
    monkeypatch.setattr(device_kernels, "DEVICES", frozenset())
    return ours, DevicePhotographs(tuple(views), CPU).windows(boxes, size)


def check(ours: WorkingViews, plain: WorkingViews, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(ours.images.cpu(), plain.images, atol=tolerance, rtol=0)
    torch.testing.assert_close(ours.masks.cpu(), plain.masks, atol=1e-6, rtol=0)
    assert torch.equal(ours.inside.cpu(), plain.inside)
    torch.testing.assert_close(ours.K.cpu(), plain.K, atol=0, rtol=0)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("skew", [0.0, 0.7])
@pytest.mark.parametrize("lens", LENSES)
def test_it_sees_what_plain_torch_sees(lens, skew, size, generator, monkeypatch):
    views = [view(generator, LENSES[lens], skew)]
    ours, plain = both(views, torch.tensor([BOX]), size, monkeypatch)
    # weights of the bicubic are differences of numbers up to 6, which torch fuses
    check(ours, plain, 3e-6 if size > 60 else 1e-6)
    assert 0.2 < plain.inside.float().mean() < 0.98
    assert not bool((plain.masks == 1).all())


def test_views_of_several_sizes_lenses_and_scales_at_once(generator, monkeypatch):
    """One enlarging, one of blocks, one beyond its fold, one far off its photograph."""
    views = [
        view(generator, LENSES["five"]),
        view(generator, []),
        view(generator, LENSES["folds"], masked=False),
        view(generator, []),
    ]
    small = torch.rand(20, 33, 3, generator=generator)
    camera = Camera.create([[90.0, 0, 16], [0, 90.0, 11], [0, 0, 1]], height=20, width=33)
    views.append(View("small", small, camera, True, 0, None, None))
    boxes = torch.tensor(
        [
            [10.0, 5, 26, 21],
            [-30, -20, 100, 110],
            [0, 0, 64, 56],
            [900, 0, 960, 60],
            [-1, 0, 34, 20],
        ]
    )
    ours, plain = both(views, boxes, 21, monkeypatch)
    check(ours, plain, 3e-6)
    assert not bool(plain.inside[3].any())
    assert plain.inside[2].sum() < (plain.masks[2] >= 0).sum()
    assert bool(plain.inside[[0, 1, 2, 4]].flatten(1).any(1).all())
    host = working_views(tuple(views), boxes, 21)
    assert torch.equal(host.inside, plain.inside)


def test_pixels_by_hand(monkeypatch):
    """A ramp over columns, reduced twice: a window pixel is the mean of two columns; its mask ends with it."""
    ramp = (torch.arange(8.0) / 8)[None, :, None].expand(6, 8, 3).contiguous()
    camera = Camera.create([[8.0, 0, 4], [0, 8.0, 3], [0, 0, 1]], height=6, width=8)
    one = View("cam", ramp, camera, True, 0, None, None)
    ours, _ = both([one], torch.tensor([[2.0, 0, 10, 8]]), 4, monkeypatch)
    # columns 2 3, 4 5, 6 7, and beyond the border its last
    expected = torch.tensor([2.5, 4.5, 6.5, 7.0]) / 8
    torch.testing.assert_close(ours.images[0, 0, :, 1].cpu(), expected, atol=1e-6, rtol=0)
    assert ours.inside[0].tolist() == [[True, True, True, False]] * 3 + [[False] * 4]
    assert ours.masks[0].tolist() == [[1.0, 1.0, 1.0, 0.0]] * 3 + [[0.0] * 4]


def test_rows_of_numbers_by_hand():
    K = torch.tensor([[[100.0, 0.5, 50], [0, 101, 40], [0, 0, 1]]], dtype=torch.float64)
    lens = torch.tensor([0.1, 0.0, 0.0, 0.0], dtype=torch.float64)
    row = packed_cameras(K, [(80, 100)], [lens])[0].tolist()
    assert row[:9] == [100.0, 0.5, 50.0, 101.0, 40.0, 80.0, 100.0, float("inf"), 0.1]
    assert row[9:] == [0.0] * 11
    place = Placement.of(K, torch.tensor([[0.0, 0, 90, 90]]).double(), 20)
    level = torch.zeros(4, 42, 52)
    cut = cut_of(place, 0, (80, 100))
    assert cut == Cut(20, (80, 100), 2, 3, False)
    packed = packed_placement(place, [cut], [level])
    assert torch.equal(packed[:, :14], place.packed())
    assert packed[0, 14:].tolist() == [float(level.data_ptr()), 42.0, 52.0, 2.0, 3.0, 0.0, 20.0]
    assert int(packed[0, 14]) == level.data_ptr()
    with pytest.raises(ValueError, match="expected contiguous ones"):
        packed_placement(place, [cut], [level.transpose(1, 2)])


def test_any_precision_is_given(generator, monkeypatch):
    monkeypatch.setattr(device_kernels, "DEVICES", frozenset({DEVICE.type}))
    photographs = DevicePhotographs((view(generator, []),), DEVICE)
    made = photographs.windows(torch.tensor([BOX]), 9, torch.float64)
    assert {x.dtype for x in (made.images, made.masks, made.K)} == {torch.float64}
    assert made.inside.dtype == torch.bool


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.skipif(INTERPRETED, reason="torch sees no CUDA device")
def test_the_host_does_not_wait(generator):
    photographs = DevicePhotographs((view(generator, LENSES["five"]),), DEVICE)
    boxes = torch.tensor([BOX])
    photographs.windows(boxes, 24)  # sends the photograph
    try:
        torch.cuda.set_sync_debug_mode("error")
        made = photographs.windows(boxes + 1.0, 24)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert made.images.shape == (1, 24, 24, 3)
