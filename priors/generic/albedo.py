"""Mean albedo and albedo modes in texture space, linear RGB.

Skin is pigment over a scattering ground: its colour changes by the absorption of melanin and of
haemoglobin (log-linear, after Tsumura et al. 1999 and Jacques 2013); lips, brows, beard shadow,
freckles and redness are maps of those two, hair and eyes have colours of their own. Everything is
painted as functions of the mean surface's position at each texel.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline, LinearNDInterpolator
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from . import cage
from .landmarks import BROW
from .mesh import Mesh
from .surface import (
    base_surface,
    fissure_depth,
    gaussian,
    lid_rims,
    lip_borders,
    mouth_line,
    nostril_depth,
    smoothstep,
)

SIZE, BASIS_SIZE = 512, 80
SKIN = np.array([0.485, 0.285, 0.205])
MELANIN = np.array([0.30, 0.48, 0.66])
"""Change of log albedo per unit of melanin."""
BLOOD = np.array([0.04, 0.30, 0.26])
"""Change of log albedo per unit of haemoglobin."""
HAIR = np.array([0.085, 0.055, 0.042])


class Canvas:
    """Mean-surface position of every texel (S, S), mirrored to |x|; frame of `cage`, mm."""

    def __init__(self, mesh: Mesh, uv: np.ndarray, size: int = SIZE) -> None:
        t = (np.arange(size) + 0.5) / size
        at = np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2)
        depth = nostril_depth(base_surface(mesh.chart)) * (mesh.inner == 0)
        data = np.column_stack([mesh.vertices, np.abs(mesh.inner), depth])
        values = LinearNDInterpolator(uv, data)(at)
        outside = np.isnan(values[:, 0])
        values[outside] = data[cKDTree(uv).query(at[outside])[1]]
        grid = values.reshape(size, size, 5)
        self.sx, self.y, self.z, self.inner, self.nostril = np.moveaxis(grid, 2, 0)
        self.x = np.abs(self.sx)
        u = at[:, 0].reshape(size, size)
        self.u, self.v = u, at[:, 1].reshape(size, size)


def lips(c: Canvas) -> np.ndarray:
    """Vermilion mask (S, S), 0..1."""
    lower, upper = lip_borders(c.x)
    inside = np.minimum(upper - c.y, c.y - lower)
    mask = smoothstep(inside, -0.7, 0.9) * (1 - smoothstep(c.x, 24.0, 26.8)) * (c.z > -22)
    return np.maximum(mask, smoothstep(c.inner, 0.2, 0.8) * (c.inner < 2.5))


def interior(c: Canvas) -> np.ndarray:
    """Mask of the mouth's inside."""
    return smoothstep(c.inner, 1.2, 2.6)


def brow(c: Canvas, spread: float = 1.0) -> np.ndarray:
    """Hair density of the brows (S, S), 0..1."""
    t = np.linspace(0, 1, 200)
    knots = np.linspace(0, 1, len(BROW))
    line = CubicSpline(knots, BROW)(t)
    x, y = line[:, 0], line[:, 1]
    height = np.interp(c.x, x, y)
    s = np.clip((c.x - x[0]) / (x[-1] - x[0]), 0, 1)
    half = spread * (3.9 - 0.6 * s - 2.3 * s**3)
    fade = smoothstep(c.x, 9.0, 15.0) * (1 - smoothstep(c.x, 50.0, 55.5))
    return (1 - smoothstep(np.abs(c.y - height), 0.35 * half, 1.25 * half)) * fade * (c.z > -60)


def eye_parts(c: Canvas) -> dict[str, np.ndarray]:
    """Masks of eyeball, iris, pupil, lash lines and caruncle."""
    depth = fissure_depth(c.x, c.y)
    near = (np.abs(c.x - 30.5) < 22) & (np.abs(c.y) < 14)
    r = np.hypot(c.x - cage.EYE_CENTRE[0], c.y - cage.EYE_CENTRE[1])
    lower, upper = lid_rims(c.x)
    span = smoothstep(c.x, 16.5, 20) * (1 - smoothstep(c.x, 43.5, 46.5)) * near
    upper_lash = gaussian(c.y - upper - 0.1, 0.75) * span
    lower_lash = gaussian(c.y - lower + 0.2, 0.6) * span
    ball = smoothstep(depth, 0.15, 0.7) * near
    return {
        "ball": ball,
        "iris": (1 - smoothstep(r, 5.5, 6.1)) * ball,
        "ring": gaussian(r - 5.6, 0.6) * ball,
        "pupil": (1 - smoothstep(r, 1.7, 2.2)) * ball,
        "upper_lash": upper_lash,
        "lower_lash": lower_lash,
        "caruncle": gaussian(np.hypot(c.x - 17.4, c.y + 1.3), 1.5) * ball,
    }


