"""How photographs become the networks' maps, and their maps become ours: what both ways of doing it offer.

`nets/released.py` does it as the released code did when its weights were trained, `infer/own_maps.py`
as it should be. Whoever runs the networks knows only this protocol. Lengths are those of the networks:
decimetres, x right, y up, z to the viewer, the camera of `importers/deep3d.py`; textures are sRGB 0..1.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class MapConvention(Protocol):
    """One view's maps, for one topology. S is the side of the maps (256), D that of the deformation (64)."""

    def position_map(self, shape: Float[Tensor, "N 3"]) -> Float[Tensor, "3 S S"]:
        """Position map of the unposed shape (identity and expression), 0 outside the chart."""
        ...

    def texture(
        self, image: Float[Tensor, "3 H H"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "3 S S"]:
        """The finer crop (512 px for released weights) as a texture map, for vertices in the analyzer's world."""
        ...

    def valid_mask(
        self, mask: Float[Tensor, "h h"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "S S"]:
        """Where the crop's face mask (224 px, 0..1) lets the maps be believed, 0..1."""
        ...

    def vertex_offsets(self, deformation: Float[Tensor, "3 D D"]) -> Float[Tensor, "N 3"]:
        """Offset of every vertex by the network's deformation map."""
        ...

    def deformation(self, deformation: Float[Tensor, "3 D D"]) -> Float[Tensor, "D D 3"]:
        """The network's deformation map as one of ours: mm, head frame, our texel centres."""
        ...

    def displacement(
        self, displacement: Float[Tensor, "1 S S"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "S S"]:
        """The network's displacement map as one of ours: mm, outwards along the normal."""
        ...
