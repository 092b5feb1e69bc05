"""Reading photographs of every kind the same way, sRGB, and what is said of unusable ones."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from hrnfit.io import image as module
from hrnfit.io import image_file
from hrnfit.io.exif import FOCAL_LENGTH_35, ORIENTATION, orient
from hrnfit.io.image import (
    encode_srgb,
    linear_from_srgb,
    load_image,
    read_mask,
    srgb_from_linear,
    write_png,
)


def _codes(height=40, width=60, channels=3, dtype=np.uint8):
    rng = np.random.default_rng(0)
    shape = (height, width, channels) if channels > 1 else (height, width)
    return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def _linear(codes):
    return linear_from_srgb(torch.from_numpy(codes.astype(np.float64) / np.iinfo(codes.dtype).max))


def test_srgb_by_hand():
    # IEC 61966-2-1: code 0.5 is 0.21404 linear; the linear part ends at 0.04045 / 12.92.
    values = torch.tensor([0.0, 0.04045, 0.5, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.0031308, 0.2140411, 1.0], dtype=torch.float64)
    torch.testing.assert_close(linear_from_srgb(values), expected, atol=1e-7, rtol=0)


def test_codes_do_not_depend_on_the_blocks_they_are_encoded_in(monkeypatch):
    image = torch.rand(7, 5, 3, generator=torch.Generator().manual_seed(0))
    whole = encode_srgb(image)
    monkeypatch.setattr(module, "BLOCK", 4)
    assert np.array_equal(encode_srgb(image), whole)
    assert encode_srgb(torch.zeros(0, 3)).shape == (0, 3)
    assert encode_srgb(torch.tensor(1.0), bits=16) == 65535


def test_srgb_round_trip_and_gradients():
    x = torch.tensor([-0.2, 0.0, 1e-4, 0.1, 0.7, 1.5], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(linear_from_srgb(srgb_from_linear(x)), x, atol=1e-7, rtol=0)
    assert torch.autograd.gradcheck(srgb_from_linear, (x,))
    assert torch.autograd.gradcheck(linear_from_srgb, (x,))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_files(tmp_path, suffix, dtype, channels):
    codes = _codes(channels=channels, dtype=dtype)
    path = tmp_path / f"a{suffix}"
    stored = codes if channels == 1 else codes[..., [2, 1, 0, 3][:channels]]
    assert cv2.imwrite(str(path), stored)
    photograph = load_image(path)
    grey = codes[..., None].repeat(3, -1) if channels == 1 else codes[..., :3]
    assert photograph.image.dtype == torch.float32
    torch.testing.assert_close(photograph.image.double(), _linear(grey), atol=1e-6, rtol=0)
    if channels == 4:
        alpha = codes[..., 3] / np.iinfo(dtype).max
        torch.testing.assert_close(
            photograph.alpha.double(), torch.from_numpy(alpha), atol=1e-6, rtol=0
        )
    else:
        assert photograph.alpha is None


def test_arrays_equal_files(tmp_path):
    codes = _codes()
    Image.fromarray(codes).save(tmp_path / "a.png")
    from_file = load_image(tmp_path / "a.png").image
    assert torch.equal(load_image(codes).image, from_file)
    assert torch.equal(load_image(torch.from_numpy(codes)).image, from_file)
    assert torch.equal(load_image(from_file.numpy()).image, from_file)  # float arrays are linear


def test_palette_and_jpeg(tmp_path):
    smooth = cv2.GaussianBlur(_codes(), (0, 0), 8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=98)
    difference = encode_srgb(load_image(tmp_path / "a.jpg").image).astype(int) - smooth
    assert np.abs(difference).mean() < 2
    Image.fromarray(smooth).quantize(64).save(tmp_path / "p.png")
    difference = encode_srgb(load_image(tmp_path / "p.png").image).astype(int) - smooth
    assert np.abs(difference).mean() < 8


@pytest.mark.parametrize("max_size", [None, 512])
def test_an_image_too_large_to_decode_is_refused_by_its_header(tmp_path, max_size):
    size = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", b"")]
    content = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    with pytest.raises(ValueError, match=r"over 178 megapixels, .* shrink the file itself"):
        load_image(tmp_path / "huge.png", max_size)


def test_a_damaged_png_is_told_in_the_error_only(tmp_path, capfd):
    whole = _jpeg(tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged or cut off"):
        load_image(tmp_path / "a.png")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    upright = np.zeros((40, 60), np.uint8)
    upright[:20, :30] = 250  # bright top-left quarter
    upright[:20, 30:] = 120
    # The stored pixels are the ones that `orient` turns upright; found by trying all eight.
    stored = next(
        s for s in (orient(upright, o) for o in range(1, 9))
        if np.array_equal(orient(s, orientation), upright)
    )  # fmt: skip
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(stored).save(path, exif=exif)
    read = encode_srgb(load_image(path).image)[..., 0].astype(int)
    assert read.shape == (40, 60)
    assert np.abs(read - upright).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_equals_pillow(orientation):
    codes = _codes(5, 7)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = Image.fromarray(codes)
    picture.info["exif"] = exif.tobytes()
    picture.getexif().update(exif)
    expected = ImageOps.exif_transpose(picture)
    np.testing.assert_array_equal(orient(codes, orientation), np.asarray(expected))


def test_focal_length_reaches_the_photograph(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[FOCAL_LENGTH_35] = 50
    Image.fromarray(_codes(400, 600)).save(tmp_path / "a.jpg", exif=exif)
    # 3:2 like the film: 50 mm on 36 mm is 50 / 36 of the width.
    assert load_image(tmp_path / "a.jpg").focal == pytest.approx(600 * 50 / 36)
    assert load_image(tmp_path / "a.jpg", max_size=300).focal == pytest.approx(300 * 50 / 36)


def test_max_size_averages_linear_light():
    codes = np.zeros((64, 128, 3), np.uint8)
    codes[:, ::2] = 255
    photograph = load_image(codes, max_size=64)
    assert photograph.full_size == (64, 128)
    assert tuple(photograph.image.shape) == (32, 64, 3)
    torch.testing.assert_close(photograph.image, torch.full((32, 64, 3), 0.5))


def test_png_round_trip(tmp_path):
    linear = torch.rand(9, 7, 3, generator=torch.Generator().manual_seed(1))
    for bits, tolerance in ((8, 5e-3), (16, 2e-5)):
        write_png(tmp_path / "a.png", linear, bits, alpha=torch.ones(9, 7))
        stored = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
        assert stored.shape == (9, 7, 4)
        back = _linear(np.ascontiguousarray(stored[..., [2, 1, 0]]))
        torch.testing.assert_close(back.float(), linear, atol=tolerance, rtol=0)
    write_png(tmp_path / "g.png", linear[..., 0])
    assert cv2.imread(str(tmp_path / "g.png"), cv2.IMREAD_UNCHANGED).shape == (9, 7)
    with pytest.raises(ValueError, match="bits: 8 or 16"):
        encode_srgb(linear, 12)


def test_masks(tmp_path):
    mask = np.zeros((40, 50), np.uint8)
    mask[:10] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    expected = torch.from_numpy((mask > 0).astype(np.float32))
    assert torch.equal(read_mask(tmp_path / "m.png"), expected)
    assert torch.equal(read_mask(mask > 0), expected)
    assert torch.equal(read_mask(torch.from_numpy(mask // 255)), expected)
    assert torch.equal(read_mask(np.repeat(mask[..., None], 3, -1)), expected)
    with pytest.raises(ValueError, match="values from 0 to 1"):
        read_mask(np.full((4, 4), 1.5))
    with pytest.raises(ValueError, match=r"expected \(H, W\)"):
        read_mask(np.zeros(4))


def _jpeg(path, height=40, width=40):
    Image.fromarray(_codes(height, width)).save(path)
    return path


def test_unusable_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such image; check the path"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="a folder, not an image"):
        load_image(tmp_path)
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.jpg: the file is empty"):
        load_image(tmp_path / "empty.jpg")
    (tmp_path / "text.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match="not an image that can be read; give PNG, JPEG or TIFF"):
        load_image(tmp_path / "text.png")
    with pytest.raises(ValueError, match=r"one\.png: 1x1 pixels are too few.* 32"):
        load_image(_jpeg(tmp_path / "one.png", 1, 1))
    monkeypatch.setattr(image_file, "MAX_PIXELS", 1000)
    with pytest.raises(
        ValueError, match="40x40 pixels: over 0 megapixels; shrink it, or pass max_size"
    ):
        load_image(_jpeg(tmp_path / "huge.png"))
    assert load_image(tmp_path / "huge.png", max_size=32).image.shape == (32, 32, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_cut_off_files(tmp_path, suffix):
    path = _jpeg(tmp_path / f"a{suffix}", 200, 200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"(damaged or cut off|not an image that can be read)"):
        load_image(path)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((3, 64, 64)), ValueError, "move the channels to the end"),
        (np.zeros((64, 64, 2)), ValueError, r"expected \(H, W\), \(H, W, 3\)"),
        (np.zeros((64, 64), np.int64), TypeError, "expected uint8 or uint16"),
        (np.full((64, 64), np.nan), ValueError, "NaN"),
        (np.full((64, 64), 200.0), ValueError, "0 to about 1, got 200 to 200.*pass uint8"),
        (np.zeros((8, 64)), ValueError, "image array: 64x8 pixels are too few"),
    ],
)
def test_unusable_arrays(array, error, message):
    with pytest.raises(error, match=message):
        load_image(array)
