"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import re
from pathlib import Path

SIGNS: tuple[tuple[bytes, str], ...] = (
    (rb"PK\x03\x04", "an npz or zip file"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (rb"MATLAB ", "a MATLAB file"),
    (rb"\x93NUMPY", "an npy file"),
    (rb"\x80[\x02-\x05]", "a pickle"),
    (rb"\((d|l)p\d*\n", "a pickle"),
    (rb"version https://git-lfs", "a pointer of Git LFS"),
    (rb"\s*<(!DOCTYPE|html|\?xml)", "a web page"),
    (rb".{4}\0{4}\{", "a safetensors file"),
    (rb".{257}ustar", "a tar archive"),
    (rb"\x1f\x8b", "a gzip file"),
)
"""First bytes, as a pattern, and what begins so."""

NEVER = {
    "a web page": "the download ended at a page, of a login perhaps; download the file itself",
    "a pointer of Git LFS": "fetch the file itself with `git lfs pull`",
}
"""What is nobody's data, and what to do."""


def container_of(path: Path) -> str:
    """What a file is, as the words of `SIGNS`; empty when nothing is recognised."""
    with path.open("rb") as opened:
        head = opened.read(512)
    flags = re.IGNORECASE | re.DOTALL
    return next((name for sign, name in SIGNS if re.match(sign, head, flags)), "")
