"""Our own files of weights: safetensors, with configuration, provenance and a checksum in the metadata.

Reading one runs nothing: JSON is checked before anything is built, the network is laid out without memory
and given views of the mapped file, so that loading HRN costs milliseconds and its pages come as they are used.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hrnfit.nets import store
from hrnfit.nets.checkpoint import check_entries, check_file, check_numbers, forms
from hrnfit.nets.configs import CONFIGS, Config, config_from, document_from, laid_out
from hrnfit.nets.network_info import NetworkInfo, document_from_info, info_from
from hrnfit.nets.weights_error import WeightsError, told
from hrnfit.tree import write_bytes

FORMAT = "hrnfit-network-1"

ADVICE = (
    "get the file again, or make it again: hrnfit nets add KIND PATH from a checkpoint of others, save_network from "
    "a network"
)
"""What to do about a file that cannot be used."""

KEYS = ("format", "network", "config", "info", "checksum")
"""Of the metadata: texts, `config` and `info` JSON."""

ALIGNMENT = 64
"""Bytes, of torch's own memory."""

LONGEST_HEADER = 4_000_000
"""Bytes; that of HRN has fifty thousand."""


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready for use: in evaluation mode, no gradients."""

    kind: str
    """Kind of network, a key of `configs.CONFIGS`."""
    config: Config
    module: nn.Module
    info: NetworkInfo
    checksum: str
    """SHA-256 of its tensors, as the file states it."""


def save_network(path: str | Path, module: nn.Module, info: NetworkInfo) -> None:
    """Write a network and where it is from, whole or not at all.

    `module` is one that `configs.build` makes, on any device. Raises WeightsError when a number is
    NaN or infinite, OSError with what to do when it cannot be written.
    """
    config = config_of(module)
    tensors = {key: _own(value) for key, value in module.state_dict().items()}
    for key, value in tensors.items():
        check_numbers(key, value)
    metadata = {
        "format": FORMAT,
        "network": next(kind for kind, made in CONFIGS.items() if type(config) is made),
        "config": json.dumps(document_from(config)),
        "info": json.dumps(document_from_info(info)),
        "checksum": checksum(tensors),
    }
    write_bytes(path, _aligned(save(tensors, metadata)))


def _aligned(content: bytes) -> bytes:
    """The file with blanks behind its header, so that its numbers begin at a multiple of `ALIGNMENT`: how
    they lie in memory changes the last bits of results, and the length of a note should not."""
    (length,) = struct.unpack("<Q", content[:8])
    blanks = -(8 + length) % ALIGNMENT
    header = content[8 : 8 + length] + b" " * blanks
    return b"".join((struct.pack("<Q", len(header)), header, memoryview(content)[8 + length :]))


def config_of(module: nn.Module) -> Config:
    """The configuration that a network keeps; TypeError for a module that is none of ours."""
    config = getattr(module, "config", None)
    if not isinstance(config, Config):
        raise TypeError(f"module: expected a network of hrnfit.nets, got {type(module).__name__}")
    return config


def _own(value: Tensor) -> Tensor:
    """On the CPU, in memory of its own: the format knows no shared numbers."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and numbers, in the order of the names."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_network(name_or_path: str | Path, kind: str | None = None) -> LoadedNetwork:
    """A network by name or from a file that this library wrote; `kind` when only one kind will do.

    The numbers stay in the file until they are used: they are not compared with its checksum here, see
    `check_network`. Raises FileNotFoundError, and WeightsError that says what is wrong with which file.
    """
    path = store.resolve(name_or_path)
    check_file(path)
    try:
        found = _load(path)
    except (ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise WeightsError(f"{path}: {told(error)}; {ADVICE}") from error
    if kind is not None and found.kind != kind:
        raise WeightsError(f"{path}: a network of kind '{found.kind}', expected '{kind}'")
    return found


def kind_of(path: Path) -> str:
    """Kind of network that a file holds, of its header alone: 1 ms where `load_network` takes 70 for HRN.

    Raises WeightsError and OSError as that does.
    """
    check_file(path)
    try:
        _check_header(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            return _metadata(file.metadata())["network"]
    except (ValueError, SafetensorError) as error:
        raise WeightsError(f"{path}: {error}; {ADVICE}") from error


def check_network(name_or_path: str | Path) -> LoadedNetwork:
    """The same with every number read: finite, and all together of the checksum that the file states."""
    path = store.resolve(name_or_path)
    found = load_network(path)
    state = found.module.state_dict()
    if checksum(state) != found.checksum:
        raise WeightsError(
            f"{path}: its numbers do not have the checksum that it states; the file is damaged, "
            f"{ADVICE}"
        )
    for key, value in state.items():
        try:
            check_numbers(key, value)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
    return found


def _load(path: Path) -> LoadedNetwork:
    _check_header(path)
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata = _metadata(file.metadata())
        config = config_from(metadata["network"], json.loads(metadata["config"]))
        info = info_from(json.loads(metadata["info"]))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    module = laid_out(config)
    check_entries(tensors, forms(module))
    module.load_state_dict(tensors, strict=True, assign=True)
    module.eval().requires_grad_(False)
    return LoadedNetwork(metadata["network"], config, module, info, metadata["checksum"])


def _metadata(stated: dict[str, str] | None) -> dict[str, str]:
    """The texts of a header, all of them there."""
    metadata = stated or {}
    absent = [key for key in KEYS if key not in metadata]
    if absent or metadata["format"] != FORMAT:
        raise WeightsError(f"not a file of format '{FORMAT}' (missing {', '.join(absent)})")
    return metadata


def _check_header(path: Path) -> None:
    """The header has a size that it can have, before its reader takes memory for it."""
    with path.open("rb") as file:
        head = file.read(9)
    size = struct.unpack("<Q", head[:8])[0] if len(head) == 9 else 0
    if head[8:] != b"{" or not 2 <= size <= min(LONGEST_HEADER, path.stat().st_size - 8):
        raise WeightsError("not a safetensors file of this library")
