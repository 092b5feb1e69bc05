"""Light and albedo once the geometry is known, by alternating linear least squares.

Linear light: I_pv = A_p (Y(n_p) L_v), with A the albedo in UV, Y nine spherical harmonics and L_v the light
that view v uses. Given A the light is a 9 x 3 solve (`light_solve.py`); given the light, A is a ratio
(`albedo_solve.py`). Scale and colour are ambiguous between the two; the model's albedo under the prior
decides. On a GPU the whole alternation is recorded once per model and replayed.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.shared_albedo import TexelSource, TexelViews, read_texels
from hrnfit.energy.texels import Texels
from hrnfit.fit.albedo_solve import (
    COARSE,
    AppearanceSettings,
    albedo_modes,
    albedo_of,
    lit,
    shaded,
    solve_albedo,
    solve_coefficients,
    spread_offset,
)
from hrnfit.fit.light_solve import solve_light
from hrnfit.fit.model_constants import constants_of
from hrnfit.fit.scene import Scene
from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.model.face_model import FaceModel
from hrnfit.render.shade import sh_basis
from hrnfit.render.texture import resized_map
from hrnfit.solve.recorded import replayed
from hrnfit.state import FaceState

ROUNDS = 6
"""Alternations; the fit of light changes by less than 1 % after four."""


@torch.no_grad()
def fit_appearance(
    scene: Scene, state: FaceState, size: int = 512, settings: AppearanceSettings | None = None
) -> FaceState:
    """The state with `light`, `albedo` and `albedo_map` that explain the photographs best.

    size: window, px. Allocates about 150 numbers per view and texel of the albedo map.
    """
    settings = settings or AppearanceSettings()
    resolution, model = state.albedo_map.shape[0], scene.model
    colour, weight, normals = _observed(scene, state, size, resolution)
    # 3 MB of the model's constants, and hundreds of launches
    make = partial(albedo_modes, model, COARSE)
    modes = constants_of(model).once(("albedo modes", COARSE), make, model.uv.device)
    solve = partial(_alternated, model, modes, scene.texels(resolution), settings)
    row = scene.rows.light
    key = ("appearance", id(model), resolution, settings)
    found = replayed(key, solve, (colour, weight, normals, row, state.light))
    light, coefficients, offset = (x.clone() for x in found)  # the next replay overwrites them
    return state.replace(light=light, albedo=coefficients, albedo_map=offset)


def _alternated(
    model: FaceModel,
    modes: Float[Tensor, "A s s 3"],
    texels: Texels,
    settings: AppearanceSettings,
    colour: Float[Tensor, "V P 3"],
    weight: Float[Tensor, "V P"],
    normals: Float[Tensor, "V P 3"],
    row: Tensor,
    light: Float[Tensor, "G 9 3"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Light, albedo coefficients and offset map; in shapes that depend on no value."""
    if has_kernels(colour.device) and colour.dtype == torch.float32:
        return _by_kernels(model, modes, texels, settings, colour, weight, normals, row, light)
    resolution, basis = texels.size, sh_basis(normals)
    coefficients = torch.zeros(len(modes), dtype=light.dtype, device=light.device)
    mean = model.albedo(coefficients)
    albedo = texels_of(resized_map(mean, resolution), texels.flat)
    model_albedo, enough = albedo, weight
    for _ in range(ROUNDS):
        light = solve_light(colour, weight, basis, albedo, row, light, settings.light_ridge)
        shading = shaded(basis, light[row])
        enough = lit(weight, shading, settings)
        coefficients = solve_coefficients(colour, weight, shading, mean, modes, texels, settings)
        full = resized_map(model.albedo(coefficients), resolution)
        model_albedo = texels_of(full, texels.flat)
        albedo = solve_albedo(colour, weight, shading, model_albedo, settings)
    used = texels.square(torch.ones_like(texels.flat, dtype=torch.bool))
    known = enough.sum(0) > 0.05
    return light, coefficients, spread_offset(albedo, model_albedo, known, texels, used)


