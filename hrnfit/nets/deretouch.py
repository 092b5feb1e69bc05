"""The de-retoucher: a face texture to the soft-light mask that takes its shading out (HRN sec. 3.4).

A U-Net (Ronneberger et al. 2015) with batch normalisation whose way up is bilinear. Parameter names
are those of the released file, with the four heads of deep supervision that only training reads. The
blending that its output m enters, T0 = (1 - 2 m) T^2 + 2 m T, belongs to its callers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hrnfit.nets.limits import MOST_CHANNELS, check_picture, check_whole

SHRINKING = 16
"""Factor between the texture and the coarsest grid."""


@dataclass(frozen=True)
class DeretouchConfig:
    """The size of the network."""

    width: int = 64
    """Channels at full resolution; eight times as many on the coarsest grid."""

    def __post_init__(self) -> None:
        check_whole("deretouch.width", self.width, 1, MOST_CHANNELS)


class DoubleConv(nn.Module):
    """Twice: convolution 3 x 3, batch normalisation, ReLU.

    In evaluation mode the normalisation is a factor and an offset per channel and goes into the
    convolution, which saves the passes over its output.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )

    def forward(self, x: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ H W"]:
        if self.training:
            return self.conv(x)
        convolution, norm, _, again, norm_again, _ = self.conv
        return _normalised(_normalised(x, convolution, norm).relu_(), again, norm_again).relu_()


def _normalised(x: Tensor, convolution: nn.Module, norm: nn.Module) -> Tensor:
    """Convolution and normalisation by the running statistics, as one convolution."""
    convolution, norm = cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, norm)
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    factor = norm.weight * (variance + norm.eps).rsqrt()
    offset = norm.bias - mean * factor
    if convolution.bias is not None:
        offset = offset + convolution.bias * factor
    weight = convolution.weight * factor[:, None, None, None]
    return nn.functional.conv2d(x, weight, offset, padding=1)


class First(nn.Module):
    """Convolutions at full resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = DoubleConv(inputs, outputs)

    def forward(self, x: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ H W"]:
        return self.conv(x)


class Down(nn.Module):
    """The larger of each 2 x 2, then convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mpconv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(inputs, outputs))

    def forward(self, x: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ h w"]:
        return self.mpconv(x)


class Up(nn.Module):
    """Twice as fine, corner on corner, joined to the skip, then convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = DoubleConv(inputs, outputs)

    def forward(
        self, x: Float[Tensor, "B _ h w"], skip: Float[Tensor, "B _ H W"]
    ) -> Float[Tensor, "B _ H W"]:
        finer = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return self.conv(torch.cat([skip, finer], dim=1))


class Head(nn.Module):
    """A 1 x 1 convolution to the mask's channels, before the sigmoid."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ H W"]:
        return self.conv(x)


class DeretouchNet(nn.Module):
    """Texture to mask."""

    def __init__(self, config: DeretouchConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.inc = First(3, w)
        self.down1, self.down2 = Down(w, 2 * w), Down(2 * w, 4 * w)
        self.down3, self.down4 = Down(4 * w, 8 * w), Down(8 * w, 8 * w)
        self.up1, self.up2 = Up(16 * w, 4 * w), Up(8 * w, 2 * w)
        self.up3, self.up4 = Up(4 * w, w), Up(2 * w, w)
        self.outc = Head(w, 3)
        self.dsoutc4, self.dsoutc3 = Head(4 * w, 3), Head(2 * w, 3)
        self.dsoutc2, self.dsoutc1 = Head(w, 3), Head(w, 3)

    def forward(self, texture: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B 3 H W"]:
        """Mask m in (0, 1) of sRGB textures scaled to [-1, 1]; the released weights know 512 px.

        Raises ValueError unless the sides are multiples of 16.
        """
        return self.outc(self._levels(texture)[-1]).sigmoid()

    def supervised(self, texture: Float[Tensor, "B _ H W"]) -> tuple[Tensor, ...]:
        """Masks for training: that of `forward`, then those of the heads dsoutc1 to dsoutc4 at 1, 1/2,
        1/4 and 1/8 of the texture's size."""
        coarse_to_fine = self._levels(texture)
        heads = (self.dsoutc4, self.dsoutc3, self.dsoutc2, self.dsoutc1)
        side = [head(x).sigmoid() for head, x in zip(heads, coarse_to_fine, strict=True)]
        return self.outc(coarse_to_fine[-1]).sigmoid(), *reversed(side)

    def _levels(self, texture: Tensor) -> list[Tensor]:
        """Features on the way up, from 1/8 of the size to full."""
        check_picture("texture", texture, 3, SHRINKING, SHRINKING)
        # channels beside each other in memory: 2.7 s against 3.3 s at 512 px on one core
        skips = [self.inc(texture.contiguous(memory_format=torch.channels_last))]
        for down in (self.down1, self.down2, self.down3):
            skips.append(down(skips[-1]))
        x, levels = self.down4(skips[-1]), []
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, skips.pop())
            levels.append(x)
        return levels
