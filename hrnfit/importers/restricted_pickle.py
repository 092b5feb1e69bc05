"""Pickles of arrays: which names in them become which inert records (`inert_pickle.py` reads).

Those of arrays, sparse matrices, tensors and chumpy's wrappers become records that are turned into arrays
afterwards; every other name ends the reading.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from hrnfit import inert_pickle
from hrnfit.importers.pickled_records import RECORDS, Chumpy, Refused

LARGEST = inert_pickle.LONGEST
"""Bytes of a file; FLAME's largest has 110 MB."""


def _record(module: str, name: str) -> Any:
    if module.split(".")[0] == "chumpy":
        return Chumpy
    if (module, name) not in RECORDS:
        raise Refused(
            f"it asks for {module[:60]}.{name[:60]}; a model file holds arrays and nothing else"
        )
    return RECORDS[module, name]


def unpickled(content: bytes) -> Any:
    """What a pickle says: plain Python values, with records where arrays were.

    Raises ModelFormatError in one sentence when it asks for more than data, ValueError when it is damaged.
    """
    try:
        return inert_pickle.unpickled(io.BytesIO(content), _record)
    except inert_pickle.Refused as error:
        raise Refused(str(error)) from error


def read_pickle(path: Path) -> Any:
    """The same of a file."""
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{size} bytes, more than any model has")
    return unpickled(path.read_bytes())
