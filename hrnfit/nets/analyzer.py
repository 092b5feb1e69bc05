"""The face analyzer: a picture of a face to the coefficient vector of Deep3D and HRN (HRN sec. 3.1).

ResNet-50 in its version 1.5, whose bottlenecks stride in the 3 x 3 convolution (He et al. 2016;
Goyal et al. 2017), global mean, and one linear head per part of the vector. Parameter names are those
of the released files. What the numbers mean stands in `importers/deep3d.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hrnfit.nets.limits import MOST_CHANNELS, check_depths, check_picture, check_whole

EXPANSION = 4
"""Channels that a bottleneck puts out, over those it works in."""

ANGLES, LIGHT, TRANSLATION_XY, TRANSLATION_Z = 3, 27, 2, 1
"""Lengths of the parts that do not depend on the face model."""

LEAST_SIDE = 32
"""px: below it nothing is left after five halvings."""


@dataclass(frozen=True)
class AnalyzerConfig:
    """Lengths of the coefficient vector's parts, and the size of the network."""

    identity: int = 80
    expression: int = 64
    albedo: int = 80
    width: int = 64
    """Channels after the first convolution; layer k works in width * 2^k."""
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Bottlenecks per layer."""

    def __post_init__(self) -> None:
        for name in ("identity", "expression", "albedo"):
            check_whole(f"analyzer.{name}", getattr(self, name), 1, MOST_CHANNELS)
        check_whole("analyzer.width", self.width, 1, MOST_CHANNELS)
        check_depths("analyzer.depths", self.depths)

    @property
    def heads(self) -> tuple[int, ...]:
        """Lengths of the heads' outputs in order; the translation has two heads."""
        parts = (self.identity, self.expression, self.albedo)
        return (*parts, ANGLES, LIGHT, TRANSLATION_XY, TRANSLATION_Z)

    @property
    def coefficients(self) -> int:
        """Length of the whole vector."""
        return sum(self.heads)


class Bottleneck(nn.Module):
    """Convolutions 1 x 1, 3 x 3 (strided), 1 x 1, each normalised, around a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            fit = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(fit, nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ h w"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return (self.bn3(self.conv3(x)) + shortcut).relu()


def _backbone(width: int, depths: tuple[int, ...]) -> nn.Sequential:
    """Stem and four layers of bottlenecks, under torchvision's names, without its classifier."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    inputs = width
    for k, depth in enumerate(depths):
        inner, blocks = width * 2**k, []
        for i in range(depth):
            blocks.append(Bottleneck(inputs, inner, stride=2 if i == 0 and k > 0 else 1))
            inputs = EXPANSION * inner
        parts[f"layer{k + 1}"] = nn.Sequential(*blocks)
    return nn.Sequential(parts)


class FaceAnalyzer(nn.Module):
    """Backbone and heads. The heads start at zero, so an untrained analyzer says the mean face."""

    def __init__(self, config: AnalyzerConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _backbone(config.width, config.depths)
        features = EXPANSION * config.width * 8
        self.final_layers = nn.ModuleList(nn.Conv2d(features, n, 1) for n in config.heads)
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for parameter in self.final_layers.parameters():
            nn.init.zeros_(parameter)

    @property
    def size(self) -> int:
        """Side of the crop that the released weights were trained on, px."""
        return 224

    def forward(self, images: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B C"]:
        """Coefficients of sRGB pictures 0..1: identity, expression, albedo, 3 angles, 27 of the light,
        translation x, y and z. No mean is subtracted. Raises ValueError for another shape."""
        check_picture("images", images, 3, least=LEAST_SIDE)
        features = self.backbone(images).mean((2, 3), keepdim=True)
        return torch.cat([head(features) for head in self.final_layers], dim=1)[:, :, 0, 0]
