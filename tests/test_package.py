"""The package as a user meets it: its names, its version, what importing it costs."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys

import pytest

import hrnfit

HEAVY = (
    "torch",
    "cv2",
    "scipy",
    "trimesh",
    "numba",
    "kornia",
    "mediapipe",
    "theseus",
    "matplotlib",
)
WHOLE = (
    "camera",
    "state",
    "prediction",
    "io.image",
    "model.load",
    "observe.load",
    "render",
    "energy.term",
    "solve.solver",
    "fit.fit",
    "fit.result",
    "cli",
)
OPTIONAL = ("mediapipe", "theseus", "nvdiffrast", "trimesh", "matplotlib", "skimage", "IPython")


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys; print(*{{m.split('.')[0] for m in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    assert not modules_after("import hrnfit") & set(HEAVY)


def test_importing_every_part_leaves_the_optional_libraries_alone():
    statement = "; ".join(f"import hrnfit.{name}" for name in WHOLE)
    assert not modules_after(statement) & set(OPTIONAL)


def test_help_on_fit_names_its_arguments():
    shown = inspect.getdoc(hrnfit.fit) or ""
    for argument in inspect.signature(hrnfit.fit).parameters:
        assert argument in shown.split("Fit one subject", 1)[1], argument


def test_every_public_name_is_there():
    assert len(hrnfit.__all__) <= 25
    for name in hrnfit.__all__:
        assert getattr(hrnfit, name) is not None
    assert set(hrnfit.__all__) <= set(dir(hrnfit))


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"no 'fitt'; it has .*load_model"):
        _ = hrnfit.fitt


def test_fit_is_the_function_though_a_package_has_its_name():
    importlib.import_module("hrnfit.fit.result")
    function = importlib.import_module("hrnfit.fit.fit").fit
    assert callable(hrnfit.fit)
    assert type(hrnfit.fit).__call__.fget(hrnfit.fit) is function
    with pytest.raises(TypeError, match="images"):
        hrnfit.fit()


def test_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", hrnfit.__version__)
