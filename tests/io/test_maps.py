"""Maps survive the disk: EXR to the bit, signed PNG to half a code."""

import cv2
import numpy as np
import pytest
import torch

from hrnfit.io.maps import ZERO_CODE, read_exr, read_signed_png, write_exr, write_signed_png


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_exr_round_trip(tmp_path, shape, generator):
    values = 1e3 * torch.randn(shape, generator=generator)
    write_exr(tmp_path / "a.exr", values)
    assert torch.equal(read_exr(tmp_path / "a.exr"), values)


def test_exr_keeps_channel_order(tmp_path):
    import OpenEXR

    values = torch.zeros(2, 2, 3)
    values[..., 0], values[..., 2] = 1.0, 3.0
    write_exr(tmp_path / "a.exr", values)
    with OpenEXR.File(str(tmp_path / "a.exr"), separate_channels=True) as file:
        assert float(file.channels()["R"].pixels[0, 0]) == 1.0
        assert float(file.channels()["B"].pixels[0, 0]) == 3.0


def test_exr_errors(tmp_path, monkeypatch):
    import OpenEXR

    with pytest.raises(ValueError, match=r"expected a map \(H, W\) or \(H, W, 3\)"):
        write_exr(tmp_path / "a.exr", torch.zeros(2, 2, 4))
    with pytest.raises(FileNotFoundError, match="no such map"):
        read_exr(tmp_path / "a.exr")
    (tmp_path / "a.exr").write_bytes(b"no exr")
    with pytest.raises(ValueError, match="not an EXR file"):
        read_exr(tmp_path / "a.exr")

    def full(*_):
        raise RuntimeError("Cannot write: no space left")

    monkeypatch.setattr(OpenEXR.File, "write", full)
    with pytest.raises(OSError, match=r"cannot write .*b\.exr: .*no space left"):
        write_exr(tmp_path / "b.exr", torch.zeros(2, 2))
    assert [p.name for p in tmp_path.iterdir()] == ["a.exr"]


def test_signed_png_by_hand(tmp_path):
    values = torch.tensor([[0.0, 1.0, -1.0]])
    scale = write_signed_png(tmp_path / "a.png", values)
    assert scale == pytest.approx(1 / 32767)
    codes = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert codes.dtype == np.uint16
    assert codes.tolist() == [[ZERO_CODE, ZERO_CODE + 32767, ZERO_CODE - 32767]]


def test_signed_png_round_trip(tmp_path, generator):
    values = torch.randn(11, 9, generator=generator)
    scale = write_signed_png(tmp_path / "a.png", values)
    back = read_signed_png(tmp_path / "a.png", scale)
    torch.testing.assert_close(back, values, atol=0.51 * scale, rtol=0)
    assert write_signed_png(tmp_path / "zero.png", torch.zeros(2, 2)) == 1.0


def test_signed_png_errors(tmp_path):
    with pytest.raises(ValueError, match="scale: 1e-06 per code cannot hold values up to 1; use"):
        write_signed_png(tmp_path / "a.png", torch.ones(2, 2), scale=1e-6)
    with pytest.raises(ValueError, match="values: 1 of 1 values are NaN"):
        write_signed_png(tmp_path / "a.png", torch.full((1, 1), torch.nan))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match="no such map"):
        read_signed_png(tmp_path / "a.png", 1.0)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="not a 16-bit grey PNG"):
        read_signed_png(tmp_path / "a.png", 1.0)
