"""Damaged and hostile files of weights, made one after another from sound ones and a number.

Each is bytes and what may come of it: `SAME` an error or exactly the original tensors, `LIKE` an error or
tensors of the same names, shapes and types (where nothing in the file can tell: a format without checksums,
a rewritten file), `ERROR` an error and nothing else.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.importers.mutate import cut, flip, overwrite

SAME, LIKE, ERROR = "same", "like", "error"


@dataclass(frozen=True)
class Mutant:
    """A file and what may come of it."""

    content: bytes
    outcome: str


Rng = np.random.Generator
Make = Callable[[Rng, "Sound"], Mutant]


@dataclass(frozen=True)
class Sound:
    """The files that are damaged, and where a hostile one would leave its mark."""

    content: dict[str, Any]
    zipped: bytes
    legacy: bytes
    own: bytes
    mark: Path


def saved(content: Any, *, legacy: bool = False) -> bytes:
    """`torch.save` into memory."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with true checksums, names twice if they come twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content) if name not in archive.NameToInfo else _again(
                archive, info, content
            )
    return buffer.getvalue()


def _again(archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: bytes) -> None:
    """A second member of the same name, which `writestr` warns of."""
    del archive.NameToInfo[info.filename]
    archive.writestr(info, content)


def with_pickle(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with another data.pkl."""
    return zipped(
        [(n, change(c) if n.endswith("/data.pkl") else c) for n, c in members(data).items()]
    )


def pick(rng: Rng, items: list[Any]) -> Any:
    return items[int(rng.integers(len(items)))]


def flipped_zip(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(flip(rng, sound.zipped), SAME)


def flipped_directory(rng: Rng, sound: Sound) -> Mutant:
    """Bytes of the directory at the end, where sizes, offsets and names are."""
    at = sound.zipped.rindex(b"PK\x03\x04")
    tail = bytearray(sound.zipped[at:])
    for _ in range(int(rng.integers(1, 4))):
        tail[int(rng.integers(len(tail)))] ^= int(rng.integers(1, 256))
    return Mutant(sound.zipped[:at] + bytes(tail), SAME)


def cut_zip(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(cut(rng, sound.zipped), ERROR)


def overwritten_zip(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(overwrite(rng, sound.zipped), SAME)


def lengthened(rng: Rng, sound: Sound) -> Mutant:
    """Bytes before or behind."""
    more = rng.bytes(int(rng.integers(1, 300)))
    before = rng.random() < 0.5
    data = pick(rng, [sound.zipped, sound.legacy, sound.own])
    return Mutant(more + data if before else data + more, SAME)


def garbled_members(rng: Rng, sound: Sound) -> Mutant:
    """Members exchanged, dropped, doubled, renamed, cut or compressed, with true checksums."""
    entries = list(members(sound.zipped).items())
    i, j = (int(k) for k in rng.choice(len(entries), 2, replace=False))
    (name, content), (other, content2) = entries[i], entries[j]
    kind = int(rng.integers(6))
    if kind == 0:
        entries[i], entries[j] = (name, content2), (other, content)
    elif kind == 1:
        del entries[i]
    elif kind == 2:
        entries.append((name, content2))
    elif kind == 3:
        entries[i] = (
            pick(rng, ["../../mark", "/etc/x", "archive/DATA/0", "other/data/0", ""]),
            content,
        )
    elif kind == 4:
        entries[i] = (name, content[: len(content) // 2])
    else:
        return Mutant(zipped(entries, zipfile.ZIP_DEFLATED), ERROR)
    return Mutant(zipped(entries), LIKE)  # members of one size can change places


def flipped_pickle(rng: Rng, sound: Sound) -> Mutant:
    """The pickle changed, its checksum with it."""
    return Mutant(with_pickle(sound.zipped, lambda p: flip(rng, p)), LIKE)


def cut_pickle(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(with_pickle(sound.zipped, lambda p: cut(rng, p)), ERROR)


def huge_claim(rng: Rng, sound: Sound) -> Mutant:
    """One number of the pickle, a count, a shape, an offset or a stride, made huge."""
    size = pick(rng, [2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, 2**63, 2**70, -1, -(2**31)])
    large = pickle.dumps(size, protocol=2)[2:-1]

    def change(content: bytes) -> bytes:
        begin = content.index(b"net_recon")
        places = [
            k
            for k in range(begin, len(content))
            if content[k : k + 1] == b"K" and content[k - 1 : k] in b"(K"
        ]
        at = pick(rng, places)
        return content[:at] + large + content[at + 2 :]

    return Mutant(with_pickle(sound.zipped, change), LIKE)  # where it hits what is let go


class Runs:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Foreign:
    """An object of a class that a checkpoint has no need of."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __setstate__(self, state: Any) -> None:
        state["mark"].write_text("ran")


def nested(depth: int) -> bytes:
    """A pickle with a tuple in a tuple in a tuple ... as a key, which C would hash without end."""
    return b"\x80\x02})" + b"\x85" * depth + b"K\x01s."


def colliding(count: int) -> bytes:
    """Keys that all hash to 0."""
    keys = b"".join(pickle.dumps(k * (2**61 - 1), 2)[2:-1] + b"N" for k in range(1, count))
    return b"\x80\x02}(" + keys + b"u."


def hostile(rng: Rng, sound: Sound) -> Mutant:
    """A pickle that wants to run something, at the top, within the network, or in the optimizer."""
    command = f"echo ran > {sound.mark}"
    code = f"open({str(sound.mark)!r}, 'w').write('ran')"
    calls = [
        Runs(os.system, command),
        Runs(eval, code),
        Runs(exec, code),
        Runs(open, str(sound.mark), "w"),
        Runs(getattr, "text", "__class__"),
        Runs(torch.load, str(sound.mark)),
        Runs(torch.hub.load_state_dict_from_url, "http://localhost:1/x"),
        Runs(np.save, str(sound.mark), 1),
        Runs(torch.zeros, 10**10),
        Runs(bytearray, 10**11),
        Foreign(sound.mark),
    ]
    content = dict(sound.content)
    place, value = int(rng.integers(4)), pick(rng, calls)
    if place == 0:
        return Mutant(saved({**content, "extra": value}, legacy=rng.random() < 0.5), ERROR)
    if place == 1:
        content["mid_net"] = OrderedDict(content["mid_net"], extra=value)
    elif place == 2:
        content["opt_00"] = {**content["opt_00"], "extra": value}
    else:
        content["sched_00"] = value
    return Mutant(saved(content, legacy=rng.random() < 0.5), ERROR)


def hostile_operations(rng: Rng, sound: Sound) -> Mutant:
    """Pickles that no pickler writes."""
    command = f"echo ran > {sound.mark}".encode()
    programs = [
        b"cposix\nsystem\n(S'" + command + b"'\ntR.",
        b"(S'" + command + b"'\niposix\nsystem\n.",
        b"(cposix\nsystem\nS'" + command + b"'\no.",
        nested(190_000),
        colliding(3_000),
        b"\x80\x02" + b"(" * 300_000 + b".",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch\nFloatStorage\n}b.",
        b"\x80\x02ccollections\nOrderedDict\n)R(}}u}b.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b".",
        b"\x80\x02r" + struct.pack("<I", 2**32 - 1) + b"N.",
        b"\x82\x01.",
        b"\x80\x02}q\x00h\x00h\x00s.",
        b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02N.",
        b"I" + b"9" * 100_000 + b"\n.",
        b"",
    ]
    program = pick(rng, programs)
    if rng.random() < 0.5:
        return Mutant(with_pickle(sound.zipped, lambda _: program), ERROR)
    return Mutant(program or b"\x80", ERROR)


