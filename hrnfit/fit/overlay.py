"""Pictures of a fit on its photographs: each level as clay over the face, landmarks, contact strips.

Vertices are projected with the camera's distortion and drawn straight onto the photograph. Edges
between vertices stay straight, which is off by less than 0.01 px for triangles of 2 mm on a face
that fills the image at k1 = -0.12.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.fit.clay import clay, lit_albedo
from hrnfit.fit.photographs import decode_photograph
from hrnfit.fit.result import LEVELS, FitResult, MeshLevel
from hrnfit.io.image import encode_srgb
from hrnfit.render.rasterizer import Raster, Rasterizer

Pixels = UInt8[np.ndarray, "H W 3"]
Layer = UInt8[np.ndarray, "H W 4"]

SUPERSAMPLING = 2
"""Samples per pixel and axis: smooth silhouettes from a hard rasteriser."""

OBSERVED = (255, 196, 61)
"""sRGB of observed landmarks: rings."""

MODELLED = (38, 222, 214)
"""sRGB of the model's landmarks: dots."""

RIM = (20, 30, 34)
"""sRGB of the thin border that keeps both readable on light skin."""


@dataclass(frozen=True, eq=False)
class ViewPictures:
    """One photograph around the face, and what the fit says should be there."""

    name: str
    photograph: Pixels
    """The window of the photograph, sRGB."""
    levels: dict[str, Layer]
    """Clay render per level, sRGB with opacity; same window."""
    textured: Layer
    """The fine level with albedo under the fitted light."""
    modelled: dict[str, Float[np.ndarray, "_ 2"]]
    """Model landmarks per level, px of the window."""
    observed: Float[np.ndarray, "P 2"]
    """Landmarks the fit was given, px of the window; may be empty."""


def view_pictures(
    result: FitResult, view: int, rasterizer: Rasterizer, size: int = 720
) -> ViewPictures:
    """Draw view `view` of the result in a window around the face of at most `size` px."""
    frame = int(result.sharing.frame[view])
    meshes = {level: result.mesh(level, frame) for level in LEVELS}
    window = face_window(result.cameras[view], meshes["mid"].vertices, size)
    rasters = {level: rasterized(mesh, window, rasterizer) for level, mesh in meshes.items()}
    layers = {
        level: layer_of(clay(meshes[level], window, rasters[level], rasterizer), rasters[level])
        for level in LEVELS
    }
    light = result.state.light[int(result.sharing.light[view])]
    colour = lit_albedo(meshes["fine"], result.maps.albedo, light, rasters["fine"], rasterizer)
    marks = result.observed[view] if result.observed else None
    scheme = "ibug68" if marks is None else marks.scheme
    modelled = {level: _landmarks(mesh, window, scheme) for level, mesh in meshes.items()}
    return ViewPictures(
        name=result.view_names[view],
        photograph=_photograph(result, view, window),
        levels=layers,
        textured=layer_of(colour, rasters["fine"]),
        modelled=modelled,
        observed=_observed(result, view, window),
    )


def face_window(
    camera: Camera, vertices: Float[Tensor, "N 3"], size: int, margin: float = 0.14
) -> Camera:
    """The camera of a window around the projected vertices, at most `size` px on its longer side.

    Falls back to the whole image when the surface does not project into it.
    """
    camera = camera.to(torch.float64, "cpu")
    points = vertices.detach().cpu().double()
    pixels = camera.project(points)[camera.sees(points)].numpy()
    box = (0.0, 0.0, float(camera.width), float(camera.height))
    if len(pixels):
        low, high = pixels.min(0), pixels.max(0)
        pad = margin * float((high - low).max())
        low, high = low - pad, high + pad
        box = (
            max(low[0], 0),
            max(low[1], 0),
            min(high[0], camera.width),
            min(high[1], camera.height),
        )
    left, top = float(np.floor(box[0])), float(np.floor(box[1]))
    width = max(1, int(np.ceil(box[2]) - left))
    height = max(1, int(np.ceil(box[3]) - top))
    scale = size / max(width, height)
    window = camera.crop(left, top, width, height)
    return window.resize(max(1, round(height * scale)), max(1, round(width * scale)))


def overlay(pictures: ViewPictures, level: str, opacity: float = 0.72) -> Pixels:
    """Clay of `level` over the photograph, with observed (rings) and model (dots) landmarks."""
    picture = blend(pictures.photograph, pictures.levels[level], opacity)
    radius = mark_radius(pictures)
    for point in pictures.observed:
        disc(picture, point, 1.9 * radius, OBSERVED, ring=1.2)
    for point in pictures.modelled[level]:
        disc(picture, point, radius, MODELLED)
    return picture


def mark_radius(pictures: ViewPictures) -> float:
    """Radius of a model landmark's dot, px of the window: smaller where 478 points crowd the face."""
    crowded = len(pictures.observed) > 100 or len(pictures.modelled["fine"]) > 100
    return pictures.photograph.shape[1] / 260 * (0.45 if crowded else 1.0)


def contact_strip(pictures: ViewPictures, gap: int = 8) -> Pixels:
    """Photograph, coarse, mid, fine and textured render side by side."""
    dim = blend(pictures.photograph, _veil(pictures.photograph), 0.72)
    panels = [pictures.photograph]
    panels += [blend(dim, pictures.levels[level], 1.0) for level in LEVELS]
    panels.append(blend(pictures.photograph, pictures.textured, 1.0))
    height = panels[0].shape[0]
    bar = np.full((height, gap, 3), 255, np.uint8)
    row = [part for panel in panels for part in (panel, bar)][:-1]
    return np.concatenate(row, axis=1)


