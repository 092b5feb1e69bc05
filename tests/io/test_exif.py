"""Focal length from EXIF: the two ways cameras record it, and when it must not be believed."""

import math

import pytest
from PIL import Image

from hrnfit.io.exif import EXIF_FOLDER, focal_from_exif

FILM, FOCAL, WIDTH, HEIGHT, RESOLUTION, UNIT = 0xA405, 0x920A, 0xA002, 0xA003, 0xA20E, 0xA210


def _exif(**tags):
    exif = Image.Exif()
    names = {"film": FILM, "focal": FOCAL, "width": WIDTH, "height": HEIGHT,
             "resolution": RESOLUTION, "unit": UNIT}  # fmt: skip
    exif.get_ifd(EXIF_FOLDER).update({names[k]: v for k, v in tags.items()})
    return exif


def test_equivalent_keeps_the_diagonal():
    # 26 mm on a 4:3 phone picture: the diagonal of 5000 px stands for 43.27 mm.
    got = focal_from_exif(_exif(film=26), 3000, 4000)
    assert got == pytest.approx(26 / math.hypot(36, 24) * 5000)


def test_upright_pictures_give_the_same():
    exif = _exif(film=50, width=6000, height=4000)
    assert focal_from_exif(exif, 6000, 4000) == focal_from_exif(exif, 4000, 6000)


def test_sensor_resolution():
    # 5 um pixels are 200 per mm: 50 mm are 10000 px, half of that at half size.
    exif = _exif(focal=50.0, resolution=200.0, unit=4, width=6000, height=4000)
    assert focal_from_exif(exif, 4000, 6000) == pytest.approx(10000)
    assert focal_from_exif(exif, 2000, 3000) == pytest.approx(5000)
    inch = _exif(focal=50.0, resolution=5080.0, unit=2)
    assert focal_from_exif(inch, 4000, 6000) == pytest.approx(10000)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"film": 0},
        {"focal": 50.0},
        {"focal": float("nan"), "resolution": 200.0, "unit": 4},
        {"film": 50, "width": 6000, "height": 4000},  # now square: it was cropped
        {"film": "unknown"},
    ],
)
def test_unknown_is_none(tags):
    assert focal_from_exif(_exif(**tags), 1000, 1000) is None
