"""Discriminators of the adversarial terms: does this map look like one of a scan (HRN sec. 3.3).

The 70 x 70 PatchGAN of pix2pix (Isola et al. 2017, sec. 6.1.2): one number per patch, without a
sigmoid, for the least-squares loss. A conditional one sees what the generator saw beside its map. No
released file holds weights of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hrnfit.nets.generator import start_weights
from hrnfit.nets.limits import MOST_CHANNELS, MOST_LAYERS, check_picture, check_whole

SLOPE = 0.2
"""Of the leaky ReLUs below zero."""

WIDEST = 8
"""Most channels over the first layer's."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Channels in, and the size of the network."""

    inputs: int
    """Channels of the map, and with a condition those of the generator's input on top."""
    width: int = 64
    layers: int = 3
    """Convolutions that halve; three see 70 x 70 px."""

    def __post_init__(self) -> None:
        for name in ("inputs", "width"):
            check_whole(f"discriminator.{name}", getattr(self, name), 1, MOST_CHANNELS)
        check_whole("discriminator.layers", self.layers, 1, MOST_LAYERS)

    @property
    def least_side(self) -> int:
        """px: the normalisation of the last layer needs more than one value."""
        return 3 * 2**self.layers


DEFORMATION = DiscriminatorConfig(inputs=3)
DEFORMATION_GIVEN_INPUT = DiscriminatorConfig(inputs=3 + 6)
"""The map beside position and texture."""
DISPLACEMENT = DiscriminatorConfig(inputs=1)
DISPLACEMENT_GIVEN_INPUT = DiscriminatorConfig(inputs=1 + 9)
"""The map beside position, texture and deformation."""


class PatchDiscriminator(nn.Module):
    """Maps to one number per patch: high for scans, low for what a generator made."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * min(2**k, WIDEST) for k in range(config.layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(config.inputs, widths[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for k in range(config.layers):
            stride = 2 if k + 1 < config.layers else 1
            parts += [
                nn.Conv2d(widths[k], widths[k + 1], 4, stride, 1),
                nn.InstanceNorm2d(widths[k + 1]),
                nn.LeakyReLU(SLOPE),
            ]
        self.model = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        start_weights(self)

    def forward(
        self,
        maps: Float[Tensor, "B _ H W"],
        condition: Float[Tensor, "B _ H W"] | None = None,
    ) -> Float[Tensor, "B 1 h w"]:
        """Scores of maps, joined to their generator's input where the config counts it.

        Raises ValueError when the channels of both do not make up `config.inputs`.
        """
        beside = 0 if condition is None else condition.shape[1]
        if maps.shape[1] + beside != self.config.inputs:
            raise ValueError(
                f"maps: expected {self.config.inputs} channels with the condition's, "
                f"got {maps.shape[1]} and {beside}; a conditional discriminator wants the "
                "generator's input as condition, another wants none"
            )
        seen = maps if condition is None else torch.cat([maps, condition], dim=1)
        check_picture("maps", seen, self.config.inputs, least=self.config.least_side)
        return self.model(seen)
