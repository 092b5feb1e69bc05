"""Checkpoints of torch before 1.6: five pickles in a row, then each storage as a count and its numbers.

Nothing in that format has a checksum: a flipped bit in a number cannot be seen.
"""

from __future__ import annotations

import io
import struct
from typing import Any

from hrnfit import inert_pickle
from hrnfit.inert_pickle import Refused
from hrnfit.nets.pickled_layout import MOST_OBJECTS, Storage, read_layout
from hrnfit.nets.weights_error import WeightsError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

LONGEST_HEAD = 64_000_000
"""Bytes of the pickles; those of HRN v1.1 have one hundred thousand."""


def read_legacy(file: io.BufferedIOBase, size: int) -> Any:
    """The layout of a file in the old format, its storages checked to lie in the file one by one.

    Raises WeightsError, or ValueError with what is wrong, when it is damaged or no checkpoint.
    """
    file.seek(0)
    head = io.BytesIO(file.read(LONGEST_HEAD))
    if _plain(head) != MAGIC:
        raise WeightsError("this is a pickle, but no checkpoint of torch.save")
    protocol, system = _plain(head), _plain(head)
    if protocol != PROTOCOL or not isinstance(system, dict) or not system.get("little_endian"):
        raise WeightsError("its header is none that torch.save writes; the file is damaged")
    layout, storages = read_layout(head, legacy=True)
    keys = _plain(head)
    strings = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not strings or sorted(keys) != sorted(storages):
        raise WeightsError("its list of storages is damaged; copy the file again")
    place = head.tell()
    for key in keys:
        place = _behind(file, place, storages[key], size)
    if place != size:
        raise WeightsError(f"{size - place} bytes too many at its end; the file is damaged")
    return layout


def _plain(stream: io.BytesIO) -> Any:
    """A pickle without names."""
    return inert_pickle.unpickled(stream, _no_name, deepest=MOST_OBJECTS)


def _no_name(module: str, name: str) -> Any:
    raise Refused(f"it asks for {module[:60]!a}.{name[:60]!a} where only plain values belong")


def _behind(file: io.BufferedIOBase, place: int, storage: Storage, size: int) -> int:
    """Where a storage ends that begins at a place."""
    file.seek(place)
    count = file.read(8)
    if len(count) < 8 or place + 8 + storage.size > size:
        raise WeightsError("it ends before its last number; copy or download it again")
    if struct.unpack("<q", count)[0] != storage.count:
        raise WeightsError(f"the count of storage {storage.key[:40]!a} is damaged")
    return place + 8 + storage.size
