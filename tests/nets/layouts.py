"""Names and shapes of the released files' entries, written down from what is known of the files."""

from __future__ import annotations

from torch import nn

Layout = dict[str, tuple[int, ...]]


def layout_of(network: nn.Module) -> Layout:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _bn(name: str, channels: int) -> Layout:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{v}": (channels,) for v in vectors} | {f"{name}.num_batches_tracked": ()}


def _biased(name: str, *weight: int, outputs: int | None = None) -> Layout:
    return {f"{name}.weight": weight, f"{name}.bias": (outputs or weight[0],)}


def analyzer() -> Layout:
    """`net_recon`: torchvision's ResNet-50 without fc, and seven heads."""
    keys: Layout = {"backbone.conv1.weight": (64, 3, 7, 7)} | _bn("backbone.bn1", 64)
    inputs = 64
    for layer, (inner, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(blocks):
            at = f"backbone.layer{layer}.{block}"
            keys[f"{at}.conv1.weight"] = (inner, inputs, 1, 1)
            keys[f"{at}.conv2.weight"] = (inner, inner, 3, 3)
            keys[f"{at}.conv3.weight"] = (4 * inner, inner, 1, 1)
            keys |= _bn(f"{at}.bn1", inner) | _bn(f"{at}.bn2", inner) | _bn(f"{at}.bn3", 4 * inner)
            if block == 0:
                keys[f"{at}.downsample.0.weight"] = (4 * inner, inputs, 1, 1)
                keys |= _bn(f"{at}.downsample.1", 4 * inner)
            inputs = 4 * inner
    for i, length in enumerate((80, 64, 80, 3, 27, 2, 1)):
        keys |= _biased(f"final_layers.{i}", length, 2048, 1, 1)
    return keys


def generator(inputs: int, outputs: int) -> Layout:
    """`mid_net`, `high_net`: only convolutions have entries, all with a bias."""
    keys = _biased("model.1", 64, inputs, 7, 7)
    keys |= _biased("model.4", 128, 64, 3, 3)
    keys |= _biased("model.7", 256, 128, 3, 3)
    for block in range(10, 19):
        for part in (1, 6):
            keys |= _biased(f"model.{block}.conv_block.{part}", 256, 256, 3, 3)
    keys |= _biased("model.19", 256, 128, 3, 3, outputs=128)
    keys |= _biased("model.22", 128, 64, 3, 3, outputs=64)
    return keys | _biased("model.26", outputs, 64, 7, 7)


def hrn() -> Layout:
    """`epoch_10.pth` without the optimizer and the scheduler, flattened."""
    parts = {"net_recon": analyzer(), "mid_net": generator(6, 3), "high_net": generator(9, 1)}
    keys = {f"{part}.{key}": shape for part, names in parts.items() for key, shape in names.items()}
    return keys | {"alpha": (1,), "beta": (1,)}


def deretouch() -> Layout:
    """`de-retouching.pth['generator']`."""
    double = {
        "inc.conv.conv": (3, 64),
        "down1.mpconv.1.conv": (64, 128),
        "down2.mpconv.1.conv": (128, 256),
        "down3.mpconv.1.conv": (256, 512),
        "down4.mpconv.1.conv": (512, 512),
        "up1.conv.conv": (1024, 256),
        "up2.conv.conv": (512, 128),
        "up3.conv.conv": (256, 64),
        "up4.conv.conv": (128, 64),
    }
    keys: Layout = {}
    for at, (inputs, outputs) in double.items():
        keys |= _biased(f"{at}.0", outputs, inputs, 3, 3) | _bn(f"{at}.1", outputs)
        keys |= _biased(f"{at}.3", outputs, outputs, 3, 3) | _bn(f"{at}.4", outputs)
    heads = {"outc": 64, "dsoutc4": 256, "dsoutc3": 128, "dsoutc2": 64, "dsoutc1": 64}
    for name, inputs in heads.items():
        keys |= _biased(f"{name}.conv", 3, inputs, 1, 1)
    return keys


def arcface() -> Layout:
    """`ms1mv3_arcface_r50_fp16/backbone.pth`."""
    keys: Layout = {"conv1.weight": (64, 3, 3, 3), "prelu.weight": (64,)} | _bn("bn1", 64)
    inputs = 64
    for layer, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 14), (512, 3)), 1):
        for block in range(blocks):
            at = f"layer{layer}.{block}"
            keys |= _bn(f"{at}.bn1", inputs) | _bn(f"{at}.bn2", width) | _bn(f"{at}.bn3", width)
            keys[f"{at}.conv1.weight"] = (width, inputs, 3, 3)
            keys[f"{at}.prelu.weight"] = (width,)
            keys[f"{at}.conv2.weight"] = (width, width, 3, 3)
            if block == 0:
                keys[f"{at}.downsample.0.weight"] = (width, inputs, 1, 1)
                keys |= _bn(f"{at}.downsample.1", width)
            inputs = width
    keys |= _bn("bn2", 512) | _biased("fc", 512, 512 * 7 * 7) | _bn("features", 512)
    return keys
