"""A look at the skin and the light field that follows from it, as one recording.

The law is `shared_skin.py`'s. A coefficient solve looks anew in each of its rounds: 300 launches, 6 ms of the host.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.light_field import light_of_frames
from hrnfit.energy.shared_albedo import TexelSource
from hrnfit.energy.texels import Texels
from hrnfit.fit.model_constants import chart_of, map_operator
from hrnfit.fit.scene import Scene
from hrnfit.fit.shared_skin import seen_skin
from hrnfit.fit.tensor_trees import hollow
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import WorkingViews
from hrnfit.prediction import Prediction
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.solve.recorded import replayed
from hrnfit.state import FaceState, Sharing

LEAVES = tuple(f.name for f in fields(FaceState))
ROWS = tuple(f.name for f in fields(Sharing))


def recorded_look(
    scene: Scene,
    state: FaceState,
    windows: WorkingViews,
    source: TexelSource,
    texels: Texels,
    compared: Float[Tensor, "P"],
    sigma: float,
    scale: float,
) -> tuple[Float[Tensor, "V P"], Float[Tensor, "V P 3"]]:
    """Weight of each texel in each view, and the light field; as `SharedSkin.look` and `relight`. The model must be
    linear: its shape looks at no value."""
    inputs = (
        *(getattr(state, name) for name in LEAVES),
        *(getattr(scene.rows, name) for name in ROWS),
        windows.K,
        windows.T_cam_world,
        source.channels,
        compared,
    )
    empty = hollow(windows)  # only their size is asked for
    look = partial(_look, scene.model, scene.rasterizer, empty, texels, sigma, scale)
    # the recording holds model and texels: no others take their place in memory
    held = (id(scene.model), id(texels.flat), type(scene.rasterizer))
    found = replayed(("look", *held, windows.size, sigma, scale), look, inputs)
    weight, light = (x.clone() for x in found)
    return weight, light


def _look(
    model: FaceModel,
    rasterizer: Rasterizer,
    windows: WorkingViews,
    texels: Texels,
    sigma: float,
    scale: float,
    *tensors: Tensor,
) -> tuple[Tensor, Tensor]:
    rest = iter(tensors)
    state = FaceState(**{name: next(rest) for name in LEAVES})
    sharing = Sharing(**{name: next(rest) for name in ROWS})
    K, T, channels, compared = rest
    prediction = Prediction(
        model,
        state,
        sharing,
        replace(windows, K=K, T_cam_world=T),
        map_operator(model, state.deformation.shape[0]),
        rasterizer,
        partial(chart_of, model),
    )
    with torch.no_grad():
        found = seen_skin(prediction, TexelSource(channels), texels, compared)
        # normals are turned, not moved
        motion = torch.nn.functional.pad(found.R_cam_head, (0, 1))
        normals, frame = found.normals_head, sharing.frame
        light = light_of_frames(found.seen, normals, frame, motion, texels, sigma, scale)
    return found.seen.weight, light
