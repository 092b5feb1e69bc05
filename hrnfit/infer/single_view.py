"""One photograph through the networks: crop, coefficients, maps (HRN sec. 3.1, 3.2, 3.4).

What comes out is in our conventions, but for the pose, which is the analyzer's own: `crop_pose.py` carries
it to the photograph's camera. The light is kept in the head frame, where no camera matters.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.brief import brief
from hrnfit.importers.deep3d import MM_PER_UNIT, state_from_deep3d
from hrnfit.importers.turned_light import turned_light
from hrnfit.infer.alignment import Alignment, align_five, five_points
from hrnfit.infer.convention import MapConvention
from hrnfit.infer.crop import ANALYZER_SIZE, TEXTURE_SIZE, Crop, crop_from_alignment
from hrnfit.infer.deretouch_step import retouched_albedo
from hrnfit.infer.networks import Networks
from hrnfit.infer.own_maps import OwnMaps
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View

FINER = 2
"""Factor of the crop that textures are taken from in our convention: the same window to the last bit. The
released crop of 512 px is cut to whole pixels by itself, up to 1.5 px of 224 off the analyzer's."""


@dataclass(frozen=True)
class ViewPrediction:
    """What the networks say of one photograph. Maps are None where the weights have no network of them."""

    identity: Float[Tensor, "I"]
    expression: Float[Tensor, "E"]
    albedo: Float[Tensor, "A"]
    T_analyzer_head: Float[Tensor, "4 4"]
    """Pose in the analyzer's world, mm; see `infer/crop_pose.py`."""
    crop: Crop
    """Of the analyzer's picture."""
    light_head: Float[Tensor, "9 3"]
    """Harmonics of the light in the head frame."""
    weight: Float[Tensor, "S S"]
    """How well the photograph shows each texel, 0..1: visible, facing, inside the face mask."""
    deformation: Float[Tensor, "D D 3"] | None = None
    """mm, head frame."""
    displacement: Float[Tensor, "S S"] | None = None
    """mm along the normal."""
    deretouched: Float[Tensor, "S S 3"] | None = None
    """De-retouched albedo, linear RGB."""

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Predictor:
    """What stays the same over the photographs of a subject."""

    networks: Networks
    model: FaceModel
    convention: MapConvention
    """Of the weights."""
    own: OwnMaps
    """Tells what a view sees."""

    @torch.no_grad()
    def predict(self, view: View) -> ViewPrediction:
        """All that the networks say of a photograph with landmarks; on the model's device.

        Raises ValueError, naming the view, when it has no five points or the networks answer NaN.
        """
        device = self.model.uv.device
        alignment = _alignment(view)
        with exact_convolutions():
            return self._predict(view, alignment, device)

    def _predict(self, view: View, alignment: Alignment, device: torch.device) -> ViewPrediction:
        """The same for an alignment."""
        crop = crop_from_alignment(alignment, ANALYZER_SIZE, view.name)
        if self.networks.hrn.config.convention == "released":
            fine = crop_from_alignment(alignment, TEXTURE_SIZE, view.name)
        else:
            fine = crop.finer(FINER)
        picture = crop.image(view.image).to(device)
        coefficients = self.networks.hrn.coefficients(picture[None])[0]
        if not bool(torch.isfinite(coefficients).all()):
            raise ValueError(f"{view.name}: the analyzer answers NaN; add its weights again")
        state, _, _ = state_from_deep3d(coefficients, self.model)
        T = state.pose_reference[0]
        mask = torch.ones(view.image.shape[:2]) if view.mask is None else view.mask
        face_mask = crop.mask(mask).to(device)
        shape = self.model.shape(state.identity, state.expression[0]) / MM_PER_UNIT
        posed = _posed(shape, T)
        found = ViewPrediction(
            identity=state.identity,
            expression=state.expression[0],
            albedo=state.albedo,
            T_analyzer_head=T,
            crop=crop,
            light_head=turned_light(state.light[0], T[:3, :3].mT),
            weight=self.own.valid_mask(face_mask, posed),
        )
        return self._with_maps(found, shape, fine.image(view.image).to(device), face_mask)

    def _with_maps(
        self, found: ViewPrediction, shape: Tensor, picture: Tensor, face_mask: Tensor
    ) -> ViewPrediction:
        """Deformation, displacement and de-retouched albedo, as far as there are networks for them.

        shape: unposed, decimetres; picture: the crop that textures are taken from.
        """
        hrn, maps, T = self.networks.hrn, self.convention, found.T_analyzer_head
        posed = _posed(shape, T)
        texture = maps.texture(picture, posed)
        deformation = displacement = deretouched = None
        if hrn.mid_net is not None:
            mask = maps.valid_mask(face_mask, posed)[None]
            position = maps.position_map(shape)[None]
            raw = hrn.deformation(position, texture[None], mask)
            deformation = maps.deformation(raw[0])
            moved = _posed(shape + maps.vertex_offsets(raw[0]), T)
            realigned = maps.texture(picture, moved)
            if hrn.high_net is not None:
                fine = hrn.displacement(position, realigned[None], raw, mask)
                displacement = maps.displacement(fine[0], moved)
            texture = texture if hrn.config.convention == "released" else realigned
        if self.networks.deretouch is not None:
            albedo = self.model.albedo(found.albedo)
            deretouched = retouched_albedo(
                self.networks.deretouch, hrn.config.convention, albedo, texture
            )
        return _finite(found, deformation, displacement, deretouched)


def exact_convolutions() -> AbstractContextManager[None]:
    """Convolutions on a GPU in float32, the same each time: rounded to TF32, as torch does by default, coefficients
    of networks fitted to a few crops came out 5e-4 of a standard deviation elsewhere."""
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )


def _alignment(view: View) -> Alignment:
    if view.landmarks is None:
        raise ValueError(f"{view.name}: no landmarks; the networks' crop needs five points")
    points = five_points(view.landmarks, view.name)
    height, width, _ = view.image.shape
    return align_five(points, height, width, view.name)


def _posed(shape: Float[Tensor, "N 3"], T: Float[Tensor, "4 4"]) -> Float[Tensor, "N 3"]:
    """In the analyzer's world, decimetres."""
    return shape @ T[:3, :3].mT + T[:3, 3] / MM_PER_UNIT


def _finite(found: ViewPrediction, *maps: Tensor | None) -> ViewPrediction:
    """With the maps; one that is not finite is left out by the caller's choice of error."""
    names = ("deformation", "displacement", "deretouched")
    for name, image in zip(names, maps, strict=True):
        if image is not None and not bool(torch.isfinite(image).all()):
            raise ValueError(f"the {name} network answers NaN; add its weights again")
    return replace(found, **dict(zip(names, maps, strict=True)))
