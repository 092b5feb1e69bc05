"""The zip archive that `torch.save` writes, checked before torch looks at it.

Torch's own reader verifies no checksum and believes the directory. Here every member lies inside the
file, apart from the others, is stored as it is, and has the CRC that the directory states, so that a flipped
bit in a number is found and no size in the directory can ask for more memory than the file has bytes.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

from hrnfit.nets.weights_error import WeightsError

MOST_MEMBERS = 20_000
"""HRN v1.1 has about 650."""

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
"""Signature, version, flags, method, time, date, CRC, two sizes, lengths of name and extra field."""

FLAGS = 0x0808
"""Sizes behind the member, names in UTF-8: what torch writes; among the others is encryption."""

BLOCK = 1 << 20


@dataclass(frozen=True)
class Member:
    """Where a member's content lies."""

    start: int
    """Bytes from the beginning of the file."""
    size: int
    crc: int
    """CRC-32, found to be the stated one."""


def check_zip(file: io.BufferedIOBase) -> dict[str, Member]:
    """Members by name without the folder in front, every one verified.

    Raises WeightsError when the archive is damaged or none of `torch.save`.
    """
    try:
        with zipfile.ZipFile(file) as archive:  # pyright: ignore[reportArgumentType]
            entries, directory, comment = archive.infolist(), archive.start_dir, archive.comment
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OSError) as error:
        raise WeightsError(
            f"its zip directory is damaged ({error}); copy the file again"
        ) from error
    if comment or len(entries) > MOST_MEMBERS:
        raise WeightsError("a zip archive, but none that torch.save writes")
    folder = _folder([entry.orig_filename for entry in entries])
    places = {entry.orig_filename: _place(file, entry, directory) for entry in entries}
    _check_apart(entries, places)
    for entry in entries:
        _check_sum(file, entry, places[entry.orig_filename])
    return {name[len(folder) :]: place for name, place in places.items()}


def _folder(names: list[str]) -> str:
    """The one folder that all members lie in; torch takes it from the first."""
    folder = names[0].partition("/")[0] + "/" if names else ""
    if any(name.endswith(".npy") for name in names):
        raise WeightsError("this is an npz file of arrays, no checkpoint of torch.save")
    if f"{folder}constants.pkl" in names or any(n.startswith(f"{folder}code/") for n in names):
        raise WeightsError(
            "this is a TorchScript archive: a program, no checkpoint; ask for the state dict, or save "
            "one with torch.save(network.state_dict(), ...)"
        )
    if f"{folder}data.pkl" not in names or not all(name.startswith(folder) for name in names):
        raise WeightsError("a zip archive, but none that torch.save writes (no data.pkl in it)")
    if len({name.lower() for name in names}) < len(names):  # torch's reader minds no case
        raise WeightsError("two members of the zip archive have one name; the file is damaged")
    return folder


def _place(file: io.BufferedIOBase, entry: zipfile.ZipInfo, directory: int) -> Member:
    """Where a member lies, by both of its headers."""
    name = entry.orig_filename
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise WeightsError(
            f"member {name[:60]!a} is compressed, which torch.save never does; unpack and pack again "
            "without compression, or get the original file"
        )
    file.seek(entry.header_offset)
    head = file.read(LOCAL_HEADER.size)
    if len(head) < LOCAL_HEADER.size:
        raise WeightsError(f"member {name[:60]!a} lies outside of the file; it is cut short")
    mark, _, flags, method, _, _, _, _, _, names, extra = LOCAL_HEADER.unpack(head)
    said = file.read(names).decode("utf-8", "replace")
    start = entry.header_offset + LOCAL_HEADER.size + names + extra
    agree = mark == b"PK\x03\x04" and method == zipfile.ZIP_STORED and said == name
    if not agree or (flags | entry.flag_bits) & ~FLAGS:
        raise WeightsError(f"the header of member {name[:60]!a} is damaged; copy the file again")
    if start + entry.file_size > directory:
        raise WeightsError(f"member {name[:60]!a} lies outside of the file; it is damaged")
    return Member(start, entry.file_size, entry.CRC)


def _check_apart(entries: list[zipfile.ZipInfo], places: dict[str, Member]) -> None:
    """No two members share bytes: else a small file could stand for any amount of data."""
    ends = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        place = places[entry.orig_filename]
        if entry.header_offset < ends:
            raise WeightsError("members of the zip archive overlap; the file is damaged")
        ends = place.start + place.size


def _check_sum(file: io.BufferedIOBase, entry: zipfile.ZipInfo, place: Member) -> None:
    file.seek(place.start)
    left, found = place.size, 0
    while left and (block := file.read(min(BLOCK, left))):
        found, left = zlib.crc32(block, found), left - len(block)
    if left or found != entry.CRC:
        raise WeightsError(
            f"member {entry.orig_filename[:60]!a} does not have the checksum that the file states; it "
            "is damaged, copy or download it again"
        )
