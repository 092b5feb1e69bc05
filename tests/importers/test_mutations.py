"""Damaged model files end in one sentence: no crash, no hang, no memory without bound.

Three kinds of damage: to the bytes, to the content, and (for our own file) to the shapes in headers. A
flipped byte can hit what no reader looks at, or the mantissa of one number in a format without a
checksum: then the import succeeds, and the model must pass every check. Nothing else may succeed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hrnfit.importers.kinds import import_model
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.load import load_model, model_arrays, save_model
from hrnfit.model.validate import REQUIRED, check_model_arrays
from tests.importers.mutate import BYTES, CONTENT, numeric_keys, read_content, write_content
from tests.importers.test_conformance import WRITERS
from tests.importers.written import Written
from tests.model.faces import small_model

LONGEST = 5.0
"""Seconds of computing that one file may take."""

VARIANTS = ("bfm09_raw", "bfm19_by_hand", "faceverse_v4", "hifi3dpp")
"""Files read by the same reader as another row's."""

MOST = 2e9
"""Bytes."""


EARLIER = [0.0, 0.0]
"""`peaks` before the test."""


@pytest.fixture(autouse=True)
def _forget_earlier_peaks():
    """A worker runs other tests before: their memory is none of these."""
    with contextlib.suppress(OSError):  # Linux alone has the file
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    EARLIER[:] = peaks()


def peaks() -> list[float]:
    """Largest memory of this process since it was last forgotten, and of any child so far, bytes."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.is_file() else []
    own = [float(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    own = own or [float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)]
    child = float(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return [1024.0 * own[0], 1024.0 * child]


def peak_bytes() -> float:
    """Memory that the test took on top, or that a child of it took."""
    own, child = peaks()
    return max(own - EARLIER[0], child if child > EARLIER[1] else 0.0)


def spent() -> float:
    """Seconds of computing of this process and of its children so far."""
    return sum(os.times()[:4])


def outcome(written: Written) -> str | None:
    """The sentence that a file ends in, None when it imports into a model that passes the checks."""
    began = spent()
    try:
        model = import_model(written.kind, written.path, "harmed", written.options)
    except ModelFormatError as error:
        text = str(error)
        assert "\n" not in text
        assert len(text) > 20
        return text
    finally:
        assert spent() - began < LONGEST
        assert peak_bytes() < MOST
    check_model_arrays(model_arrays(model), "imported")
    return None


@pytest.mark.parametrize("name", [*WRITERS, "npz"])
@pytest.mark.parametrize("harm", list(BYTES))
def test_damaged_bytes(name, harm, tmp_path):
    written = written_file(name, tmp_path)
    sound = written.path.read_bytes()
    rng = np.random.default_rng(len(name) + len(harm))
    refused = 0
    rounds = 80 if written.path.suffix == ".npz" else 6 if name in VARIANTS else 20
    for _ in range(rounds):
        written.path.write_bytes(BYTES[harm](rng, sound))
        refused += outcome(written) is not None
    assert refused == rounds if harm == "cut" else refused > 0


@pytest.mark.parametrize("name", [*WRITERS, "npz"])
@pytest.mark.parametrize("harm", list(CONTENT))
def test_damaged_content(name, harm, tmp_path):
    written = written_file(name, tmp_path)
    if written.path.suffix not in (".npz", ".mat", ".h5", ".pkl"):
        pytest.skip("a format without keys")
    sound = read_content(written.path)
    rng = np.random.default_rng(len(name) + len(harm))
    keys = [key for key in written.needed if harm == "drop" or key in numeric_keys(sound)]
    assert keys
    for key in keys:
        write_content(written.path, CONTENT[harm](rng, sound, key))
        text = outcome(written)
        # a row or an axis more or less can be another sound model
        assert text is not None or harm == "reshape", f"{key}: {harm} was not noticed"


@pytest.mark.parametrize("shape", [(2**40, 3), (-1, 3), (2**63 - 1, 2**63 - 1), (4, 3)])
def test_shapes_in_headers_are_not_believed(shape, tmp_path):
    path = tmp_path / "model.npz"
    save_model(small_model(), path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for name, content in entries.items():
        if b"'shape': (" not in content[:128]:
            continue
        header = (
            content[:128].split(b"'shape': (")[0] + b"'shape': " + repr(shape).encode() + b", }"
        )
        harmed = header.ljust(127) + b"\n" + content[128:]
        with zipfile.ZipFile(path, "w") as archive:
            for other, kept in entries.items():
                archive.writestr(other, harmed if other == name else kept)
        with pytest.raises(ModelFormatError, match=r"bytes|shape"):
            load_model(path)
    assert peak_bytes() < MOST


def test_more_than_any_model_is_not_read(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        block = bytes(1 << 24)
        with archive.open("mean.npy", "w", force_zip64=True) as member:
            for _ in range(100):
                member.write(block)
    assert path.stat().st_size < 3e6
    with pytest.raises(ModelFormatError, match="more than any model has"):
        load_model(path)
    assert peak_bytes() < MOST


def written_file(name: str, folder: Path) -> Written:
    """A sound file of a format."""
    if name in WRITERS:
        return WRITERS[name](folder)
    model = small_model()
    path = folder / "model.npz"
    save_model(replace(model, info=replace(model.info, name="sound")), path)
    marks = np.zeros((68, 3))
    return Written(
        "npz",
        path,
        lambda a, b: marks,
        model.n_identity,
        model.n_expression,
        marks,
        needed=REQUIRED,
    )
