"""The crop's transform against pictures that were really resized, and its camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from hrnfit.camera import Camera
from hrnfit.infer.alignment import Alignment
from hrnfit.infer.crop import Crop, crop_from_alignment
from hrnfit.io.image import encode_srgb, linear_from_srgb

CROPS = {
    "shrunk": Crop(600, 801, 271, 361, 60, 30, 224),
    "enlarged": Crop(90, 70, 412, 320, 41, 77, 224),
    "beyond the border": Crop(600, 801, 150, 200, -40, -31, 224),
    "as it is": Crop(400, 500, 400, 500, 3, 90, 224),
    "512": Crop(600, 801, 620, 827, 101, 55, 512),
}


@pytest.fixture(params=CROPS.values(), ids=CROPS.keys())
def crop(request) -> Crop:
    return request.param


def noise(crop: Crop, seed: int = 0) -> torch.Tensor:
    """Codes of white noise as linear light: the worst case for any resampling."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (crop.height, crop.width, 3)).astype(np.float32)
    return linear_from_srgb(torch.from_numpy(codes) / 255.0)


def whole(crop: Crop, codes: np.ndarray, filter_: Image.Resampling) -> np.ndarray:
    """The released procedure: resize everything, then cut."""
    resized = Image.fromarray(codes).resize((crop.resized_width, crop.resized_height), filter_)
    right, bottom = crop.left + crop.size, crop.top + crop.size
    return np.asarray(resized.crop((crop.left, crop.top, right, bottom)))


def test_integers_by_hand():
    # scale 0.68: 1000 x 800 becomes 680 x 544; origin at index (400, 300), so 272 and 204 px in
    crop = crop_from_alignment(Alignment(0.68, (400.0, 500.0), 800, 1000))
    assert (crop.resized_width, crop.resized_height) == (680, 544)
    # left: 340 - 112 - 100 * 0.68 = 160; top: 272 - 112 - 100 * 0.68 = 92
    assert (crop.left, crop.top, crop.size) == (160, 92, 224)


def test_fractions_are_cut_towards_zero():
    # 501 * 0.25 = 125.25; left: 62.5 - 112 + (10 - 250.5) / 4 = -109.625, of which -109 is kept
    crop = crop_from_alignment(Alignment(0.25, (10.0, 200.0), 400, 501))
    assert (crop.resized_width, crop.left) == (125, -109)


def test_the_finer_crop_shows_the_same_square():
    alignment = Alignment(0.337, (655.3, 421.9), 1200, 1600)
    coarse, fine = crop_from_alignment(alignment), crop_from_alignment(alignment, 512)
    corners = torch.tensor([[0.0, 0.0], [224.0, 224.0]], dtype=torch.float64)
    seen = fine.pixels(coarse.photograph_pixels(corners)) * (224 / 512)
    # each side was cut to whole pixels on its own: up to one px of the coarse crop, and a half
    torch.testing.assert_close(seen, corners, atol=1.5, rtol=0)


def test_pixels_and_back(crop, generator):
    points = torch.rand(50, 2, generator=generator, dtype=torch.float64) * 900 - 50
    torch.testing.assert_close(crop.photograph_pixels(crop.pixels(points)), points)
    torch.testing.assert_close(crop.pixels(crop.photograph_pixels(points)), points)


def test_the_photographs_corners_by_hand():
    crop = CROPS["shrunk"]
    corners = torch.tensor([[0.0, 0.0], [801.0, 600.0]], dtype=torch.float64)
    torch.testing.assert_close(crop.pixels(corners), corners.new_tensor([[-60, -30], [301, 241]]))


def test_the_camera_of_the_crop_projects_as_its_pixels(crop, generator):
    K = [[700.0, 0.4, 390.0], [0.0, 690.0, 310.0], [0.0, 0.0, 1.0]]
    lens = (0.15, -0.05, 0.01, -0.004, 0.02)
    camera = Camera.create(K, None, lens, height=crop.height, width=crop.width)
    points = torch.randn(40, 3, generator=generator, dtype=torch.float64) * 60
    points[:, 2] += 500
    expected = crop.pixels(camera.project(points))
    torch.testing.assert_close(crop.camera(camera).project(points), expected, atol=1e-9, rtol=0)


def test_a_camera_of_another_picture_is_refused(crop):
    camera = Camera.create(
        [[700, 0, 50], [0, 700, 50], [0, 0, 1]], height=99, width=100, name="cam_3"
    )
    with pytest.raises(ValueError, match=r"'cam_3': for 100x99 px, but the crop is of"):
        crop.camera(camera)


def dots(crop: Crop, centres: torch.Tensor, sigma: float) -> torch.Tensor:
    """Round white spots on black at pixels of the photograph, as linear light of their codes."""
    y = torch.arange(crop.height, dtype=torch.float64)[:, None, None] + 0.5
    x = torch.arange(crop.width, dtype=torch.float64)[None, :, None] + 0.5
    square = (x - centres[:, 0]).square() + (y - centres[:, 1]).square()
    value = torch.exp(-square / (2 * sigma**2)).amax(-1)
    return linear_from_srgb(value)[..., None].expand(-1, -1, 3).float()


