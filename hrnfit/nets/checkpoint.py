"""Checkpoints of others, written by `torch.save`, read strictly: every key and no other, or one error.

Three steps: the container is checked without torch (`stored_zip.py`, `legacy_file.py`), the pickle is
read by a machine that runs nothing (`pickled_layout.py`) and compared with the network, and only then does
torch read the numbers, with `weights_only`. Memory stays below the file's size and the network's together.
"""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrnfit.check import check_one_of
from hrnfit.first_bytes import NEVER, container_of
from hrnfit.nets.configs import Config, laid_out
from hrnfit.nets.kinds import KINDS, OWN, flattened, listed
from hrnfit.nets.legacy_file import read_legacy
from hrnfit.nets.pickled_layout import Storage, StoredTensor, read_layout
from hrnfit.nets.stored_zip import Member, check_zip
from hrnfit.nets.weights_error import WeightsError, told

LARGEST = 2_000_000_000
"""Bytes of a file; HRN v1.1 has 353 MiB."""

LARGEST_PICKLE = 64_000_000

OLDEST_TORCH = (2, 6)
"""`weights_only` of those before can be made to run code (CVE-2025-32434)."""

Form = tuple[tuple[int, ...], torch.dtype]


def read_checkpoint(path: str | Path, kind: str, config: Config | None = None) -> dict[str, Tensor]:
    """Tensors of a checkpoint of `kind` (a key of `kinds.KINDS`) by the keys of its network, on the CPU.

    config: sizes of the network, the published ones when None. Types are those of the network: float32,
    int64 for the counts of batches; half precision is refused. Raises FileNotFoundError, and WeightsError
    that lists what is missing, not expected, or of another shape or type.
    """
    check_one_of("kind of checkpoint", kind, KINDS)
    path = Path(path)
    check_file(path)
    try:
        with path.open("rb") as file:
            layout, members = _layout(file, path, kind)
            stored = flattened(kind, layout)
            expected = forms(laid_out(config or KINDS[kind].config))
            check_entries(stored, expected)
            loaded = flattened(kind, _loaded(file))
            check_entries(loaded, expected)
            for key in expected:
                _check_sum(key, loaded[key], stored[key], members)
            return {key: _number(key, loaded[key], shape) for key, (shape, _) in expected.items()}
    except ValueError as error:
        raise WeightsError(f"{path}: {told(error)}") from error


def forms(module: nn.Module) -> dict[str, Form]:
    """Shape and type of every tensor of a network."""
    return {key: (tuple(value.shape), value.dtype) for key, value in module.state_dict().items()}