def _by_kernels(
    model: FaceModel,
    modes: Float[Tensor, "A s s 3"],
    texels: Texels,
    settings: AppearanceSettings,
    colour: Float[Tensor, "V P 3"],
    weight: Float[Tensor, "V P"],
    normals: Float[Tensor, "V P 3"],
    row: Tensor,
    light: Float[Tensor, "G 9 3"],
) -> tuple[Tensor, Tensor, Tensor]:
    """`_alternated` by kernels of our own."""
    from hrnfit.fit.appearance_cuda import albedo_sums, fitted_coefficients  # local: triton

    basis, design = sh_basis(normals).contiguous(), modes.flatten(1).T.contiguous()
    coefficients = torch.zeros(len(modes), dtype=light.dtype, device=light.device)
    mean = model.albedo(coefficients)
    small = resized_map(mean, COARSE)
    model_albedo = albedo = texels_of(resized_map(mean, texels.size), texels.flat)
    seen = weight.sum(0)
    for _ in range(ROUNDS):
        light = solve_light(colour, weight, basis, albedo, row, light, settings.light_ridge)
        sums = albedo_sums(colour, weight, basis, light, row, texels, settings.least_shading)
        coefficients = fitted_coefficients(sums, small, design, settings)
        full = resized_map(model.albedo(coefficients), texels.size)
        model_albedo = texels_of(full, texels.flat)
        albedo, seen = albedo_of(sums.top, sums.bottom, model_albedo), sums.seen
    used = texels.square(torch.ones_like(texels.flat, dtype=torch.bool))
    return light, coefficients, spread_offset(albedo, model_albedo, seen > 0.05, texels, used)


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
    colour, weight, normals = _observed(scene, state, size, resolution)
    texels = texels_of(full, scene.texels(resolution).flat)
    row, ridge = scene.rows.light, AppearanceSettings().light_ridge
    light = solve_light(colour, weight, sh_basis(normals), texels, row, state.light, ridge)
    return state.replace(albedo_map=full - own, light=light)


def texels_of(image: Float[Tensor, "S S C"], flat: Tensor) -> Float[Tensor, "P C"]:
    """Values of a square map at flat texel indices."""
    return image.flatten(0, 1)[flat]


def _observed(
    scene: Scene, state: FaceState, size: int, resolution: int
) -> tuple[Float[Tensor, "V P 3"], Float[Tensor, "V P"], Float[Tensor, "V P 3"]]:
    """Linear colour and weight of every texel in every view, and its world normal."""
    seen, normals_world = look_linear(scene, state, size, resolution)
    # Clipped pixels say nothing about colour.
    return seen.colour, seen.weight * (seen.colour.amax(-1) < 0.99), normals_world


def look_linear(
    scene: Scene, state: FaceState, size: int, resolution: int
) -> tuple[TexelViews, Float[Tensor, "V P 3"]]:
    """Texels in linear light (Jacobian not set up), and their world normals per view."""
    windows = scene.windows(size)
    images = windows.images.movedim(-1, 1)
    zero = torch.zeros_like(images)
    source = TexelSource(torch.cat([images, zero, zero, windows.masks[:, None]], dim=1))
    prediction = scene.predict(state, size)
    texels, frame = scene.texels(resolution), scene.rows.frame
    world = texels.interpolate(prediction.vertices_world)[frame]
    normals = texels.interpolate(vertex_normals(prediction.vertices_world, scene.model.faces))
    normals = (normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-9))[frame]
    T = prediction.projection.T_cam_world
    x_cam = world @ T[:, :3, :3].mT + T[:, None, :3, 3]
    normal_cam = normals @ T[:, :3, :3].mT
    seen = read_texels(source, prediction.projection.K, x_cam, normal_cam, prediction.raster.depth)
    return seen, normals
