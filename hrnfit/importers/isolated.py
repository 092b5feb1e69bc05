"""Reads a file of a foreign format in a process of its own, within limits of time and memory.

HDF5, MATLAB and pickle readers are large and believe what a file says: a damaged one can crash
them, keep them busy for ever or ask for any amount of memory. The child reads, writes plain arrays
beside, and ends; whatever becomes of it, the caller gets arrays or one sentence. Readers are
functions `path, options -> dict of arrays`, in modules that import neither torch nor the rest of us.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hrnfit.model.format_error import ModelFormatError

MEMORY = 2_000_000_000
"""Bytes of address space of the child."""

PATIENCE = 15.0
"""Seconds by the clock before a child is given up, per `cpu_seconds`: it bounds what waits, and where the
system knows no limit of computing time (Windows) what computes."""

CHILD = "import sys; sys.path.append(sys.argv.pop()); from hrnfit.importers.isolated import main; main()"
"""The child begins in an empty folder: Python looks for modules where it is started, and a folder that
came with a model may hold a `numpy.py`."""

Options = Mapping[str, Any]
Reader = Callable[[Path, Options], Mapping[str, np.ndarray]]


def cpu_seconds(path: Path) -> int:
    """Computing time that reading may take: 3 s, and 1 s more per 20 MB."""
    return 3 + int(path.stat().st_size / 20e6)


def read_isolated(reader: str, path: Path, **options: Any) -> dict[str, np.ndarray]:
    """Arrays that `reader` ("package.module:function") finds in a file.

    `options` must be JSON values. Raises ModelFormatError with the reader's own sentence, or when it
    crashed, took too long or too much memory; OSError when the file cannot be opened.
    """
    with path.open("rb"):
        seconds = cpu_seconds(path)
    with tempfile.TemporaryDirectory(prefix="hrnfit-") as folder:
        work = Path(folder) / "work"
        work.mkdir()
        root = str(Path(__file__).resolve().parents[2])
        given = [reader, str(path.absolute()), folder, json.dumps(options), str(seconds)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                [sys.executable, "-c", CHILD, *given, root],
                env=environment,
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE * seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ModelFormatError(f"{path}: reading it takes too long; it is damaged") from error
        return _received(path, Path(folder), done)


def _received(
    path: Path, folder: Path, done: subprocess.CompletedProcess[bytes]
) -> dict[str, np.ndarray]:
    """What the child left, or its reason as an error."""
    answer = folder / "answer.json"
    found = json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else {}
    if "missing" in found:
        raise ImportError(found["missing"])
    if "error" in found:
        raise ModelFormatError(f"{path}: {found['error']}")
    if done.returncode or "keys" not in found:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        why = " ".join(last) or f"status {done.returncode}"
        raise ModelFormatError(
            f"{path}: its reader broke off ({why}); the file is damaged, copy or download it again"
        )
    return {
        key: np.load(folder / f"{number}.npy", allow_pickle=False)
        for number, key in enumerate(found["keys"])
    }


def _limit(seconds: int) -> None:
    """Bound this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows has no such module; the clock still ends a child there
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the limit is refused or ignored
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def answer(reader: Reader, path: Path, options: Options, folder: Path) -> None:
    """Run a reader and leave its arrays, or its reason, in the folder."""
    try:
        arrays = reader(path, options)
        for number, array in enumerate(arrays.values()):
            np.save(folder / f"{number}.npy", array, allow_pickle=False)
        found: dict[str, Any] = {"keys": list(arrays)}
    except ImportError as error:
        found = {"missing": str(error)}
    except MemoryError:
        found = {"error": "it asks for more memory than any model needs; it is damaged"}
    except Exception as error:  # a reader of others raises anything on a damaged file
        kind = "" if isinstance(error, ModelFormatError) else f"{type(error).__name__}: "
        text = " ".join(str(error).split())
        found = {"error": f"{kind}{text}" if kind == "" else f"not readable ({kind}{text})"}
    (folder / "answer.json").write_text(json.dumps(found), encoding="utf-8")


def main() -> None:
    """The child: reader, path, folder, options, seconds."""
    import importlib

    name, path, folder, options, seconds = sys.argv[1:]
    module, function = name.split(":")
    _limit(int(seconds))
    reader: Reader = getattr(importlib.import_module(module), function)
    answer(reader, Path(path), json.loads(options), Path(folder))


if __name__ == "__main__":
    main()
