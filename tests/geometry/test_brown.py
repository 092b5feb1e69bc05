"""The Brown lens model against OpenCV, its Jacobian against autodiff, its inverse against itself."""

import cv2
import numpy as np
import pytest
import torch

from hrnfit.geometry import brown

COEFFICIENTS = {
    0: [],
    4: [-0.12, 0.05, 0.001, -0.0007],
    5: [-0.12, 0.05, 0.001, -0.0007, 0.01],
    8: [0.3, -0.1, 0.001, -0.002, 0.05, 0.35, -0.05, 0.02],
    12: [0.3, -0.1, 0.001, -0.002, 0.05, 0.35, -0.05, 0.02, 0.001, -0.002, 0.003, 0.0004],
}


def _coefficients(count):
    return torch.tensor(COEFFICIENTS[count], dtype=torch.float64)


def _points(generator, *shape):
    return 0.8 * (torch.rand(*shape, 2, generator=generator, dtype=torch.float64) - 0.5)


@pytest.mark.parametrize("count", COEFFICIENTS)
def test_distort_equals_opencv(count, generator):
    xy = _points(generator, 100)
    x_cam = torch.cat([xy, torch.ones(100, 1)], -1).numpy()
    expected, _ = cv2.projectPoints(
        x_cam, np.zeros(3), np.zeros(3), np.eye(3), np.array(COEFFICIENTS[count]) if count else None
    )
    torch.testing.assert_close(
        brown.distort(xy, _coefficients(count)),
        torch.from_numpy(expected[:, 0]),
        atol=1e-12,
        rtol=0,
    )


def test_distort_by_hand():
    # r2 = 0.25, a = 1 + 0.1 * 0.25 = 1.025; x = 0.5 * 1.025 + p2 (r2 + 2 * 0.25) = 0.5125 + 0.0075
    got = brown.distort(
        torch.tensor([0.5, 0.0], dtype=torch.float64),
        torch.tensor([0.1, 0.0, 0.0, 0.01], dtype=torch.float64),
    )
    torch.testing.assert_close(got, torch.tensor([0.52, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("count", [4, 5, 8, 12])
def test_jacobian_equals_autodiff(count, generator):
    xy, k = _points(generator, 7), _coefficients(count)
    full = torch.autograd.functional.jacobian(lambda p: brown.distort(p, k).sum(0), xy)
    torch.testing.assert_close(brown.jacobian(xy, k), full.permute(1, 0, 2))


@pytest.mark.parametrize("count", COEFFICIENTS)
@pytest.mark.parametrize("batch", [(), (5,), (3, 4)])
def test_undistort_inverts_distort(count, batch, generator):
    xy, k = _points(generator, *batch), _coefficients(count)
    torch.testing.assert_close(brown.undistort(brown.distort(xy, k), k), xy, atol=1e-11, rtol=0)


def test_undistort_gradcheck(generator):
    xy = _points(generator, 3).requires_grad_()
    k = _coefficients(5).requires_grad_()
    assert torch.autograd.gradcheck(brown.undistort, (xy, k))


def test_undistort_float32_keeps_dtype():
    xy, k = torch.tensor([[0.2, -0.1]]), _coefficients(5).float()
    back = brown.undistort(brown.distort(xy, k), k)
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, xy, atol=1e-6, rtol=0)


def test_fold_radius_by_hand():
    # r (1 - r^2 / 3) stops growing at r = 1.
    k = torch.tensor([-1 / 3, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert float(brown.fold_radius(k)) == pytest.approx(1.0, abs=2e-3)
    assert bool(brown.is_valid(torch.tensor([0.98, 0.0], dtype=torch.float64), k))
    assert not bool(brown.is_valid(torch.tensor([1.02, 0.0], dtype=torch.float64), k))
    assert float(brown.fold_radius(torch.zeros(4, dtype=torch.float64))) == torch.inf
    assert brown.kept_fold_radius(k) == float(brown.fold_radius(k))
    assert brown.kept_fold_radius(k[:0]) == torch.inf


def test_undistort_beyond_the_fold_says_so():
    # r (1 - r^2 / 3) never exceeds 2 / 3.
    k = torch.tensor([-1 / 3, 0.0, 0.0, 0.0], dtype=torch.float64)
    pixels = torch.tensor([[0.5, 0.0], [0.7, 0.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"1 of 2 pixels lie outside the lens model.*folds over"):
        brown.undistort(pixels, k)
