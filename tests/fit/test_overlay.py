"""Pictures of a fit: the render lies where the camera, distortion included, sees the surface."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit.fit.overlay import blend, contact_strip, face_window, overlay, view_pictures
from hrnfit.fit.photographs import (
    decode_photograph,
    encode_webp,
    photograph_from_image,
    started_photograph,
)
from hrnfit.fit.result import LEVELS
from hrnfit.render.backend import rasterizer
from tests.fit.small_result import HEAD, make_result


@pytest.fixture(scope="module")
def result():
    return make_result(views=2, side=320)


@pytest.fixture(scope="module")
def pictures(result):
    return view_pictures(result, 1, rasterizer("cpu"), size=200)


def test_window_holds_the_face_and_has_the_asked_size(result):
    camera, points = result.cameras[0], result.mesh("mid").vertices.double()
    window = face_window(camera, points, 200)
    assert max(window.width, window.height) == 200
    assert window.sees(points).all()
    # it is a crop and scaling of the same camera: one affine map per axis
    ratio = (window.K[:2, :2] / camera.K[:2, :2]).diagonal()
    offset = window.K[:2, 2] - ratio * camera.K[:2, 2]
    torch.testing.assert_close(window.project(points), camera.project(points) * ratio + offset)


def test_window_of_a_face_out_of_sight_is_the_whole_image(result):
    window = face_window(result.cameras[0], result.mesh("mid").vertices + 1e5, 100)
    assert (window.width, window.height) == (100, 100)
    torch.testing.assert_close(window.K[0, 0], result.cameras[0].K[0, 0] * 100 / 320)


def test_render_covers_the_projected_surface(result, pictures):
    window = face_window(result.cameras[1], result.mesh("mid").vertices, 200)
    for level in LEVELS:
        pixels = window.project(result.mesh(level).vertices.double()).numpy()
        alpha = pictures.levels[level][..., 3] > 127
        rows, columns = np.nonzero(alpha)
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
        np.testing.assert_allclose(low, pixels.min(0), atol=1.0)
        np.testing.assert_allclose(high, pixels.max(0), atol=1.0)


@pytest.mark.parametrize("max_size", [1200, 500])
def test_photograph_lies_under_its_render(max_size):
    result = make_result(views=1, side=1000)
    camera = result.cameras[0]
    tip = camera.project(result.mesh("mid").vertices.double()[300])
    y, x = torch.meshgrid(*[torch.arange(1000) + 0.5] * 2, indexing="ij")
    spot = torch.exp(-((x - tip[0]) ** 2 + (y - tip[1]) ** 2) / (2 * 8.0**2)).float()
    shrunk = photograph_from_image(spot[..., None].expand(-1, -1, 3).contiguous(), max_size)
    assert decode_photograph(shrunk).shape[0] == min(1000, max_size)
    pictures = view_pictures(replace(result, photographs=(shrunk,)), 0, rasterizer("cpu"), 150)
    window = face_window(camera, result.mesh("mid").vertices, 150)
    weight = np.maximum(pictures.photograph[..., 0].astype(float) - 20, 0)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    centre = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
    want = window.project(result.mesh("mid").vertices.double()[300]).numpy()
    np.testing.assert_allclose(centre, want, atol=0.15)


def test_landmarks_are_in_the_window(result, pictures):
    window = face_window(result.cameras[1], result.mesh("mid").vertices, 200)
    scale = float(window.K[0, 0] / result.cameras[1].K[0, 0])
    # the observed ones of the small result lie 1 px right of and below the coarse ones
    np.testing.assert_allclose(pictures.observed - pictures.modelled["coarse"], scale, atol=1e-3)


def test_clay_is_brighter_towards_the_key_light(pictures):
    layer = pictures.levels["coarse"]
    solid = layer[..., 3] == 255
    half = layer.shape[1] // 2
    left = layer[:, :half, 0][solid[:, :half]].mean()
    right = layer[:, half:, 0][solid[:, half:]].mean()
    assert left > right + 10


def test_textured_layer_is_albedo_times_light(result):
    flat = replace(result.maps, albedo=torch.full((4, 4, 3), 0.25))
    light = torch.zeros(2, 9, 3)
    light[:, 0] = 0.8
    dull = replace(result, maps=flat, state=result.state.replace(light=light))
    layer = view_pictures(dull, 0, rasterizer("cpu"), 100).textured
    solid = layer[layer[..., 3] == 255][:, :3]
    want = round(255 * (1.055 * (0.25 * 0.8) ** (1 / 2.4) - 0.055))
    assert np.abs(solid.astype(int) - want).max() <= 1


def test_blend_by_hand():
    under = np.full((1, 1, 3), 100, np.uint8)
    over = np.array([[[200, 0, 100, 128]]], np.uint8)
    alpha = 128 / 255 * 0.5
    want = np.rint(100 + alpha * np.array([100, -100, 0]))
    assert np.array_equal(blend(under, over, 0.5)[0, 0], want)
    assert np.array_equal(blend(under, over, 0.0), under)


def test_overlay_and_strip_have_the_promised_sizes(pictures):
    height, width = pictures.photograph.shape[:2]
    before = pictures.photograph.copy()
    assert overlay(pictures, "mid").shape == (height, width, 3)
    assert contact_strip(pictures, gap=8).shape == (height, 5 * width + 4 * 8, 3)
    assert np.array_equal(pictures.photograph, before)


def test_pictures_without_photographs_or_landmarks(result):
    bare = replace(result, photographs=(), observed=())
    pictures = view_pictures(bare, 0, rasterizer("cpu"), 60)
    assert (pictures.photograph == 200).all()
    assert pictures.observed.shape == (0, 2)
    assert overlay(pictures, "coarse").shape == pictures.photograph.shape


def test_a_damaged_photograph_says_so():
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_photograph(b"not a picture")


def test_webp_keeps_alpha():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    import cv2

    back = cv2.imdecode(np.frombuffer(encode_webp(pixels), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(back[..., 3], pixels[..., 3])


def test_small_result_is_where_it_says():
    centre = make_result(views=1).mesh("coarse").vertices.mean(0)
    assert (centre - HEAD).norm() < 80


def test_model_landmarks_follow_the_observed_scheme(result):
    dense = torch.cat([m := result.mesh("mid").landmarks["ibug68"], m[:10]])
    meshes = {
        level: tuple(
            replace(mesh, landmarks={**mesh.landmarks, "mediapipe478": dense}) for mesh in frames
        )
        for level, frames in result.meshes.items()
    }
    marks = replace(result.observed[0], scheme="mediapipe478")
    both = replace(result, meshes=meshes, observed=(marks, None))
    counts = [
        len(view_pictures(both, view, rasterizer("cpu"), 40).modelled["fine"]) for view in (0, 1)
    ]
    assert counts == [78, 68]


def test_discs_are_centred_and_clipped():
    from hrnfit.fit.overlay import disc

    picture = np.zeros((40, 40, 3), np.uint8)
    disc(picture, np.array([17.3, 22.8]), 4.0, (255, 255, 255))
    weight = picture[..., 0].astype(float)
    rows, columns = np.mgrid[:40, :40] + 0.5
    centre = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
    np.testing.assert_allclose(centre, [17.3, 22.8], atol=0.05)
    before = picture.copy()
    for outside in ((-50.0, 5.0), (5.0, 90.0), (np.nan, 3.0), (1e9, -1e9)):
        disc(picture, np.array(outside), 4.0, (255, 0, 0))
    assert np.array_equal(picture, before)
    disc(picture, np.array([0.0, 39.9]), 4.0, (255, 0, 0), ring=1.2)
    assert not np.array_equal(picture, before)


def test_a_photograph_is_encoded_once_and_as_without_a_thread(generator):
    image = torch.rand(40, 50, 3, generator=generator)
    started = started_photograph(image)
    assert started_photograph(image) is started
    assert started_photograph(image.clone()) is not started
    assert started.result(timeout=20) == photograph_from_image(image)
