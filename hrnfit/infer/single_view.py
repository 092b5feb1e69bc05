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
from hrnfit.importers.deep3d import MM_PER_UNIT
from hrnfit.infer.alignment import Alignment, align_five, five_points
from hrnfit.infer.convention import MapConvention
from hrnfit.infer.crop import ANALYZER_SIZE, TEXTURE_SIZE, Crop, crop_from_alignment
from hrnfit.infer.crop_state import state_from_crop
from hrnfit.infer.deretouch_step import retouched_albedo
from hrnfit.infer.networks import Networks
from hrnfit.infer.own_maps import OwnMaps
from hrnfit.model.face_model import FaceModel
from hrnfit.nets.hrn import resized
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
    """mm, head frame; in our convention whole wherever `weight` is not 0, in the released one times the mask."""
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
        if self.networks.map_convention == "released":
            fine = crop_from_alignment(alignment, TEXTURE_SIZE, view.name)
        else:
            fine = crop.finer(FINER)
        picture = crop.image(view.image).to(device)
        coefficients = self.networks.hrn.coefficients(picture[None])[0]
        said = state_from_crop(_finite(coefficients, "analyzer", view.name), self.model)
        mask = torch.ones(view.image.shape[:2]) if view.mask is None else view.mask
        face_mask = crop.mask(mask).to(device)
        shape = self.model.shape(said.identity, said.expression) / MM_PER_UNIT
        found = ViewPrediction(
            identity=said.identity,
            expression=said.expression,
            albedo=said.albedo,
            T_analyzer_head=said.T_analyzer_head,
            crop=crop,
            light_head=said.light_head,
            weight=self.own.valid_mask(face_mask, _posed(shape, said.T_analyzer_head)),
        )
        if self.networks.hrn.mid_net is None and self.networks.deretouch is None:
            return found
        return self._with_maps(
            found, shape, fine.image(view.image).to(device), face_mask, view.name
        )

    def _with_maps(
        self, found: ViewPrediction, shape: Tensor, picture: Tensor, face_mask: Tensor, name: str
    ) -> ViewPrediction:
        """Deformation, displacement and de-retouched albedo, as far as there are networks for them.

        shape: unposed, decimetres; picture: the crop that textures are taken from; name: of the view.
        """
        networks, hrn, maps = self.networks, self.networks.hrn, self.convention
        posed = _posed(shape, found.T_analyzer_head)
        texture = maps.texture(picture, posed)
        if hrn.mid_net is not None:
            mask, position = maps.valid_mask(face_mask, posed)[None], maps.position_map(shape)[None]
            raw = hrn.deformation(position, texture[None], mask)
            raw = _finite(raw, "deformation network", name)
            moved = _posed(shape + maps.vertex_offsets(raw[0]), found.T_analyzer_head)
            realigned = maps.texture(picture, moved)
            whole = raw if networks.map_convention == "released" else undiluted(raw, mask)
            found = replace(found, deformation=maps.deformation(whole[0]))
            if hrn.high_net is not None:
                fine = hrn.displacement(position, realigned[None], raw, mask)
                fine = _finite(fine, "displacement network", name)
                found = replace(found, displacement=maps.displacement(fine[0], moved))
            # the released code retouches the texture of the shape before its deformation
            texture = texture if networks.map_convention == "released" else realigned
        if networks.deretouch is None:
            return found
        albedo = self.model.albedo(found.albedo)
        retouched = retouched_albedo(networks.deretouch, networks.map_convention, albedo, texture)
        return replace(found, deretouched=_finite(retouched, "de-retouching network", name))


def undiluted(
    deformation: Float[Tensor, "B C D D"], mask: Float[Tensor, "B S S"]
) -> Float[Tensor, "B C D D"]:
    """The deformation before the mask was put on it, where that left something; of masks that say how well a
    texel is seen.

    Weighted by the same once more when views are merged, half-seen skin would lose half of its offset. On the
    planted subjects the error of the start's vertices falls by 5 to 17 %, on average from
    0.49 to 0.44 mm.
    """
    shown = resized(mask[:, None], deformation.shape[-1])
    some = torch.where(shown > 0, shown, torch.ones_like(shown))
    return deformation / some


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


def _finite(values: Tensor, what: str, name: str) -> Tensor:
    """The values, if they are numbers; ValueError that says whose are not, and in which view."""
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{name}: the {what} answers NaN; add its weights again")
    return values
