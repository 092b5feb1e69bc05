"""ArcFace's embedding of a face: pictures of one person lie close together (Deng et al. 2019).

The improved residual network of InsightFace's r50 (Duta et al. 2020): blocks that normalise before
the first convolution, a PReLU inside, no ReLU after the sum. Parameter names are those of
InsightFace's `backbone.pth`.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from hrnfit.check import check_shape
from hrnfit.nets.limits import MOST_CHANNELS, check_depths, check_whole

SIZE = 112
"""Side of the aligned picture, px."""

LAST_GRID = SIZE // 16


@dataclass(frozen=True)
class ArcFaceConfig:
    """The size of the network."""

    width: int = 64
    """Channels of the first layer; layer k has width * 2^k."""
    depths: tuple[int, int, int, int] = (3, 4, 14, 3)
    """Blocks per layer."""
    embedding: int = 512

    def __post_init__(self) -> None:
        for name in ("width", "embedding"):
            check_whole(f"arcface.{name}", getattr(self, name), 1, MOST_CHANNELS)
        check_depths("arcface.depths", self.depths)


class ImprovedBlock(nn.Module):
    """Two normalised 3 x 3 convolutions, the second strided, around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            fit = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(fit, nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B _ h w"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(x)) + shortcut


def _layer(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    first = ImprovedBlock(inputs, outputs, stride=2)
    return nn.Sequential(first, *(ImprovedBlock(outputs, outputs, 1) for _ in range(depth - 1)))


class ArcFace(nn.Module):
    """Aligned pictures to embeddings."""

    def __init__(self, config: ArcFaceConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.conv1 = nn.Conv2d(3, w, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.prelu = nn.PReLU(w)
        self.layer1 = _layer(w, w, config.depths[0])
        self.layer2 = _layer(w, 2 * w, config.depths[1])
        self.layer3 = _layer(2 * w, 4 * w, config.depths[2])
        self.layer4 = _layer(4 * w, 8 * w, config.depths[3])
        self.bn2 = nn.BatchNorm2d(8 * w)
        self.fc = nn.Linear(8 * w * LAST_GRID**2, config.embedding)
        self.features = nn.BatchNorm1d(config.embedding)
        self.features.weight.requires_grad_(False)  # the angle, not the length, tells faces apart
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B E"]:
        """Embeddings, not of unit length, of RGB pictures (B, 3, 112, 112) in [-1, 1], aligned by five
        points. Raises ValueError for another shape."""
        check_shape("images", images, ("B", 3, SIZE, SIZE), "align them by the five points first")
        x = self.prelu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.bn2(x).flatten(1)))
