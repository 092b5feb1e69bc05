"""Light and albedo once the geometry is known, by alternating linear least squares.

Linear light: I_pv = A_p (Y(n_p) L_v), with A the albedo in UV, Y nine spherical harmonics and L_v the light
that view v uses. Given A the light is a 9 x 3 solve; given the light, A is a ratio. Scale and colour
are ambiguous between the two; the model's albedo under the prior decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.energy.shared_albedo import TexelSource, TexelViews, read_texels
from hrnfit.energy.texels import Texels
from hrnfit.fit.scene import Scene
from hrnfit.geometry.map_fill import fill
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.model.face_model import FaceModel
from hrnfit.render.shade import sh_basis
from hrnfit.render.texture import resized_map
from hrnfit.state import FaceState

ROUNDS = 6
"""Alternations; the fit of light changes by less than 1 % after four."""
LIGHT_TEXELS = 20_000
"""Texels that 27 numbers of light are solved from."""
DARKEST = 0.01
"""Albedo below which a ratio of two means nothing."""
SWEEPS = 10
"""Of the fill, per level: it need not be exact, and 40 took 10 s at 1024 texels per side."""
LARGEST = 1.0
"""Logarithm of the largest factor by which unseen skin may differ from the model's."""
COARSE = 64
"""Texels per side at which the model's albedo coefficients are fitted."""


@dataclass(frozen=True)
class AppearanceSettings:
    """Strength of the priors, against the mean weight of a texel."""

    light_ridge: float = 1e-3
    """On the bands of the light above the constant."""
    coefficient_ridge: float = 2e-2
    """On the albedo coefficients, per squared standard deviation."""
    least_shading: float = 0.05
    """Shading below which a texel says nothing about its albedo."""


def fit_appearance(
    scene: Scene, state: FaceState, size: int = 512, settings: AppearanceSettings | None = None
) -> FaceState:
    """The state with `light`, `albedo` and `albedo_map` that explain the photographs best."""
    settings = settings or AppearanceSettings()
    resolution = state.albedo_map.shape[0]
    colour, weight, basis, used = _observed(scene, state, size, resolution)
    albedo_basis = _albedo_basis(scene.model, COARSE)
    mean = scene.model.albedo(torch.zeros_like(state.albedo))
    texels = scene.texels(resolution)
    coefficients = torch.zeros_like(state.albedo)
    albedo = texels_of(resized_map(mean, resolution), texels.flat)
    light = state.light
    model_albedo, lit = albedo, weight
    for _ in range(ROUNDS):
        light = _solve_light(
            colour, weight, basis, albedo, scene.sharing.light, state.light, settings
        )
        shading = _shading(basis, light[scene.sharing.light])
        lit = _lit(weight, shading, settings)
        coefficients = _solve_coefficients(
            colour, weight, shading, mean, albedo_basis, texels, settings
        )
        full = resized_map(scene.model.albedo(coefficients), resolution)
        model_albedo = texels_of(full, texels.flat)
        albedo = _solve_albedo(colour, weight, shading, model_albedo, settings)
    offset = _spread(albedo, model_albedo, lit.sum(0) > 0.05, texels, used)
    return state.replace(light=light, albedo=coefficients, albedo_map=offset)


@torch.no_grad()
def with_albedo(
    scene: Scene, state: FaceState, albedo: Float[Tensor, "H H 3"], size: int = 256
) -> FaceState:
    """The state with this albedo, linear RGB, and the light that explains the photographs best with it.

    size: window, px, in which the light is solved.
    """
    resolution = state.albedo_map.shape[0]
    full = resized_map(albedo, resolution)
    own = resized_map(scene.model.albedo(state.albedo), resolution)
    colour, weight, basis, _ = _observed(scene, state, size, resolution)
    texels = texels_of(full, scene.texels(resolution).flat)
    row = scene.sharing.light
    light = _solve_light(colour, weight, basis, texels, row, state.light, AppearanceSettings())
    return state.replace(albedo_map=full - own, light=light)


def texels_of(image: Float[Tensor, "S S C"], flat: Tensor) -> Float[Tensor, "P C"]:
    """Values of a square map at flat texel indices."""
    return image.flatten(0, 1)[flat]


def _observed(
    scene: Scene, state: FaceState, size: int, resolution: int
) -> tuple[
    Float[Tensor, "V P 3"], Float[Tensor, "V P"], Float[Tensor, "V P 9"], Bool[Tensor, "S S"]
]:
    """Linear colour and weight of every texel in every view, and its harmonics in the world."""
    seen, normals_world = look_linear(scene, state, size, resolution)
    texels = scene.texels(resolution)
    used = texels.square(torch.ones_like(texels.flat, dtype=torch.bool))
    # Clipped pixels say nothing about colour.
    weight = seen.weight * (seen.colour.amax(-1) < 0.99)
    return seen.colour, weight, sh_basis(normals_world), used


def look_linear(
    scene: Scene, state: FaceState, size: int, resolution: int
) -> tuple[TexelViews, Float[Tensor, "V P 3"]]:
    """Texels in linear light (Jacobian not set up), and their world normals per view."""
    windows = scene.windows(size)
    images = windows.images.movedim(-1, 1)
    zero = torch.zeros_like(images)
    source = TexelSource(torch.cat([images, zero, zero, windows.masks[:, None]], dim=1))
    prediction = scene.predict(state, size)
    texels, frame = scene.texels(resolution), scene.sharing.frame
    world = texels.interpolate(prediction.vertices_world)[frame]
    normals = texels.interpolate(vertex_normals(prediction.vertices_world, scene.model.faces))
    normals = (normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-9))[frame]
    T = prediction.projection.T_cam_world
    x_cam = world @ T[:, :3, :3].mT + T[:, None, :3, 3]
    normal_cam = normals @ T[:, :3, :3].mT
    seen = read_texels(source, prediction.projection.K, x_cam, normal_cam, prediction.raster.depth)
    return seen, normals


