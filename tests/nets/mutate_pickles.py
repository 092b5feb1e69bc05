"""Checkpoints whose pickle is hostile or says something else than it should."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.nets.mutants import ERROR, LIKE, Make, Mutant, Rng, Sound, pick, saved, with_pickle


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
        nested(60_000),
        colliding(300),
        b"\x80\x02" + b"(" * 210_000 + b".",
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


MAKERS: dict[str, tuple[Make, int]] = {
    "huge claim": (huge_claim, 35),
    "hostile": (hostile, 34),
    "hostile operations": (hostile_operations, 24),
    "other tensors": (other_tensors, 35),
}
"""How each sort is made, and how many of it the tests read."""
