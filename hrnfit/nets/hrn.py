"""HRN's three networks with their trained scales: what one released file holds (HRN sec. 3.1, 3.2).

Coefficients from the crop, a deformation map from position and texture, a displacement map from those
and the texture taken again after the deformation. Lengths are the networks' own decimetres; which way
the maps are laid out is the matter of `infer/convention.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hrnfit.check import check_one_of, check_shape
from hrnfit.nets.analyzer import AnalyzerConfig, FaceAnalyzer
from hrnfit.nets.generator import GeneratorConfig, ResnetGenerator

Convention = Literal["released", "hrnfit"]

DEFORMATION_SIZE = 64
"""Texels per side of the deformation map."""

OUTPUT_SCALE = 0.1
"""Decimetres that a generator's 1 stands for, before its trained scale."""

SCALE_START = 0.01
"""Untrained `alpha` and `beta`: maps of at most 0.1 mm."""

POSITION, TEXTURE, DEFORMATION, DISPLACEMENT = 3, 3, 3, 1
"""Channels of the maps."""


@dataclass(frozen=True)
class HrnConfig:
    """The parts; without generators it is what a file of Deep3D holds."""

    analyzer: AnalyzerConfig
    mid: GeneratorConfig | None
    """Position and texture to deformation: 6 channels to 3."""
    high: GeneratorConfig | None
    """Position, texture and deformation to displacement: 9 channels to 1."""
    convention: Convention = "released"
    """Layout of the maps that the weights were trained on."""

    def __post_init__(self) -> None:
        check_one_of("hrn.convention", self.convention, get_args(Convention))
        if self.high is not None and self.mid is None:
            raise ValueError("hrn.high: needs hrn.mid, whose deformation it takes in; give both")
        inputs = POSITION + TEXTURE
        _check_channels("hrn.mid", self.mid, inputs, DEFORMATION)
        _check_channels("hrn.high", self.high, inputs + DEFORMATION, DISPLACEMENT)


def _check_channels(name: str, config: GeneratorConfig | None, inputs: int, outputs: int) -> None:
    if config is not None and (config.inputs, config.outputs) != (inputs, outputs):
        raise ValueError(
            f"{name}: expected {inputs} channels in and {outputs} out, "
            f"got {config.inputs} and {config.outputs}"
        )


RELEASED = HrnConfig(AnalyzerConfig(), GeneratorConfig(6, 3), GeneratorConfig(9, 1))
"""The sizes of HRN v1.1."""


class Hrn(nn.Module):
    """Analyzer, generators and their scales; keys as in the released file, flattened."""

    def __init__(self, config: HrnConfig) -> None:
        super().__init__()
        self.config = config
        self.net_recon = FaceAnalyzer(config.analyzer)
        self.mid_net = None if config.mid is None else ResnetGenerator(config.mid)
        self.high_net = None if config.high is None else ResnetGenerator(config.high)
        self.alpha = None if config.mid is None else nn.Parameter(torch.full((1,), SCALE_START))
        self.beta = None if config.high is None else nn.Parameter(torch.full((1,), SCALE_START))

    def coefficients(self, images: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B C"]:
        """Coefficient vectors of sRGB crops 0..1; see `FaceAnalyzer`."""
        return self.net_recon(images)

    def deformation(
        self,
        position: Float[Tensor, "B _ S S"],
        texture: Float[Tensor, "B _ S S"],
        mask: Float[Tensor, "B S S"],
    ) -> Float[Tensor, "B 3 64 64"]:
        """Offsets of the unposed shape, decimetres, at most 0.1 `alpha`.

        position: unposed shape, decimetres; texture: sRGB 0..1; mask: 1 where the texture is seen.
        Raises RuntimeError when the weights are those of an analyzer alone.
        """
        if self.mid_net is None or self.alpha is None:
            raise RuntimeError(_missing("deformation"))
        seen = _mid_inputs(position, texture, mask)
        raw = self.mid_net(resized(seen, DEFORMATION_SIZE))
        return raw * (OUTPUT_SCALE * self.alpha) * resized(mask[:, None], DEFORMATION_SIZE)

    def displacement(
        self,
        position: Float[Tensor, "B _ S S"],
        texture: Float[Tensor, "B _ S S"],
        deformation: Float[Tensor, "B _ D D"],
        mask: Float[Tensor, "B S S"],
    ) -> Float[Tensor, "B 1 S S"]:
        """Offsets along the normal, decimetres, at most 0.1 `beta`.

        texture: taken again with the deformed shape; deformation: what `deformation` answered.
        Raises RuntimeError when the weights have no generator of displacement.
        """
        if self.high_net is None or self.beta is None:
            raise RuntimeError(_missing("displacement"))
        seen = _mid_inputs(position, texture, mask)
        check_shape("deformation", deformation, (len(mask), DEFORMATION, "D", "D"))
        raw = self.high_net(torch.cat([seen, resized(deformation, mask.shape[-1])], dim=1))
        return raw * (OUTPUT_SCALE * self.beta) * mask[:, None]


def resized(maps: Float[Tensor, "B C h w"], size: int) -> Float[Tensor, "B C S S"]:
    """Square maps at another resolution: bilinear between texel centres, nothing averaged, as the
    released weights were trained."""
    return nn.functional.interpolate(maps, (size, size), mode="bilinear", align_corners=False)


def _mid_inputs(position: Tensor, texture: Tensor, mask: Tensor) -> Tensor:
    """Position, and the texture scaled to [-1, 1]: (B, 6, S, S)."""
    check_shape("mask", mask, ("B", "S", "S"), "one mask is mask[None]")
    batch, size, _ = mask.shape
    check_shape("position", position, (batch, POSITION, size, size), "as many and as large as mask")
    check_shape("texture", texture, (batch, TEXTURE, size, size), "as many and as large as mask")
    return torch.cat([position, 2.0 * texture - 1.0], dim=1)


def _missing(what: str) -> str:
    return (
        f"{what}: these weights have no generator of it (a file of Deep3D holds the analyzer alone); "
        "add HRN's: hrnfit nets add hrn PATH"
    )
