"""Test session: shapes of every public signature enforced, threads tamed, the data folder found.

The import hook decorates each function of hrnfit. Functions that numba compiles need
`typing.no_type_check` below their `njit` decorator, or numba meets the wrapper instead.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Before torch and numba are imported. Two busy-waiting OpenMP pools on two cores cost a factor of
# three; passive waiting costs nothing measurable on these sizes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".cache" / "numba"))
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("GLOG_minloglevel", "3")

from jaxtyping import install_import_hook  # noqa: E402

import tests.typecheck  # noqa: E402, F401 - the hook looks it up as an attribute of `tests`

install_import_hook("hrnfit", "tests.typecheck.check")

import pytest  # noqa: E402
import torch  # noqa: E402

if not torch.cuda.is_available():  # kernels run in Python then, on tiny tensors
    os.environ.setdefault("TRITON_INTERPRET", "1")

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def find_data_dir() -> Path | None:
    """The development data: `HRNFIT_DATA`, else `shared/data` beside the clone."""
    named = os.environ.get("HRNFIT_DATA")
    candidates = [Path(named)] if named else [ROOT.parent / "shared" / "data"]
    return next((path for path in candidates if (path / "evaluate.py").is_file()), None)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real heads with ground truth; tests that need it are skipped where it is absent."""
    found = find_data_dir()
    if found is None:
        pytest.skip("no development data: set HRNFIT_DATA to its folder")
    return found


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of randomness, new for each test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def mediapipe():
    """The detector's library, where this Python has a wheel of it."""
    return pytest.importorskip("mediapipe", reason="MediaPipe is not installed for this Python")