def nostrils(c: Canvas) -> np.ndarray:
    """Mask of the nostrils' dark inside."""
    return smoothstep(c.nostril, 0.12, 0.6)


def over(image: np.ndarray, mask: np.ndarray, colour) -> np.ndarray:
    return image + mask[..., None] * (np.asarray(colour) - image)


def pigmented(melanin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """Skin colour (S, S, 3) under maps of extra melanin and haemoglobin."""
    return SKIN * np.exp(-melanin[..., None] * MELANIN - blood[..., None] * BLOOD)


def beard(c: Canvas) -> np.ndarray:
    """Where beard grows, 0..1."""
    lower_face = smoothstep(-c.y, 58, 68) * smoothstep(c.y, -135, -118)
    moustache = gaussian(np.hypot(c.x / 19, (c.y + 57.5) / 5.5), 1.0)
    cheek = 1 - smoothstep(c.x * 0.5 - c.y * 0.9 - 50, -14, 8) * 0
    side = smoothstep(-c.y - 0.55 * (60 - c.x), 30, 45)
    chin = gaussian(np.hypot(c.x / 55, (c.y + 100) / 24), 1.0)
    mask = np.maximum(moustache, np.maximum(chin, lower_face * side * 0.8) * cheek)
    return mask * (1 - lips(c)) * (1 - interior(c))


def mean_maps(c: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Extra melanin and haemoglobin of the mean skin."""
    cheek = gaussian(np.hypot((c.x - 38) / 17, (c.y + 32) / 17), 1.0)
    nose = gaussian(np.hypot(c.x / 13, (c.y + 39) / 10), 1.0)
    under = gaussian(np.hypot((c.x - 28) / 13, (c.y + 11) / 4.5), 1.0)
    lid = gaussian(np.hypot((c.x - 31) / 14, (c.y - 8) / 5), 1.0)
    chin = gaussian(np.hypot(c.x / 14, (c.y + 100) / 10), 1.0)
    ear = smoothstep(-c.z, 96, 106) * smoothstep(c.y, -60, -50) * (1 - smoothstep(c.y, 8, 16))
    blood = 0.32 * cheek + 0.38 * nose + 0.12 * chin + 0.22 * under + 0.12 * lid + 0.35 * ear
    melanin = 0.16 * under + 0.13 * lid + 0.13 * beard(c) + 0.08 * smoothstep(c.x, 45, 75)
    return melanin, blood


def mean_albedo(c: Canvas) -> np.ndarray:
    """Mean albedo (S, S, 3), linear RGB."""
    melanin, blood = mean_maps(c)
    image = pigmented(melanin, blood)
    mask = lips(c)
    line = gaussian(c.y - mouth_line(c.x), 0.8) * (c.x < 26.5) * mask
    image = over(image, 0.88 * mask, [0.36, 0.135, 0.115])
    image = over(image, 0.45 * line, [0.12, 0.04, 0.035])
    image = over(image, interior(c), [0.055, 0.016, 0.014])
    image = over(image, 0.78 * brow(c), HAIR)
    parts = eye_parts(c)
    image = over(image, 0.95 * parts["ball"], [0.56, 0.51, 0.47])
    image = over(image, 0.75 * parts["caruncle"], [0.45, 0.20, 0.17])
    image = over(image, 0.97 * parts["iris"], [0.085, 0.058, 0.040])
    image = over(image, 0.55 * parts["ring"], [0.02, 0.015, 0.012])
    image = over(image, parts["pupil"], [0.006, 0.005, 0.005])
    shade = parts["ball"] * gaussian(c.y - lid_rims(c.x)[1], 1.6)
    image = image * (1 - 0.45 * shade)[..., None]
    image = over(image, 0.85 * parts["upper_lash"], [0.03, 0.022, 0.018])
    image = over(image, 0.35 * parts["lower_lash"], [0.10, 0.06, 0.05])
    return over(image, 0.9 * nostrils(c), [0.035, 0.014, 0.012])


def _patches(c: Canvas, rng: np.random.Generator, width: float, count: int, even: bool):
    """Smooth random maps (count, S, S) of unit SD with features of `width` texels."""
    out = []
    for _ in range(count):
        field = gaussian_filter(rng.standard_normal(c.x.shape), width, mode="reflect")
        field = field + field[:, ::-1] if even else field
        out.append(field / field.std())
    return out


def albedo_basis(mesh: Mesh, uv: np.ndarray, count: int = 80) -> np.ndarray:
    """Modes (count, h, w, 3) of the albedo, linear RGB per SD."""
    c = Canvas(mesh, uv, 240)
    rng = np.random.default_rng(11)
    skin = (1 - eye_parts(c)["ball"]) * (1 - interior(c)) * (1 - 0.6 * brow(c))
    mean = mean_albedo(c)
    modes = list(_named_modes(c, mean, skin, rng))
    for width, size, number, even in (
        (46, 0.04, 12, True),
        (24, 0.03, 14, True),
        (12, 0.02, 100, False),
    ):
        for k, field in enumerate(
            _patches(c, rng, width, min(number, max(0, count - len(modes))), even)
        ):
            absorb = MELANIN if k % 2 == 0 else BLOOD * 1.6
            modes.append(-mean * (size * field * skin)[..., None] * absorb)
    factor = 240 // BASIS_SIZE
    small = np.stack(modes[:count])
    return small.reshape(count, BASIS_SIZE, factor, BASIS_SIZE, factor, 3).mean(axis=(2, 4))


def _named_modes(c: Canvas, mean: np.ndarray, skin: np.ndarray, rng: np.random.Generator):
    """The modes that have a meaning, the strongest first."""
    lip, hair, parts = lips(c), brow(c), eye_parts(c)
    yield -mean * (0.40 * skin)[..., None] * MELANIN
    yield -mean * (0.26 * skin)[..., None] * BLOOD
    yield mean * (0.07 * skin)[..., None]
    yield hair[..., None] * 0.30 * (SKIN - HAIR)
    yield brow(c, 1.5)[..., None] * (1 - hair)[..., None] * -0.25 * (SKIN - HAIR)
    yield parts["iris"][..., None] * (1 - parts["pupil"])[..., None] * np.array([0.05, 0.06, 0.07])
    yield parts["ball"][..., None] * (1 - parts["iris"])[..., None] * np.array([0.06, 0.07, 0.07])
    yield lip[..., None] * np.array([0.055, -0.012, -0.010])
    yield lip[..., None] * np.array([-0.075, -0.035, -0.030])
    yield -(beard(c) * 0.25)[..., None] * mean * np.array([0.9, 0.75, 0.6])
    spots = (
        (38, -32, 16, 16), (0, -40, 12, 9), (28, -11, 14, 5), (31, 9, 15, 6), (0, 40, 40, 22),
        (0, -100, 18, 14), (18, -50, 7, 9), (0, -58, 9, 6), (52, -5, 10, 16), (50, -65, 18, 22),
        (0, 8, 9, 14), (58, 40, 12, 25),
    )  # fmt: skip
    for x, y, rx, ry in spots:
        mask = gaussian(np.hypot((c.x - x) / rx, (c.y - y) / ry), 1.0) * skin
        yield -mean * (0.12 * mask)[..., None] * BLOOD
        yield -mean * (0.08 * mask)[..., None] * MELANIN
    region = gaussian(np.hypot((c.x - 22) / 26, (c.y + 22) / 18), 1.0) * skin
    for _ in range(6):
        speck = gaussian_filter(rng.standard_normal(c.x.shape), 2.2)
        speck = np.clip(speck / speck.std() - 0.9, 0, None) * region
        yield -mean * (0.12 * speck)[..., None] * MELANIN
