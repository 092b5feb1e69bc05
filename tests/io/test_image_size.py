"""Sizes of photographs by their headers."""

from __future__ import annotations

import numpy as np
import torch

from hrnfit.io.image import write_png
from hrnfit.io.image_size import image_size


def test_arrays_and_files_say_height_and_width(tmp_path):
    write_png(tmp_path / "a.png", torch.zeros(30, 50, 3))
    assert image_size(tmp_path / "a.png") == (30, 50)
    assert image_size(str(tmp_path / "a.png")) == (30, 50)
    assert image_size(np.zeros((20, 40, 3), np.uint8)) == (20, 40)
    assert image_size(torch.zeros(20, 40)) == (20, 40)


def test_what_cannot_be_read_has_no_size(tmp_path):
    (tmp_path / "b.png").write_bytes(b"no image")
    assert image_size(tmp_path / "b.png") is None
    assert image_size(tmp_path / "missing.png") is None
    assert image_size(np.zeros(5)) is None
