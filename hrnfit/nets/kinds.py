"""Kinds of published checkpoint: which network is in one, at which sizes, and under which top-level names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hrnfit.nets import hrn
from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.arcface import ArcFaceConfig
from hrnfit.nets.configs import Config
from hrnfit.nets.deretouch import DeretouchConfig
from hrnfit.nets.hrn import HrnConfig
from hrnfit.nets.weights_error import WeightsError

OWN = "hrnfit"
"""Kind of the files that this library writes itself: safetensors, any network, any size."""


@dataclass(frozen=True)
class CheckpointKind:
    """The layout of one kind of `torch.save` file."""

    expects: str
    """What the file is, in one line."""
    network: str
    """Kind of network, a key of `configs.CONFIGS`."""
    config: Config
    """The published sizes."""
    part: str
    """Name of its row in `hrnfit.licences`."""
    tables: Mapping[str, str]
    """Top-level dictionaries, and what is put before their keys; empty when the file itself is the one."""
    numbers: tuple[str, ...] = ()
    """Top-level tensors with one number."""
    dropped: tuple[str, ...] = ()
    """Beginnings of top-level names that are of the training and let go."""
    model: str = ""
    """Kind of face model whose coefficients it predicts; empty when it predicts none."""


TRAINING = ("opt_", "sched_")

COUNTERS = ("iteration", "epoch")
"""What training programs of its family write beside a generator; whether the released file has one is not known."""

KINDS: dict[str, CheckpointKind] = {
    "hrn": CheckpointKind(
        "HRN v1.1: epoch_10.pth of its assets, pytorch_model.pt on ModelScope",
        "hrn",
        hrn.RELEASED,
        "HRN's released networks",
        {name: f"{name}." for name in ("net_recon", "mid_net", "high_net")},
        ("alpha", "beta"),
        TRAINING,
        model="bfm09",
    ),
    "deep3d": CheckpointKind(
        "Deep3DFaceRecon_pytorch: epoch_20.pth",
        "hrn",
        HrnConfig(AnalyzerConfig(), None, None),
        "Deep3D's released network",
        {"net_recon": "net_recon."},
        dropped=TRAINING,
        model="bfm09",
    ),
    "deretouch": CheckpointKind(
        "HRN's de-retouching network: de-retouching.pth, de_retouching_model.pth on ModelScope",
        "deretouch",
        DeretouchConfig(),
        "HRN's de-retouching network",
        {"generator": ""},
        dropped=COUNTERS,
    ),
    "arcface": CheckpointKind(
        "ArcFace r50 of InsightFace's arcface_torch: backbone.pth",
        "arcface",
        ArcFaceConfig(),
        "ArcFace's released networks",
        {},
    ),
}


def flattened(kind: str, document: Any) -> dict[str, Any]:
    """Entries of a checkpoint's content under the keys of the network, what is of the training let go.

    Raises WeightsError when the top-level names are not those of the kind.
    """
    rule = KINDS[kind]
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise WeightsError("it holds no dictionary of names, which is what a checkpoint is")
    if not rule.tables:
        return document
    kept = {k: v for k, v in document.items() if not (rule.dropped and k.startswith(rule.dropped))}
    expected = {*rule.tables, *rule.numbers}
    if set(kept) != expected:
        raise WeightsError(_other_names(kind, set(kept), expected))
    entries: dict[str, Any] = {name: kept[name] for name in rule.numbers}
    for table, prefix in rule.tables.items():
        if not isinstance(kept[table], dict):
            raise WeightsError(f"{table}: expected a dictionary of tensors")
        entries |= {f"{prefix}{key}": value for key, value in kept[table].items()}
    return entries


def _other_names(kind: str, found: set[str], expected: set[str]) -> str:
    """What is wrong with the top-level names, and which kind has such ones."""
    missing, extra = expected - found, found - expected
    parts = [f"lacks {listed(missing)}"] if missing else []
    parts += [f"has {listed(extra)}, which that kind has not"] if extra else []
    for other, rule in KINDS.items():
        if rule.tables and found == {*rule.tables, *rule.numbers}:
            parts.append(f"this looks like {other}: hrnfit nets add {other} PATH")
    if {name.partition(".")[0] for name in found} >= {"conv1", "layer1", "fc"}:
        parts.append("this looks like arcface: hrnfit nets add arcface PATH")
    return f"expected a checkpoint of kind '{kind}'; at its top it {'; '.join(parts)}"


def listed(names: set[str] | list[str], most: int = 5) -> str:
    """Some of the names in words, fit to be shown, and how many more."""
    ordered = sorted(names)
    shown = ", ".join(
        name[:80] if name.isprintable() else f"{name[:80]!a}" for name in ordered[:most]
    )
    return shown + (f" and {len(ordered) - most} more" if len(ordered) > most else "")
