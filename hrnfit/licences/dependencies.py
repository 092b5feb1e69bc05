"""Licences of the installed Python packages that hrnfit draws in, as their own metadata state them.

Requirements are followed from the table's packages to whatever of theirs is installed; markers are not
evaluated, as what is not for this machine is not installed on it. Metadata err: a wheel may contain
libraries of other terms, and a package may state nothing; those are named as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from hrnfit.licences.spdx import Terms, terms_of_expression, terms_of_text
from hrnfit.licences.table import PARTS

LONGEST_NAME = 80
"""A licence field of more characters, or of several lines, holds the text itself."""

CLASSIFIER = "License :: "
VAGUE = {"OSI Approved", "Other/Proprietary License", "UNKNOWN"}


@dataclass(frozen=True)
class Dependency:
    """One installed package."""

    name: str
    version: str
    licence: str
    """As stated; `unknown` when nothing is."""
    terms: Terms
    """What that means."""


def dependencies(roots: Iterable[str] | None = None) -> tuple[Dependency, ...]:
    """Every installed package that the roots need, themselves included, by name; roots that are not
    installed are passed over. By default all of the table's packages."""
    table = [part.distribution for part in PARTS if part.distribution]
    waiting, found = list(table if roots is None else roots), {}
    while waiting:
        name = waiting.pop()
        if canonical(name) in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        found[canonical(name)] = describe(package)
        waiting += [n for n, optional in map(requirement, package.requires or ()) if not optional]
    return tuple(found[key] for key in sorted(found))


def describe(package: Distribution) -> Dependency:
    """A package's licence: its SPDX expression, else its classifiers, its licence field, its file."""
    licence, terms = _stated(package)
    return Dependency(package.metadata["Name"], package.version, licence, terms)


def requirement(text: str) -> tuple[str, bool]:
    """Name in a requirement, and whether it belongs to an extra.

    `requirement("h5py>=3; extra == 'hdf5'")` is `("h5py", True)`.
    """
    name, _, marker = text.partition(";")
    return re.split(r"[^A-Za-z0-9._-]", name.strip(), maxsplit=1)[0], "extra" in marker


def canonical(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _stated(package: Distribution) -> tuple[str, Terms]:
    fields = package.metadata
    if "License-Expression" in fields:
        expression = fields["License-Expression"]
        return expression, terms_of_expression(expression)
    classifiers = [
        c.removeprefix(CLASSIFIER).removeprefix("OSI Approved :: ")
        for c in fields.get_all("Classifier") or ()
        if c.startswith(CLASSIFIER)
    ]
    classifiers = [c for c in classifiers if c not in VAGUE]
    if classifiers:
        return " and ".join(classifiers), max(map(terms_of_text, classifiers))
    field = fields["License"].strip() if "License" in fields else ""
    for text in (field, *_files(package)):
        terms = terms_of_text(text)
        if text and terms is not Terms.UNKNOWN:
            short = len(text) <= LONGEST_NAME and "\n" not in text
            return (text if short else f"its licence file: {terms.label}"), terms
    return field if 0 < len(field) <= LONGEST_NAME else "unknown", Terms.UNKNOWN


def _files(package: Distribution) -> list[str]:
    """Texts of the licence files in a package's metadata."""
    names = [f for f in package.files or () if ".dist-info" in f.parts[0]]
    wanted = [f for f in names if re.match(r"(licen[cs]e|copying)", f.name, re.IGNORECASE)]
    return [text for f in sorted(wanted) if (text := package.read_text("/".join(f.parts[1:])))]
