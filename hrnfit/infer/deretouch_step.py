"""The de-retouched albedo of one texture map, in the way that the weights' convention asks for (HRN sec. 3.4)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from hrnfit.infer.deretouched import deretouched_albedo, soft_light
from hrnfit.io.image import linear_from_srgb, srgb_from_linear
from hrnfit.nets import released_albedo
from hrnfit.nets.deretouch import DeretouchNet
from hrnfit.nets.hrn import Convention
from hrnfit.nets.released_albedo import blend_layer
from hrnfit.render.texture import resized_map


def retouched_albedo(
    network: DeretouchNet,
    convention: Convention,
    albedo: Float[Tensor, "H W 3"],
    texture: Float[Tensor, "3 S S"],
) -> Float[Tensor, "S S 3"]:
    """A' in linear RGB at the texture's resolution.

    albedo: the model's, linear RGB. texture: sRGB 0..1.
    """
    blend = blend_layer(network, texture)
    own = resized_map(albedo, texture.shape[-1]).clamp_min(0.0)
    if convention == "released":
        encoded = srgb_from_linear(own).movedim(-1, 0)
        baked = released_albedo.deretouched_albedo(encoded, texture, blend)
        return linear_from_srgb(baked.clamp(0.0, 1.0)).movedim(0, -1)
    smooth = soft_light(texture, blend)
    return deretouched_albedo(own, texture.movedim(0, -1), smooth.movedim(0, -1))
