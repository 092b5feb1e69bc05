"""Containers of checkpoints damaged: flipped, cut, overwritten, garbled."""

from __future__ import annotations

import zipfile

from tests.importers.mutate import cut, flip, overwrite
from tests.nets.mutants import (
    ERROR,
    LIKE,
    SAME,
    Make,
    Mutant,
    Rng,
    Sound,
    members,
    pick,
    with_pickle,
    zipped,
)


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


def flipped_legacy(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(flip(rng, sound.legacy), LIKE)


def cut_legacy(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(cut(rng, sound.legacy), ERROR)


def overwritten_legacy(rng: Rng, sound: Sound) -> Mutant:
    return Mutant(overwrite(rng, sound.legacy), LIKE)


MAKERS: dict[str, tuple[Make, int]] = {
    "flipped zip": (flipped_zip, 60),
    "flipped directory": (flipped_directory, 50),
    "cut zip": (cut_zip, 25),
    "overwritten zip": (overwritten_zip, 30),
    "lengthened": (lengthened, 15),
    "garbled members": (garbled_members, 30),
    "flipped pickle": (flipped_pickle, 50),
    "cut pickle": (cut_pickle, 10),
    "flipped legacy": (flipped_legacy, 30),
    "cut legacy": (cut_legacy, 15),
    "overwritten legacy": (overwritten_legacy, 15),
}
"""How each sort is made, and how many of it the tests read."""
