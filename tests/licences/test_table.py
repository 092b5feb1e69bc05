"""The table against what it speaks of: the requirements, the backends, the solvers, the page."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from docs import licence_tables
from hrnfit.fit.licensing import SOLVERS
from hrnfit.fit.recipe import SETTINGS
from hrnfit.importers.kinds import KINDS
from hrnfit.licences import PARTS, is_installed, known_part
from hrnfit.licences.dependencies import canonical, requirement
from hrnfit.render.backend import BACKENDS, chosen_backend

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_current():
    text = licence_tables.PAGE.read_text(encoding="utf-8")
    assert licence_tables.page(text) == text, "run `python -m docs.licence_tables`"


def test_every_part_is_on_the_page():
    kinds = licence_tables.TABLE.findall(licence_tables.PAGE.read_text(encoding="utf-8"))
    assert sorted(" ".join(kinds).split()) == sorted({part.kind for part in PARTS})


def test_a_table_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no parts of the kinds 'furniture'"):
        licence_tables.table("furniture")


def test_rows_are_distinct_and_complete():
    keys = [(part.kind, part.name) for part in PARTS]
    assert len(set(keys)) == len(keys)
    for part in PARTS:
        assert part.licence
        assert part.source.startswith("https://"), part.name
        if part.commercial != "yes":
            assert part.substitute, f"{part.name}: what may be used instead?"
            assert part.note, part.name
            assert not part.needed


def test_attribution_is_stated_where_terms_ask_for_it():
    for part in PARTS:
        if part.kind == "model" and part.commercial == "yes" and part.name != "generic":
            assert part.attribution, part.name


def test_every_requirement_has_a_row():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    extras = re.search(
        r"^\[project\.optional-dependencies\](.*?)^dev =", text, re.DOTALL | re.MULTILINE
    )
    assert project
    assert extras
    needed = {
        canonical(requirement(r)[0]) for r in re.findall(r'^    "(.*?)"', project[1], re.MULTILINE)
    }
    optional = {canonical(requirement(r)[0]) for r in re.findall(r'\["(.*?)"\]', extras[1])}
    rows = {canonical(p.distribution): p for p in PARTS if p.kind == "library"}
    assert needed == {name for name, part in rows.items() if part.needed}
    every = {canonical(p.distribution) for p in PARTS if p.distribution}
    assert optional <= every
    assert len(needed) > 10
    assert len(optional) == 5


def test_modules_of_what_is_needed_are_there():
    for part in PARTS:
        if part.needed and part.module:
            assert find_spec(part.module), part.module


def test_every_backend_and_solver_has_a_row():
    for name in set(BACKENDS) - {"auto"}:
        assert known_part("renderer", name)
    assert set(SOLVERS) == set(SETTINGS)
    for name in SOLVERS.values():
        assert known_part("solver", name)


def test_every_importer_has_a_row():
    known = {kind for part in PARTS for kind in part.importers}
    assert set(KINDS) - {"npz"} <= known


def test_our_renderers_are_for_commercial_use_and_nvdiffrast_is_not():
    for name in ("cpu", "cuda", "reference"):
        assert known_part("renderer", name).commercial == "yes"
    assert known_part("renderer", "nvdiffrast").commercial == "no"
    assert known_part("renderer", chosen_backend("auto", "cpu")).commercial == "yes"
    assert chosen_backend("reference", "cuda") == "reference"


def test_installed_is_what_can_be_imported(monkeypatch, tmp_path):
    renderer = known_part("renderer", "nvdiffrast")
    if find_spec("nvdiffrast") is None:
        assert not is_installed(renderer)
    (tmp_path / "nvdiffrast").mkdir()
    (tmp_path / "nvdiffrast" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert is_installed(renderer)
    assert "nvdiffrast" not in sys.modules
    assert is_installed(known_part("renderer", "cpu"))
    assert not is_installed(known_part("weights", "HRN's released networks"))