def test_dots_land_where_pixels_says(crop):
    wanted = torch.tensor([[0.2, 0.25], [0.71, 0.3], [0.45, 0.77]], dtype=torch.float64) * crop.size
    centres = crop.photograph_pixels(wanted)
    if crop.left < 0:  # the photograph ends within this window
        centres = torch.tensor([[200.3, 180.1], [560.7, 300.2], [300.4, 480.8]]).double()
    scale = crop.resized_width / crop.width
    sigma = 5.0 / scale
    picture = crop.image(dots(crop, centres, sigma)).double().mean(0)
    grid = torch.arange(crop.size, dtype=torch.float64) + 0.5
    for centre in crop.pixels(centres):
        near = torch.hypot(grid[None] - centre[0], grid[:, None] - centre[1]) < 15
        mass = picture * near
        found = torch.stack([(mass.sum(0) * grid).sum(), (mass.sum(1) * grid).sum()]) / mass.sum()
        assert float((found - centre).abs().max()) < 0.02


def test_only_a_part_resized_is_the_whole_resized(crop):
    linear = noise(crop)
    expected = whole(crop, encode_srgb(linear), Image.Resampling.BICUBIC).astype(int)
    got = np.rint(crop.image(linear).movedim(0, -1).numpy() * 255).astype(int)
    different = np.abs(got - expected)
    assert different.max() <= 1
    assert (different > 0).mean() <= 3e-3


def test_the_mask_is_averaged(crop):
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(crop.height, crop.width, generator=generator)
    expected = whole(crop, mask.numpy(), Image.Resampling.BILINEAR)
    assert float((crop.mask(mask) - torch.from_numpy(expected.copy())).abs().max()) < 1e-3


def test_black_and_masked_outside_the_photograph():
    crop = CROPS["beyond the border"]
    image, mask = crop.image(torch.ones(600, 801, 3)), crop.mask(torch.ones(600, 801))
    inside = torch.zeros(224, 224)
    inside[31:181, 40:] = 1.0  # 150 rows; 200 columns end beyond the window
    torch.testing.assert_close(mask, inside)
    torch.testing.assert_close(image, inside.expand(3, -1, -1))


def test_the_input_of_the_network():
    crop = CROPS["as it is"]
    image = crop.image(torch.full((400, 500, 3), 0.2140411))  # code 127.5 of 255, up or down
    assert image.shape == (3, 224, 224)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert float((image - 0.5).abs().max()) <= 0.5 / 255 + 1e-6


def test_moving_the_photograph_by_whole_pixels_of_the_crop():
    first = Crop(400, 500, 200, 250, 20, -10, 224)
    moved = Crop(400, 500, 200, 250, 27, -4, 224)
    linear = noise(first)
    a, b = first.image(linear), moved.image(linear)
    difference = (a[:, 6:, 7:] - b[:, :-6, :-7]).abs()
    assert float(difference[:, 10:, :].max()) <= 1.0 / 255 + 1e-6


@pytest.mark.parametrize("face", [20.0, 3000.0])
def test_tiny_and_huge_faces_take_the_memory_of_the_crop(face):
    # 150 mm of face: the resized photograph would have 60,000 x 80,000 px for a face of 20
    height, width = 6000, 8000
    px_per_decimetre = face / 1.5
    alignment = Alignment(102.0 / px_per_decimetre, (4000.0, 3000.0), height, width)
    crop = crop_from_alignment(alignment)
    row = torch.linspace(0, 1, width)[None, :, None]
    image = crop.image(linear_from_srgb(row).expand(height, width, 3))
    columns = crop.photograph_pixels(torch.stack([torch.arange(224) + 0.5] * 2, 1).double())[:, 0]
    expected = (columns - 0.5) / (width - 1)
    inside = (columns > 0) & (columns < width)
    difference = image[0, 112].double() - expected
    assert float(difference[inside].abs().max()) < 1.1 / 255
    rows, columns = crop._source()
    pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
    assert pixels <= (math.ceil(224 / 102.0 * px_per_decimetre) + 200) ** 2


def test_a_face_outside_the_photograph_is_refused():
    with pytest.raises(ValueError, match=r"a\.jpg: the face lies outside the 1000x800 px"):
        crop_from_alignment(Alignment(0.68, (2000.0, 500.0), 800, 1000), name="a.jpg")


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"image: expected \(400, 500, 3\), got \(300, 500, 3\)"):
        CROPS["as it is"].image(torch.zeros(300, 500, 3))
    with pytest.raises(ValueError, match=r"mask: expected \(400, 500\)"):
        CROPS["as it is"].mask(torch.zeros(300, 500))
