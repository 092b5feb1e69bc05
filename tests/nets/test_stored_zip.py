"""The zip directory of a checkpoint: every member inside, apart, stored, and of the stated checksum."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
import torch

from hrnfit.nets.stored_zip import check_zip
from hrnfit.nets.weights_error import WeightsError
from tests.nets.mutants import members, saved, zipped


def sound() -> bytes:
    return saved({"a": torch.arange(6.0), "b": torch.ones(3)})


def check(data: bytes):
    return check_zip(io.BytesIO(data))


def test_members_are_where_they_are_said_to_be():
    data = sound()
    found = check(data)
    assert {"data.pkl", "version", "data/0", "data/1"} <= set(found)
    place = found["data/0"]
    assert data[place.start : place.start + place.size] == struct.pack("<6f", *range(6))


def test_a_flipped_bit_in_any_number_is_found():
    data = sound()
    for place in check(data).values():
        for at in range(place.start, place.start + place.size, 7):
            harmed = bytearray(data)
            harmed[at] ^= 1
            with pytest.raises(
                WeightsError, match="does not have the checksum that the file states"
            ):
                check(bytes(harmed))


def test_members_must_not_overlap():
    data = sound()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first, second = archive.infolist()[:2]
        at = archive.start_dir
    entry = data.index(b"PK\x01\x02", at + 4)  # the second member's, set on the place of the first
    harmed = bytearray(data)
    harmed[entry + 42 : entry + 46] = struct.pack("<I", first.header_offset)
    assert second.header_offset > first.header_offset
    with pytest.raises(WeightsError, match=r"header of member|overlap"):
        check(bytes(harmed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: [*e, (e[0][0].upper(), b"x")], "no data.pkl|one name"),
        (
            lambda e: [*e, ("archive/DATA.PKL", b"x")],
            "two members of the zip archive have one name",
        ),
        (lambda e: [*e, ("elsewhere/data/9", b"x")], r"no data\.pkl"),
        (lambda e: [*e, ("archive/code/a.py", b"x")], "TorchScript archive"),
        (lambda e: [("a.npy", b"x")], "npz file of arrays"),
        (lambda e: [], r"no data\.pkl"),
        (lambda e: e[1:], r"no data\.pkl"),
    ],
)
def test_archives_of_other_programs(change, message):
    with pytest.raises(WeightsError, match=message):
        check(zipped(change(list(members(sound()).items()))))


def test_compressed_members_are_refused():
    with pytest.raises(WeightsError, match="is compressed, which torch"):
        check(zipped(list(members(sound()).items()), zipfile.ZIP_DEFLATED))


def test_a_directory_cut_off():
    with pytest.raises(WeightsError, match="its zip directory is damaged"):
        check(sound()[:-10])