def check_file(path: Path) -> None:
    """A file of a size that weights have is there; raises FileNotFoundError, WeightsError."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise WeightsError(f"{path}: not a file; give the file of weights itself")
    size = path.stat().st_size
    if not 0 < size <= LARGEST:
        raise WeightsError(f"{path}: {size} bytes; files of weights have up to {LARGEST}")
    found = container_of(path)
    if found in NEVER:
        raise WeightsError(f"{path}: this is {found}, no weights; {NEVER[found]}")


def _layout(
    file: io.BufferedIOBase, path: Path, kind: str
) -> tuple[Any, Mapping[str, Member] | None]:
    """What a file says that it holds, found true as far as its size and checksums tell, and the members of
    its zip archive, if it is one."""
    found = container_of(path)
    if found == "an npz or zip file":
        return _zip_layout(file)
    if found == "a pickle":
        return read_legacy(file, path.stat().st_size), None
    if found == "a safetensors file":
        raise WeightsError(f"this is {found}; if hrnfit wrote it: hrnfit nets add {OWN} PATH")
    what = f"this is {found}, no" if found else "not a"
    raise WeightsError(f"{what} checkpoint of torch.save; expected {KINDS[kind].expects}")


def _zip_layout(file: io.BufferedIOBase) -> tuple[Any, Mapping[str, Member]]:
    """The same of a zip archive whose members are sound and hold as much as their storages claim."""
    members = check_zip(file)
    pickled = members["data.pkl"]
    if pickled.size > LARGEST_PICKLE:
        raise WeightsError(f"its pickle has {pickled.size} bytes, more than any checkpoint's")
    file.seek(pickled.start)
    stream = io.BytesIO(file.read(pickled.size))
    layout, storages = read_layout(stream, legacy=False)
    if stream.tell() != pickled.size:
        raise WeightsError("its pickle ends early; the file is damaged")
    for storage in storages.values():
        _check_storage(storage, members)
    return layout, members


def _check_storage(storage: Storage, members: Mapping[str, Member]) -> None:
    name = f"data/{storage.key}"
    if name not in members:
        raise WeightsError(f"member {name[:60]!a} is missing from the zip archive; it is damaged")
    if members[name].size != storage.size:
        raise WeightsError(
            f"member {name[:60]!a} has {members[name].size} bytes, and {storage.count} numbers of type "
            f"{_named(storage.dtype)} are claimed; the file is damaged"
        )


def check_entries(entries: Mapping[Any, Any], expected: Mapping[str, Form]) -> None:
    """Every key is there, no other, each of its shape and type; else WeightsError that lists them."""
    names = {key for key in entries if isinstance(key, str)}
    wrapped = [name for name in names if ".module." in f".{name}" and name not in expected]
    if wrapped:
        raise WeightsError(
            f"keys such as {listed(wrapped, 1)} begin with 'module.', as a network wrapped for several "
            "GPUs is saved; save network.module.state_dict() instead"
        )
    missing, extra = set(expected) - names, names - set(expected)
    strange = [
        problem
        for key in sorted(names & set(expected))
        if (problem := _misfit(key, entries[key], expected[key]))
    ]
    problems = [f"missing {listed(missing)}"] if missing else []
    problems += [f"not expected {listed(extra)}"] if extra else []
    problems += [f"{len(entries) - len(names)} names that are no text"] * (
        len(names) < len(entries)
    )
    problems += [listed(strange)] if strange else []
    if problems:
        raise WeightsError(f"the keys do not fit the network: {'; '.join(problems)}")


def _misfit(key: str, entry: Any, form: Form) -> str:
    """What is wrong with an entry, empty when it fits; one number may come without an axis."""
    shape, dtype = form
    if not isinstance(entry, (StoredTensor, Tensor)):
        return f"{key}: expected a tensor, got {type(entry).__name__}"
    found = tuple(entry.shape)
    if entry.dtype != dtype or (found != shape and not (shape == (1,) and found == ())):
        return f"{key}: expected {shape} {_named(dtype)}, got {found} {_named(entry.dtype)}"
    return ""


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _loaded(file: io.BufferedIOBase) -> Any:
    """What torch reads of a file that has been checked."""
    version = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_TORCH:
        raise WeightsError(
            f"checkpoints of others need torch 2.6 or newer, here is {torch.__version__} (its reader can be "
            "made to run code, CVE-2025-32434); update torch, or add the file on another machine and "
            f"take the safetensors file from there: hrnfit nets add {OWN} PATH"
        )
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # torch raises anything on a damaged file
        text = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"torch cannot read it ({text[:200]})") from error


def _check_sum(
    key: str, loaded: Tensor, stored: StoredTensor, members: Mapping[str, Member] | None
) -> None:
    """What torch read is what was checked: its reader goes by other fields of the directory, and gives
    zeros for a member whose attributes call it a folder."""
    if members is None:
        return
    content = torch.empty(0, dtype=torch.uint8).set_(loaded.untyped_storage()).numpy().data
    if zlib.crc32(content) != members[f"data/{stored.storage.key}"].crc:
        raise WeightsError(
            f"{key}: torch reads other numbers than the file holds; its zip directory is damaged, copy "
            "or download it again"
        )


def _number(key: str, loaded: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One tensor, finite, in memory of its own."""
    value = loaded.detach().reshape(shape)
    check_numbers(key, value)
    whole = value.is_contiguous() and value.untyped_storage().nbytes() == value.nbytes
    return value if whole else value.clone(memory_format=torch.contiguous_format)


def check_numbers(key: str, value: Tensor) -> None:
    """Raise WeightsError when numbers of a tensor are NaN or infinite.

    One makes the sum so; asking each took 2.4 s at HRN's size, summing them 0.1 s.
    """
    if not value.is_floating_point() or math.isfinite(float(value.sum())):
        return
    if bad := int((~torch.isfinite(value)).sum()):
        raise WeightsError(
            f"{key}: {bad} of {value.numel()} values are NaN or infinite; the file is damaged or its "
            "training failed"
        )
