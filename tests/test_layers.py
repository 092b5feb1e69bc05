"""The layers of the library: who may import whom, read off the import statements themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "hrnfit"

LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "brief",
        "check",
        "data_folder",
        "derivative",
        "first_bytes",
        "inert_pickle",
        "lazy",
        "licences",
        "quiet",
        "tree",
    ),
    ("geometry", "camera", "state"),
    ("model", "render", "solve", "nets", "io"),
    ("observe", "importers"),
    ("prediction", "infer"),
    ("energy",),
    ("fit", "metrics"),
    ("transfer",),
    (
        "cli",
        "__main__",
        "cli_convert",
        "cli_folder",
        "cli_licences",
        "cli_models",
        "cli_nets",
        "cli_progress",
        "demo",
        "synthetic",
        "__init__",
    ),
)
"""From the bottom; a module may import its own part and any lower layer."""

SIBLINGS = {("camera", "geometry"), ("metrics", "fit"), ("fit", "metrics"), ("derivative", "quiet")}
"""Neighbours within one layer that may be imported besides the own part; layer 7 is free."""

FORBIDDEN = {("energy", "solve"), ("energy", "nets")}
"""Lower layers that stay unknown all the same: a network comes into an energy as an object."""


def layer_of(part: str) -> int:
    found = [i for i, layer in enumerate(LAYERS) if part in layer]
    assert found, f"hrnfit/{part} stands in no layer: add it to LAYERS"
    return found[0]


def parts_imported(source: str, module: tuple[str, ...]) -> set[str]:
    """Parts of hrnfit that a module's source imports, at any depth of the code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ("hrnfit", *module[: len(module) - node.level])
            names = [".".join((*base, *filter(None, [node.module])))]
            names = [f"{n}.{a.name}" if n == "hrnfit" else n for n in names for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{a.name}" for a in node.names]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("hrnfit.")}
    return found


def allowed(part: str, imported: str) -> bool:
    if part == imported or (part, imported) in SIBLINGS:
        return True
    if (part, imported) in FORBIDDEN:
        return False
    own, other = layer_of(part), layer_of(imported)
    return other < own or own == other == len(LAYERS) - 1


MODULES = sorted(p.relative_to(PACKAGE).with_suffix("") for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_downwards(module):
    parts = module.parts
    source = (PACKAGE / module).with_suffix(".py").read_text(encoding="utf-8")
    # `from hrnfit import X` names attributes of the package: those are parts only when files.
    known = {name for layer in LAYERS for name in layer}
    on_disk = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}
    imported = {p for p in parts_imported(source, parts) if p in known | on_disk}
    wrong = sorted(p for p in imported if not allowed(parts[0], p))
    assert not wrong, (
        f"hrnfit/{module}.py imports {', '.join(wrong)} from its own or a higher layer"
    )


def test_every_part_has_a_layer():
    for module in MODULES:
        layer_of(module.parts[0])


@pytest.mark.parametrize(
    ("part", "source", "fine"),
    [
        ("render", "from hrnfit.model.linear import LinearModel", False),
        ("energy", "import hrnfit.solve.block", False),
        ("solve", "def f():\n    from hrnfit.fit import fit", False),
        ("fit", "from hrnfit.energy.term import Term", True),
        ("energy", "from ..prediction import Prediction", True),
        ("check", "from hrnfit import geometry", False),
    ],
)
def test_the_rule_itself(part, source, fine):
    imported = parts_imported(source, (part, "module"))
    assert len(imported) == 1
    assert all(allowed(part, p) for p in imported) is fine
