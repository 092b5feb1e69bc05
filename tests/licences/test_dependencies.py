"""Packages drawn in, on packages that the test installs, and on what is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrnfit.licences.dependencies import dependencies, requirement
from hrnfit.licences.spdx import Terms


def install(folder: Path, name: str, *headers: str, licence: str = "") -> None:
    """A package's metadata, as an installer leaves them."""
    info = folder / f"{name.replace('-', '_').replace('.', '_')}-1.0.dist-info"
    info.mkdir()
    head = ("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *headers)
    (info / "METADATA").write_text("\n".join(head) + "\n")
    files = ["METADATA"]
    if licence:
        (info / "licenses").mkdir()
        (info / "licenses" / "LICENSE.md").write_text(licence)
        files.append("licenses/LICENSE.md")
    (info / "RECORD").write_text("".join(f"{info.name}/{file},,\n" for file in files))


@pytest.fixture
def packages(tmp_path, monkeypatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_requirements_are_followed_and_extras_are_not(packages):
    install(
        packages,
        "hrnx-root",
        "License-Expression: MIT",
        "Requires-Dist: hrnx_child>=2; python_version > '3'",
        "Requires-Dist: hrnx-extra; extra == 'more'",
        "Requires-Dist: hrnx-absent",
    )
    install(packages, "hrnx.child", "License-Expression: GPL-3.0", "Requires-Dist: hrnx-root")
    install(packages, "hrnx-extra", "License-Expression: MIT")
    found = dependencies(["hrnx-root", "hrnx-missing"])
    assert [(p.name, p.version, p.terms) for p in found] == [
        ("hrnx.child", "1.0", Terms.COPYLEFT),
        ("hrnx-root", "1.0", Terms.PERMISSIVE),
    ]


@pytest.mark.parametrize(
    ("headers", "text", "licence", "terms"),
    [
        (["License-Expression: MIT OR GPL-2.0"], "", "MIT OR GPL-2.0", Terms.PERMISSIVE),
        (
            ["Classifier: License :: OSI Approved :: MIT License"],
            "",
            "MIT License",
            Terms.PERMISSIVE,
        ),
        (
            [
                "License: own",
                "Classifier: License :: OSI Approved",
                "Classifier: License :: OSI Approved :: MIT License",
                "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
            ],
            "",
            "MIT License and GNU General Public License v3 (GPLv3)",
            Terms.COPYLEFT,
        ),
        (["License: BSD"], "", "BSD", Terms.PERMISSIVE),
        (
            [],
            "Permission is hereby granted, free of charge, to any\nperson",
            "its licence file: permissive",
            Terms.PERMISSIVE,
        ),
        (["License: own terms"], "", "own terms", Terms.UNKNOWN),
        ([], "All rights reserved.", "unknown", Terms.UNKNOWN),
        ([], "", "unknown", Terms.UNKNOWN),
        (["License: research only"], "", "research only", Terms.NON_COMMERCIAL),
    ],
)
def test_what_metadata_state(packages, headers, text, licence, terms):
    install(packages, "hrnx-one", *headers, licence=text)
    (found,) = dependencies(["hrnx-one"])
    assert (found.licence, found.terms) == (licence, terms)


def test_here_the_needed_packages_are_found_and_permissive():
    found = {p.name.lower(): p for p in dependencies()}
    for name in (
        "torch",
        "numpy",
        "scipy",
        "opencv-python-headless",
        "kornia",
        "numba",
        "llvmlite",
    ):
        assert found[name].terms is Terms.PERMISSIVE, name
        assert found[name].version
    assert "ruff" not in found  # of the extra `dev` only


def test_requirement_names():
    assert requirement("a_b.c>=1,<2; extra == 'x'") == ("a_b.c", True)
    assert requirement("torch (>=2)") == ("torch", False)
    assert requirement("foo[bar]>=1 ; python_version < '3.13'") == ("foo", False)
