"""The networks of one start, and the convention of maps that their weights were trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from hrnfit.infer.convention import MapConvention
from hrnfit.infer.own_maps import OwnMaps
from hrnfit.infer.released_maps import released_maps
from hrnfit.licences import Part
from hrnfit.model.face_model import FaceModel
from hrnfit.nets.deretouch import DeretouchNet
from hrnfit.nets.hrn import DEFORMATION_SIZE, Convention, Hrn
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.render.texture import UvRaster

MAP_SIZE = 256
"""Texels per side of position, texture and displacement maps (HRN sec. 3.2)."""


@dataclass(frozen=True, eq=False)
class Networks:
    """Trained networks in eval mode."""

    hrn: Hrn
    """Analyzer, and the generators where the weights have them."""
    deretouch: DeretouchNet | None = None
    """Retouches a texture map (HRN sec. 3.4)."""
    name: str = "networks"
    """What the weights are called in reports."""
    model: str = ""
    """Name or kind of the face model that they were trained for; empty when not stated."""
    parts: tuple[Part, ...] = ()
    """Terms of the weights; none: not stated."""

    @property
    def map_convention(self) -> Convention:
        """Whose maps they are given: an analyzer alone was trained on none, so with it they are ours."""
        return "hrnfit" if self.hrn.mid_net is None else self.hrn.config.convention

    def to(self, device: torch.device | str) -> Networks:
        """The same on a device. Moves the networks themselves, as torch does."""
        deretouch = None if self.deretouch is None else self.deretouch.to(device)
        return replace(self, hrn=self.hrn.to(device), deretouch=deretouch)


def check_networks(networks: Networks, model: FaceModel) -> None:
    """They are in eval mode, of this model, and predict as many coefficients as it has; ValueError says what differs."""
    if networks.hrn.training or (networks.deretouch is not None and networks.deretouch.training):
        raise ValueError(
            f"networks {networks.name!r}: in training mode, where a photograph changes what they say of the "
            "next; call their eval() first"
        )
    if networks.model not in ("", model.info.name, model.info.kind):
        raise ValueError(
            f"networks {networks.name!r}: were trained for model {networks.model!r}, this fit is with "
            f"{model.info.name!r}; fit with theirs (--model), or start from landmarks (--set initialize=landmarks)"
        )
    config = networks.hrn.config.analyzer
    theirs = (config.identity, config.expression, config.albedo)
    ours = (model.n_identity, model.n_expression, model.n_albedo)
    if theirs != ours:
        raise ValueError(
            f"networks {networks.name!r}: predict {theirs[0]} identity, {theirs[1]} expression and {theirs[2]} "
            f"albedo coefficients, model {model.info.name!r} has {ours[0]}, {ours[1]} and {ours[2]}; fit with "
            "the model that they were trained for (--model), or start from landmarks (--set initialize=landmarks)"
        )


def convention_of(
    networks: Networks, model: FaceModel, rasterizer: Rasterizer, chart: Callable[[int], UvRaster]
) -> MapConvention:
    """The maps as the weights were trained on them, for a model on the networks' device.

    Raises ValueError when released generators meet a chart that theirs cannot be.
    """
    raster = chart(MAP_SIZE)
    if networks.map_convention == "hrnfit":
        return own_maps(model, rasterizer, raster)
    return released_maps(model, MAP_SIZE, DEFORMATION_SIZE, raster)


def own_maps(model: FaceModel, rasterizer: Rasterizer, raster: UvRaster) -> OwnMaps:
    """Maps in our convention, which also tell which texels a view sees."""
    return OwnMaps.of(model, MAP_SIZE, DEFORMATION_SIZE, raster, rasterizer)