def _shading(
    basis: Float[Tensor, "V P 9"], light: Float[Tensor, "V 9 3"]
) -> Float[Tensor, "V P 3"]:
    return basis @ light


def _lit(
    weight: Float[Tensor, "V P"], shading: Float[Tensor, "V P 3"], settings: AppearanceSettings
) -> Float[Tensor, "V P"]:
    """Weight of what enough light of every colour falls on. Decided by channel, skin in the shade kept
    its red and green and took its blue from the model: it turned yellow."""
    return weight * (shading > settings.least_shading).all(-1)


def _solve_light(
    colour: Float[Tensor, "V P 3"],
    weight: Float[Tensor, "V P"],
    basis: Float[Tensor, "V P 9"],
    albedo: Float[Tensor, "P 3"],
    row: Tensor,
    before: Float[Tensor, "G 9 3"],
    settings: AppearanceSettings,
) -> Float[Tensor, "G 9 3"]:
    """Robust 9 x 3 least squares per light over the views that share it."""
    light = before.clone()
    some = slice(None, None, max(1, len(albedo) // LIGHT_TEXELS))
    colour, weight = colour[:, some], weight[:, some]
    basis, albedo = basis[:, some], albedo[some]
    ridge = settings.light_ridge * torch.ones(9).to(colour)
    ridge[0] = 0.0
    for g in range(len(before)):
        views = (row == g).nonzero()[:, 0]
        for c in range(3):
            design = (basis[views] * albedo[:, c, None]).flatten(0, 1)
            target, w = colour[views, :, c].flatten(), weight[views].flatten()
            robust = w
            for _ in range(3):
                weighted = design * (robust / robust.sum().clamp_min(1e-9))[:, None]
                scale = (weighted * design).sum(0)[0].clamp_min(1e-12)
                system = weighted.T @ design + torch.diag(ridge) * scale
                light[g, :, c] = torch.linalg.solve(
                    system + 1e-9 * torch.eye(9).to(system), weighted.T @ target
                )
                residual = (design @ light[g, :, c] - target).abs()
                spread = (w * residual).sum() / w.sum().clamp_min(1e-9) + 1e-6
                robust = w / (1.0 + (residual / (2.0 * spread)).square())
    return light


def _solve_albedo(
    colour: Tensor, weight: Tensor, shading: Tensor, prior: Tensor, settings: AppearanceSettings
) -> Float[Tensor, "P 3"]:
    """Per-texel least squares with a whisper of the model's albedo, which decides where none sees."""
    w = _lit(weight, shading, settings)[..., None]
    top = (w * shading * colour).sum(0) + 1e-3 * prior
    return (top / ((w * shading.square()).sum(0) + 1e-3)).clamp(0.0, 1.5)


def _albedo_basis(model: FaceModel, size: int) -> Float[Tensor, "A S S 3"]:
    """Modes of the albedo at a small size; the model is linear, so differences give them."""
    zero = torch.zeros(model.n_albedo, device=model.uv.device)
    mean = resized_map(model.albedo(zero), size)
    rows = torch.eye(model.n_albedo, device=model.uv.device)
    return torch.stack([resized_map(model.albedo(row), size) - mean for row in rows])


def _solve_coefficients(
    colour: Tensor,
    weight: Tensor,
    shading: Tensor,
    mean: Tensor,
    basis: Float[Tensor, "A S S 3"],
    texels: Texels,
    settings: AppearanceSettings,
) -> Float[Tensor, "A"]:
    """Ridge regression of the model's albedo on the colours divided by their shading."""
    lit = _lit(weight, shading, settings)[..., None]
    w = (lit * shading.square()).sum(0)
    top = (lit * shading * colour).sum(0)
    small_w = resized_map(texels.square(w), COARSE)
    small = resized_map(texels.square(top), COARSE) / small_w.clamp_min(1e-6)
    target = (small - resized_map(mean, COARSE)).clamp(-0.5, 0.8).flatten()
    design = basis.flatten(1)
    share = small_w.flatten() / small_w.sum().clamp_min(1e-9)
    system = (design * share) @ design.T
    # The ridge is in units of a visible albedo error of 0.1.
    ridge = settings.coefficient_ridge * 0.01 * torch.eye(len(design)).to(system)
    return torch.linalg.solve(system + ridge, (design * share) @ target)


def _spread(
    albedo: Float[Tensor, "P 3"],
    model_albedo: Float[Tensor, "P 3"],
    known: Bool[Tensor, "P"],
    texels: Texels,
    used: Bool[Tensor, "S S"],
) -> Float[Tensor, "S S 3"]:
    """Offset map; where no view sees, the seen skin says smoothly by how much the model is wrong.

    As a factor: an offset carried from lips that are paler than the model's into the darker inside
    of the mouth left no red there, and it turned green.
    """
    factor = (albedo.clamp_min(DARKEST) / model_albedo.clamp_min(DARKEST)).log()
    smooth = fill(texels.square(factor), texels.square(known), used, sweeps=SWEEPS)
    guess = texels.square(model_albedo) * torch.expm1(smooth.clamp(-LARGEST, LARGEST))
    exact = texels.square(albedo - model_albedo)
    return torch.where(texels.square(known)[..., None], exact, guess)
