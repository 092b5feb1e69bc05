"""Our own files damaged, and with headers that say something else."""

from __future__ import annotations

import json
import struct
from typing import Any

from tests.importers.mutate import cut, flip
from tests.nets.mutants import ERROR, SAME, Make, Mutant, Rng, Sound, pick


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
    "flipped own": (flipped_own, 30),
    "cut own": (cut_own, 15),
    "own length": (own_length, 15),
    "own header": (own_header, 40),
}
"""How each sort is made, and how many of it the tests read."""