def other_tensors(rng: Rng, sound: Sound) -> Mutant:
    """A key gone, renamed, too many, of another shape or type, NaN, a view with odd strides."""
    content = dict(sound.content)
    part = pick(rng, ["net_recon", "mid_net", "high_net"])
    network = content[part] = OrderedDict(content[part])
    key = pick(rng, [k for k in network if network[k].dim() and network[k].numel() > 1])
    value = network[key]
    kind = int(rng.integers(12))
    if kind == 0:
        del network[key]
    elif kind == 1:
        network[f"{key}_"] = network.pop(key)
    elif kind == 2:
        network["extra"] = torch.zeros(10)
    elif kind == 3:
        network[key] = value[None]
    elif kind == 4:
        network[key] = value.flatten()[:-1]
    elif kind == 5:
        network[key] = value.to(
            pick(rng, [torch.float64, torch.float16, torch.bfloat16, torch.int64])
        )
    elif kind == 6:
        network[key] = value.clone()
        network[key].view(-1)[int(rng.integers(value.numel()))] = pick(
            rng, [np.nan, np.inf, -np.inf]
        )
    elif kind == 7:
        network[key] = torch.zeros(1).expand(value.shape)
    elif kind == 8:
        network[key] = torch.zeros(1).expand(2**40)
    elif kind == 9:
        network[key] = torch.zeros(0, *value.shape)
    elif kind == 10:
        content[part] = OrderedDict((f"module.{k}", v) for k, v in network.items())
    else:
        network[key] = pick(rng, [None, 1, "text", [value], {"a": value}])
    return Mutant(saved(content, legacy=rng.random() < 0.5), ERROR)


