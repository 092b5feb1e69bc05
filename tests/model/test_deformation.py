"""The deformation operator against a loop over texels, and its inverse."""

from __future__ import annotations

import pytest
import torch

from hrnfit.model.deformation import bilinear_taps, cubic_taps, deformation_operator
from tests.model.faces import sheet, small_model

ONE = torch.tensor([[0, 1, 2]], dtype=torch.int32)


def slow_bilinear(image: torch.Tensor, u: float, v: float) -> torch.Tensor:
    """Texel by texel, with the tent function; the border texel repeated."""
    size = image.shape[0]
    x = min(max(u * size - 0.5, 0.0), size - 1.0)
    y = min(max(v * size - 0.5, 0.0), size - 1.0)
    total = torch.zeros(image.shape[2], dtype=image.dtype)
    for row in range(size):
        for column in range(size):
            weight = max(0.0, 1.0 - abs(x - column)) * max(0.0, 1.0 - abs(y - row))
            total += weight * image[row, column]
    return total


def test_agrees_with_the_slow_reference(generator):
    uv = torch.rand(9, 2, generator=generator, dtype=torch.float64)
    uv[0], uv[1] = 0.0, 1.0
    faces = torch.arange(9, dtype=torch.int32).reshape(3, 3)
    image = torch.randn(5, 5, 3, generator=generator, dtype=torch.float64)
    offsets = deformation_operator(faces, uv, faces, 9, 5)(image)
    for k in range(9):
        assert torch.allclose(offsets[k], slow_bilinear(image, *uv[k].tolist()))


def test_texel_centres_return_the_texel():
    uv = torch.tensor([[0.625, 0.125], [0.125, 0.375], [0.875, 0.875]])
    image = torch.arange(48.0).reshape(4, 4, 3)
    offsets = deformation_operator(ONE, uv, ONE, 3, 4)(image)
    assert torch.equal(offsets, torch.stack([image[0, 2], image[1, 0], image[3, 3]]))


def test_seam_vertices_take_the_mean_of_their_places():
    uv = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 1]], dtype=torch.int32)
    uv_faces = torch.tensor([[0, 1, 2], [3, 2, 1]], dtype=torch.int32)
    image = torch.zeros(2, 2, 3)
    image[0, 0], image[1, 1] = 1.0, 3.0
    operator = deformation_operator(faces, uv, uv_faces, 3, 2)
    assert torch.equal(operator(image)[0], torch.full((3,), 2.0))
    assert torch.allclose(operator.weights.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
def test_constant_and_linear_maps_are_reproduced(kernel):
    model = small_model()
    operator = deformation_operator(
        model.faces, model.uv, model.uv_faces, model.n_vertices, 32, kernel
    )
    assert torch.allclose(operator(torch.ones(32, 32, 3)), torch.ones(model.n_vertices, 3))
    ramp = ((torch.arange(32) + 0.5) / 32)[None, :, None].expand(32, 32, 3)
    inner = ((model.uv > 0.06) & (model.uv < 0.94)).all(dim=1)
    assert torch.allclose(operator(ramp)[inner, 0], model.uv[inner, 0], atol=1e-5)


def test_cubic_weights_by_hand():
    texels, weights = cubic_taps(torch.tensor([[0.5 / 8 * 7, 0.5 / 8 * 7]]), 8)
    # at a texel centre the B-spline has weights 1/6, 4/6, 1/6, 0
    line = torch.tensor([1.0, 4.0, 1.0, 0.0]) / 6.0
    assert torch.allclose(weights.reshape(4, 4), line[:, None] * line, atol=1e-6)
    assert texels.reshape(4, 4)[1, 1] == 3 * 8 + 3


def test_cubic_is_smoother_than_bilinear():
    u = torch.linspace(0.2, 0.8, 400)
    image = torch.zeros(10, 10)
    image[5, 5] = 1.0
    kinks = []
    for taps in (bilinear_taps, cubic_taps):
        texels, weights = taps(torch.stack([u, torch.full_like(u, 0.55)], dim=1), 10)
        value = (image.flatten()[texels] * weights).sum(dim=1)
        kinks.append(float(value.diff().diff().abs().max() / value.max()))
    assert kinks[1] < 0.2 * kinks[0]


def test_matrix_is_the_same_map(generator):
    model = small_model()
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, model.n_vertices, 16)
    image = torch.randn(16, 16, 3, generator=generator)
    product = operator.matrix() @ image.reshape(-1, 3).double().numpy()
    assert torch.allclose(operator(image).double(), torch.from_numpy(product), atol=1e-5)


def test_fit_map_inverts_sampling(generator):
    model = small_model()
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, model.n_vertices, 16)
    image = torch.randn(16, 16, 3, generator=generator)
    offsets = operator(image)
    again = operator(operator.fit_map(offsets, smoothness=1e-6))
    assert torch.allclose(again, offsets, atol=2e-3)
    smooth = operator.fit_map(torch.ones_like(offsets) * 2.5)
    assert torch.allclose(smooth, torch.full((16, 16, 3), 2.5), atol=1e-3)


def test_vertices_of_weight_zero_have_no_say(generator):
    """What they are asked for changes nothing; the others get what they ask for."""
    model = small_model()
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, model.n_vertices, 16)
    offsets = operator(torch.randn(16, 16, 3, generator=generator))
    trusted = model.mean[:, 0] > 0
    wrong = torch.where(trusted[:, None], offsets, 50.0)
    weight = trusted.float()
    fitted = operator.fit_map(wrong, 1e-6, weight=weight)
    assert torch.equal(fitted, operator.fit_map(offsets, 1e-6, weight=weight))
    assert torch.allclose(operator(fitted)[trusted], offsets[trusted], atol=0.02)
    alike = operator.fit_map(wrong, weight=torch.ones_like(weight))
    assert torch.allclose(alike, operator.fit_map(wrong))
    # a weight of two counts as the vertex twice: halving the smoothness is the same
    assert torch.allclose(
        operator.fit_map(wrong, 1e-3, weight=torch.full_like(weight, 2.0)),
        operator.fit_map(wrong, 5e-4),
        atol=1e-3,
    )


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
def test_gradients(generator, kernel):
    points, faces = sheet(columns=11, rows=13)
    uv = (0.5 + points[:, :2] / 250.0).double()
    operator = deformation_operator(faces, uv, faces, len(points), 4, kernel)
    image = torch.randn(2, 4, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(operator, (image,))
    assert operator(image).shape == (2, len(points), 3)


def test_messages():
    uv = torch.rand(3, 2)
    operator = deformation_operator(ONE, uv, ONE, 3, 4)
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 4, 4, 3\) mm, got \(8, 8, 3\)"):
        operator(torch.zeros(8, 8, 3))
    with pytest.raises(ValueError, match="1 vertices have no place in the chart"):
        deformation_operator(ONE, uv, ONE, 4, 4)
    with pytest.raises(ValueError, match=r"offsets: expected \(3, 3\) mm"):
        operator.fit_map(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="at least 1 texel"):
        deformation_operator(ONE, uv, ONE, 3, 0)