def blend(under: Pixels, over: Layer, opacity: float) -> Pixels:
    """`over` with its own alpha times `opacity` on `under`, in sRGB codes as on a screen."""
    alpha = over[..., 3:].astype(np.float32) * (opacity / 255)
    mixed = under * (1 - alpha) + over[..., :3] * alpha
    return np.rint(mixed).astype(np.uint8)


def _veil(photograph: Pixels) -> Layer:
    """A plain light sheet, so that the clay and not the photograph is looked at."""
    return np.full((*photograph.shape[:2], 4), (236, 238, 241, 255), np.uint8)


def rasterized(mesh: MeshLevel, window: Camera, rasterizer: Rasterizer) -> Raster:
    """The mesh as the window's camera sees it, distortion included, at `SUPERSAMPLING` samples per pixel."""
    fine = window.resize(window.height * SUPERSAMPLING, window.width * SUPERSAMPLING)
    x_world = mesh.vertices.detach().cpu().double()
    points = torch.cat([fine.project(x_world), fine.depth(x_world)[:, None]], -1).float()
    return rasterizer.rasterize(points[None].contiguous(), mesh.faces, fine.height, fine.width)


def layer_of(linear: Float[Tensor, "h w 3"], raster: Raster) -> Layer:
    """Supersampled linear colour, 0 outside, averaged to pixels, with coverage as alpha."""
    covered = (raster.triangle[0] >= 0).float()[..., None]
    height, width = (n // SUPERSAMPLING for n in covered.shape[:2])
    stacked = torch.cat([linear, covered], -1).cpu().numpy()
    small = cv2.resize(stacked, (width, height), interpolation=cv2.INTER_AREA)
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-6)
    alpha = np.rint(small[..., 3:] * 255).astype(np.uint8)
    return np.concatenate([encode_srgb(torch.from_numpy(colour)), alpha], -1)


def _photograph(result: FitResult, view: int, window: Camera) -> Pixels:
    """The window of the stored photograph; grey where a result carries none."""
    if not result.photographs:
        return np.full((window.height, window.width, 3), 200, np.uint8)
    pixels = decode_photograph(result.photographs[view])
    camera = result.cameras[view].to(torch.float64, "cpu")
    # window px -> original px -> stored px; all three have axes in common
    step = (camera.K.diagonal()[:2] / window.K.diagonal()[:2]).numpy()
    corner = (camera.K[:2, 2] - window.K[:2, 2] * torch.from_numpy(step)).numpy()
    scale = np.array([pixels.shape[1] / camera.width, pixels.shape[0] / camera.height])
    # more samples than pixels where the photograph is finer than the window: no aliasing
    dense = max(1, int(np.ceil((step * scale).max())))
    gain = step * scale / dense
    shift = corner * scale + 0.5 * gain - 0.5
    matrix = np.array([[gain[0], 0, shift[0]], [0, gain[1], shift[1]]])
    size = (window.width * dense, window.height * dense)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(crop, (window.width, window.height), interpolation=cv2.INTER_AREA)


def _landmarks(mesh: MeshLevel, window: Camera, scheme: str) -> Float[np.ndarray, "_ 2"]:
    """Points of the scheme, else iBUG's, else none, in the window."""
    points = mesh.landmarks.get(scheme, mesh.landmarks.get("ibug68"))
    if points is None:
        return np.zeros((0, 2))
    points = points.detach().cpu().double()
    return window.project(points[torch.isfinite(points).all(-1)]).numpy()


def _observed(result: FitResult, view: int, window: Camera) -> Float[np.ndarray, "L 2"]:
    marks = result.observed[view] if result.observed else None
    if marks is None:
        return np.zeros((0, 2))
    camera = result.cameras[view].to(torch.float64, "cpu")
    points = marks.points[marks.confidence > 0].detach().cpu().double()
    scale = window.K.diagonal()[:2] / camera.K.diagonal()[:2]
    return (window.K[:2, 2] + (points - camera.K[:2, 2]) * scale).numpy()


def disc(
    picture: np.ndarray,
    point: np.ndarray,
    radius: float,
    colour: tuple[int, int, int],
    ring: float = 0,
) -> None:
    """Draw a disc, or a ring of `ring` px, on `picture` in place, with a thin dark rim.

    Coverage is the distance to the outline, clipped: OpenCV's small circles come out as blocks.
    """
    height, width = picture.shape[:2]
    reach = radius + 3
    if not np.isfinite(point).all() or not (point > -reach).all():
        return
    left, top = (max(0, int(c - reach)) for c in point)
    right, bottom = min(width, int(point[0] + reach) + 1), min(height, int(point[1] + reach) + 1)
    if right <= left or bottom <= top:
        return
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    outside = np.hypot(x - point[0], y - point[1]) - radius
    if ring:
        outside = np.abs(outside) - ring / 2
    patch = picture[top:bottom, left:right].astype(np.float32)
    for distance, paint, strength in ((outside - 0.9, RIM, 0.75), (outside, colour, 1.0)):
        alpha = strength * np.clip(0.5 - distance, 0, 1)[..., None]
        patch = patch * (1 - alpha) + np.array(paint, np.float32) * alpha
    picture[top:bottom, left:right] = np.rint(patch).astype(np.uint8)