def flipped_legacy(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(flip(rng, sound.legacy), LIKE)


def cut_legacy(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(cut(rng, sound.legacy), ERROR)


def overwritten_legacy(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(overwrite(rng, sound.legacy), LIKE)


def own_split(data: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def own_joined(header: Any, numbers: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def flipped_own(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(flip(rng, sound.own), SAME)


def cut_own(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(cut(rng, sound.own), ERROR)


def own_length(rng: Rng, sound: Sound) -> Mutant:
    """Another length of the header."""
    length = pick(rng, [0, 1, 2, 2**20, 2**32, 2**62, 2**63, 2**64 - 1, int(rng.integers(5000))])
    return Mutant(struct.pack("<Q", length) + sound.own[8:], ERROR)


def own_header(rng: Rng, sound: Sound) -> Mutant:
    """A header that says something else."""
    header, numbers = own_split(sound.own)
    key = pick(rng, [k for k in header if k != "__metadata__"])
    entry, metadata = header[key], header["__metadata__"]
    config = json.loads(metadata["config"])
    kind = int(rng.integers(12))
    if kind == 0:
        entry["shape"] = [2**40, 2**40]
    elif kind == 1:
        entry["data_offsets"] = pick(rng, [[0, 2**60], [5, 1], [-1, 4], ["a", "b"], []])
    elif kind == 2:
        entry["dtype"] = pick(rng, ["F64", "F16", "I32", "U8", "X9", None])
    elif kind == 3:
        del header[key]
    elif kind == 4:
        header[f"{key}_"] = header.pop(key)
    elif kind == 5:
        del metadata[pick(rng, list(metadata))]
    elif kind == 6:
        metadata[pick(rng, list(metadata))] = pick(
            rng, ["", "{}", "null", "[" * 100_000, "NaN", "1e999"]
        )
    elif kind == 7:
        config["analyzer"]["width"] = pick(rng, [0, -1, 2**30, 4096, 2, 1.5, True, None, "1"])
        metadata["config"] = json.dumps(config)
    elif kind == 8:
        config[pick(rng, ["mid", "high", "extra", "analyzer"])] = pick(rng, [{}, [], 3, "x"])
        metadata["config"] = json.dumps(config)
    elif kind == 9:
        metadata["info"] = json.dumps(json.loads(metadata["info"]) | {"commercial": "perhaps"})
    elif kind == 10:
        metadata["checksum"] = metadata["checksum"][::-1]
    else:
        del header["__metadata__"]
    return Mutant(own_joined(header, numbers), ERROR)


MAKERS: dict[str, tuple[Make, int]] = {
    "flipped zip": (flipped_zip, 60),
    "flipped directory": (flipped_directory, 50),
    "cut zip": (cut_zip, 25),
    "overwritten zip": (overwritten_zip, 30),
    "lengthened": (lengthened, 15),
    "garbled members": (garbled_members, 30),
    "flipped pickle": (flipped_pickle, 50),
    "cut pickle": (cut_pickle, 10),
    "huge claim": (huge_claim, 35),
    "hostile": (hostile, 40),
    "hostile operations": (hostile_operations, 30),
    "other tensors": (other_tensors, 35),
    "flipped legacy": (flipped_legacy, 30),
    "cut legacy": (cut_legacy, 15),
    "overwritten legacy": (overwritten_legacy, 15),
    "flipped own": (flipped_own, 30),
    "cut own": (cut_own, 15),
    "own length": (own_length, 15),
    "own header": (own_header, 40),
}
"""How each sort is made, and how many of it the tests read."""
