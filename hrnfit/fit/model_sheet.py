"""A model on one page: its mean with landmarks, chart and albedo, and what its modes do.

For `hrnfit models check`: what no number says (a face inside out, a mode of another mesh, a chart that is
torn) is seen at a glance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.fit.chart_picture import chart_picture, checker
from hrnfit.fit.clay import CLAY, clay
from hrnfit.fit.levels import landmark_points
from hrnfit.fit.overlay import disc, layer_of, rasterized
from hrnfit.fit.result import MeshLevel
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.io.image import encode_srgb
from hrnfit.model.face_model import FaceModel
from hrnfit.render.rasterizer import Rasterizer

Pixels = UInt8[np.ndarray, "_ _ 3"]

LARGE, SMALL = 320, 150
"""Sides of the panels, px."""

GAP = 10
CAPTION = 18
PAPER = (247, 247, 245)
INK = (40, 42, 46)
IBUG, DENSE = (38, 222, 214), (255, 196, 61)
"""sRGB of the iBUG points and of the dense ones."""

MODES, EXPRESSIONS = 8, 24
"""How many are shown: identities as pairs, and expressions."""

MOVED = (0.80, 0.16, 0.06)
"""Linear RGB of what an expression moves most; what it leaves is clay."""

FACE_REACH = 105.0
"""Half the height of a picture of the face alone, mm."""


@dataclass(frozen=True)
class Panel:
    """One picture and what stands above it."""

    caption: str
    pixels: Pixels


def model_sheet(model: FaceModel, rasterizer: Rasterizer, title: str = "") -> Pixels:
    """The page: three rows of large panels and rows of small ones, sRGB."""
    rest = model.shape(torch.zeros(model.n_identity), torch.zeros(model.n_expression)).detach()
    look = _Look(model, rest, rasterizer)
    rows = [
        [
            look.marked("front", 0.0),
            look.marked("three-quarter", 40.0),
            look.marked("side", 85.0),
            look.textured("chart: checker", checker(), 20.0),
        ],
        [
            Panel("chart: blue few texels, red many", chart_picture(model, rest, LARGE)),
            Panel("albedo map, mean", _shown(model.albedo(torch.zeros(model.n_albedo)), LARGE)),
            look.textured("albedo, mean", model.albedo(torch.zeros(model.n_albedo)), 0.0),
            look.textured("albedo, first mode +2", _first_albedo(model), 0.0),
        ],
    ]
    small = _identity_panels(model, look) + _expression_panels(model, look)
    across = 4 * LARGE + 3 * GAP
    per_row = (across + GAP) // (SMALL + GAP)
    small_rows = [small[k : k + per_row] for k in range(0, len(small), per_row)]
    return _page(rows + small_rows, across, title or model.info.name)


class _Look:
    """The model seen from a distance of a portrait, always at one scale."""

    def __init__(self, model: FaceModel, rest: Float[Tensor, "N 3"], rasterizer: Rasterizer):
        self.model, self.rasterizer = model, rasterizer
        self.middle = 0.5 * (rest.amax(dim=0) + rest.amin(dim=0))
        self.reach = float((rest - self.middle).norm(dim=1).quantile(0.98))
        self.rest = rest
        self.face = self.middle
        if "ibug68" in model.landmarks:
            points = landmark_points(rest, model.faces, model.landmarks["ibug68"])
            self.face = points[17:].nanmean(dim=0)

    def camera(self, yaw_deg: float, size: int, face: bool = False) -> Camera:
        """Of the whole, or of the face alone."""
        angle = np.deg2rad(yaw_deg)
        reach = min(FACE_REACH, self.reach) if face else self.reach
        distance = 7.0 * self.reach
        middle = (self.face if face else self.middle).double().numpy()
        place = middle + distance * np.array([np.sin(angle), 0.05, np.cos(angle)])
        focal = 0.46 * size * distance / reach
        return Camera.look_at(place, middle, focal=focal, height=size, width=size)

    def mesh(self, vertices: Float[Tensor, "N 3"]) -> MeshLevel:
        model = self.model
        normals = vertex_normals(vertices, model.faces)
        faces, uv_faces = model.faces.int().contiguous(), model.uv_faces.int().contiguous()
        marks = {
            name: landmark_points(vertices, model.faces, found)
            for name, found in model.landmarks.items()
        }
        return MeshLevel("coarse", vertices, normals, faces, model.uv, uv_faces, marks)

    def plain(
        self, caption: str, vertices: Float[Tensor, "N 3"], yaw_deg: float, size: int
    ) -> Panel:
        """Clay."""
        camera, mesh = self.camera(yaw_deg, size), self.mesh(vertices)
        raster = rasterized(mesh, camera, self.rasterizer)
        return Panel(
            caption, _on_paper(layer_of(clay(mesh, camera, raster, self.rasterizer), raster))
        )

    def moved(self, caption: str, vertices: Float[Tensor, "N 3"]) -> Panel:
        """The face in clay, reddened where it differs from the mean."""
        camera, mesh = self.camera(0.0, SMALL, face=True), self.mesh(vertices)
        raster = rasterized(mesh, camera, self.rasterizer)
        move = (vertices - self.rest).norm(dim=1)
        share = (move / move.max().clamp_min(1.0))[:, None]
        paint = (1.0 - share) * torch.tensor(CLAY) + share * torch.tensor(MOVED)
        colour = self.rasterizer.interpolate(paint.float().contiguous(), raster, mesh.faces)[0]
        lit = clay(mesh, camera, raster, self.rasterizer) / torch.tensor(CLAY)
        return Panel(caption, _on_paper(layer_of((lit * colour).clamp(0.0, 1.0), raster)))

    def marked(self, caption: str, yaw_deg: float) -> Panel:
        """The mean as clay with its landmarks: dense ones small, iBUG's large; those behind are not
        hidden."""
        panel = self.plain(f"mean, {caption}", self.rest, yaw_deg, LARGE)
        camera, mesh = self.camera(yaw_deg, LARGE), self.mesh(self.rest)
        for scheme, colour, radius in (("mediapipe478", DENSE, 0.9), ("ibug68", IBUG, 2.0)):
            points = mesh.landmarks.get(scheme)
            if points is None:
                continue
            points = points[torch.isfinite(points).all(dim=1)].double()
            for place in camera.project(points).numpy():
                disc(panel.pixels, place, radius, colour)
        return panel

    def textured(self, caption: str, albedo: Float[Tensor, "h w 3"], yaw_deg: float) -> Panel:
        """A map on the mean, under the lamps of the clay."""
        camera, mesh = self.camera(yaw_deg, LARGE), self.mesh(self.rest)
        raster = rasterized(mesh, camera, self.rasterizer)
        uv = self.rasterizer.interpolate(mesh.uv.float().contiguous(), raster, mesh.uv_faces)
        colour = self.rasterizer.sample_texture(albedo.float().contiguous(), uv)[0]
        lit = clay(mesh, camera, raster, self.rasterizer) / torch.tensor(CLAY)
        return Panel(caption, _on_paper(layer_of((lit * colour).clamp(0.0, 1.0), raster)))


def _identity_panels(model: FaceModel, look: _Look) -> list[Panel]:
    """The first modes at two standard deviations either way."""
    panels: list[Panel] = []
    for k in range(min(model.n_identity, MODES)):
        for sign in (-2.0, 2.0):
            identity = torch.zeros(model.n_identity)
            identity[k] = sign
            shape = model.shape(identity, torch.zeros(model.n_expression)).detach()
            panels.append(look.plain(f"identity {k}: {sign:+.0f}", shape, 20.0, SMALL))
    return panels


def _expression_panels(model: FaceModel, look: _Look) -> list[Panel]:
    """The first expressions, whole; of modes, two standard deviations."""
    panels: list[Panel] = []
    full = 1.0 if model.expression_is_blendshape else 2.0
    for k, name in enumerate(model.expression_names[:EXPRESSIONS]):
        expression = torch.zeros(model.n_expression)
        expression[k] = full
        shape = model.shape(torch.zeros(model.n_identity), expression).detach()
        panels.append(look.moved(f"{name} {_largest(shape - look.rest):.0f} mm", shape))
    return panels


def _largest(offset: Float[Tensor, "N 3"]) -> float:
    return float(offset.norm(dim=1).max())


def _first_albedo(model: FaceModel) -> Float[Tensor, "H W 3"]:
    coefficients = torch.zeros(model.n_albedo)
    coefficients[:1] = 2.0
    return model.albedo(coefficients)


def _shown(image: Float[Tensor, "H W 3"], side: int) -> Pixels:
    picture = Image.fromarray(encode_srgb(image.clamp(0.0, 1.0)))
    return np.array(picture.resize((side, side), Image.Resampling.BOX))


def _on_paper(layer: UInt8[np.ndarray, "H W 4"]) -> Pixels:
    alpha = layer[..., 3:].astype(np.float32) / 255.0
    mixed = layer[..., :3] * alpha + np.array(PAPER, np.float32) * (1.0 - alpha)
    return np.rint(mixed).astype(np.uint8)


def _page(rows: list[list[Panel]], width: int, title: str) -> Pixels:
    heights = [CAPTION + max(p.pixels.shape[0] for p in row) + GAP for row in rows]
    page = Image.new("RGB", (width + 2 * GAP, sum(heights) + 40), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((GAP, 10), title, fill=INK, font=_font(18))
    top = 40
    for row, height in zip(rows, heights, strict=True):
        left = GAP
        for panel in row:
            side = panel.pixels.shape[1]
            size = 13 if side == LARGE else 11
            draw.text(
                (left + 2, top), _fitting(panel.caption, side, size), fill=INK, font=_font(size)
            )
            page.paste(Image.fromarray(panel.pixels), (left, top + CAPTION))
            left += side + GAP
        top += height
    return np.array(page)


def _fitting(text: str, width: int, size: int) -> str:
    """The text, cut where it does not fit."""
    room = int(width / (0.55 * size))
    return text if len(text) <= room else text[: room - 1] + "\u2026"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own face; before 10.1 it has one size."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()
