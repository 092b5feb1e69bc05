"""The detail generators: maps to a map of the same size, values in (-1, 1) (HRN sec. 3.2).

The released code's choice, which the paper's text calls pix2pix: convolutions down by four, residual
blocks, transposed convolutions up again, instance normalisation without parameters (Johnson et al.
2016). Modules stand in one sequence whose numbers are the keys of the released files.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from hrnfit.nets.limits import MOST_BLOCKS, MOST_CHANNELS, check_picture, check_whole

DROPOUT = 0.5
"""Inside each residual block, while training only."""

WEIGHT_DEVIATION = 0.02
"""Standard deviation of fresh weights (Isola et al. 2017, sec. 6.2)."""

SHRINKING = 4
"""Factor between the map and the grid of the residual blocks."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Channels in and out, and the size of the network."""

    inputs: int
    outputs: int
    width: int = 64
    """Channels at full resolution; the residual blocks work in four times as many."""
    blocks: int = 9

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "width"):
            check_whole(f"generator.{name}", getattr(self, name), 1, MOST_CHANNELS)
        check_whole("generator.blocks", self.blocks, 1, MOST_BLOCKS)


class ResidualBlock(nn.Module):
    """x + f(x), f being two reflected 3 x 3 convolutions with a ReLU and a dropout between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.conv_block(x)


def _normalised(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(channels), nn.ReLU()]


def start_weights(network: nn.Module) -> None:
    """Fresh weights of convolutions N(0, `WEIGHT_DEVIATION`), biases zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, WEIGHT_DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class ResnetGenerator(nn.Module):
    """Map to map."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        down = [
            *_normalised(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1), 2 * w),
            *_normalised(nn.Conv2d(2 * w, 4 * w, 3, stride=2, padding=1), 4 * w),
        ]
        up = [
            *_normalised(nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, output_padding=1), 2 * w),
            *_normalised(nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1), w),
        ]
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_normalised(nn.Conv2d(config.inputs, w, 7), w),
            *down,
            *(ResidualBlock(4 * w) for _ in range(config.blocks)),
            *up,
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, config.outputs, 7),
            nn.Tanh(),
        )
        start_weights(self)

    def forward(self, maps: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ H W"]:
        """Maps (B, inputs, H, W) to maps (B, outputs, H, W) in (-1, 1).

        Raises ValueError unless the sides are multiples of 4, at least 8.
        """
        check_picture("maps", maps, self.config.inputs, SHRINKING, 2 * SHRINKING)
        return self.model(maps)
