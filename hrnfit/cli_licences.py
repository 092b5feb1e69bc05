"""`hrnfit licences`: what is installed here, under which terms, and whether a commercial fit may use it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrnfit.licences import Part
    from hrnfit.licences.dependencies import Dependency

ADVICE = "Read the terms yourself (--json or docs/licences.md: where they stand); this is no legal advice."

COLUMNS = ("part", "kind", "licence", "commercial use", "terms")
KEPT = ("name", "kind", "licence", "commercial", "source", "note", "substitute", "attribution")
"""Fields of a part that `--json` shows."""


@dataclass(frozen=True)
class Licences:
    """Show what is installed, under which terms, and what a commercial fit would refuse."""

    all: bool = False
    """Also every installed Python package that is drawn in, as its own metadata state it."""
    json: bool = False
    """As JSON."""
    debug: bool = False
    """Show the library's messages, and the whole traceback of an error."""

    def run(self) -> None:
        from hrnfit.licences.dependencies import dependencies

        parts, broken = installed_parts()
        packages = dependencies() if self.all else ()
        if self.json:
            print(json.dumps(document(parts, packages, broken), indent=1))
        else:
            show(parts, packages, broken)


def installed_parts() -> tuple[tuple[Part, ...], dict[str, str]]:
    """Parts that are here, models and networks as their files state them; and names of those that cannot
    be read, with the reason."""
    from hrnfit.licences import PARTS, is_installed
    from hrnfit.model import store
    from hrnfit.model.load import load_model
    from hrnfit.model.terms import model_part
    from hrnfit.nets.network_info import network_part
    from hrnfit.nets.store import network_files
    from hrnfit.nets.weights import load_network

    models, broken = [], {}
    for name, path in store.model_files().items():
        try:
            models.append(model_part(load_model(path).info))
        except ValueError as error:
            broken[f"model {name}"] = str(error)
    for name, path in network_files().items():
        try:
            models.append(network_part(load_network(path).info))
        except ValueError as error:
            broken[f"network {name}"] = str(error)
    software = [p for p in PARTS if p.kind not in ("model", "data") and is_installed(p)]
    return (*software, *models), broken


def refused(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Installed parts that `--commercial` refuses."""
    return tuple(part for part in parts if part.commercial != "yes")


def usual_fit() -> tuple[Part, ...]:
    """What a fit with no options uses here: the packaged model, and the renderer that `auto` takes."""
    from hrnfit.fit.licensing import choose_device, detector_part, planned_parts
    from hrnfit.model.load import load_model

    device, _ = choose_device("auto")
    return (*planned_parts(load_model().info, device, None), detector_part(None))


def document(
    parts: Sequence[Part], packages: Sequence[Dependency], broken: dict[str, str]
) -> dict[str, Any]:
    """Everything as JSON values."""
    found: dict[str, Any] = {
        "parts": [{key: getattr(part, key) for key in KEPT} for part in parts],
        "unreadable_models": _of("model", broken),
        "unreadable_networks": _of("network", broken),
        "commercial": {
            "default_fit_permitted": not refused(usual_fit()),
            "models": [p.name for p in parts if p.kind == "model" and p.commercial == "yes"],
            "refused": [{"name": p.name, "instead": p.substitute} for p in refused(parts)],
        },
        "advice": ADVICE,
    }
    if packages:
        found["packages"] = [
            asdict(package) | {"terms": package.terms.label, "look": package.terms.flagged}
            for package in packages
        ]
    return found


def _of(kind: str, broken: dict[str, str]) -> dict[str, str]:
    """What of a kind cannot be read, by its bare name."""
    head = f"{kind} "
    return {k.removeprefix(head): reason for k, reason in broken.items() if k.startswith(head)}


def show(parts: Sequence[Part], packages: Sequence[Dependency], broken: dict[str, str]) -> None:
    """Print the tables and what follows from them."""
    from rich.markup import escape
    from rich.table import Table

    from hrnfit.cli_progress import console

    view = console()
    table = Table(*COLUMNS, box=None)
    for part in (p for p in parts if p.kind != "library" or p.commercial != "yes"):
        cells = (part.name, part.kind, part.licence, part.commercial, part.note)
        table.add_row(*map(escape, cells))
    view.print(table)
    libraries = ", ".join(p.name for p in parts if p.kind == "library" and p.commercial == "yes")
    view.print(f"\nlibraries that permit it: {libraries}", markup=False)
    for name, reason in broken.items():
        view.print(f"{name} cannot be read: {reason}", style="yellow", markup=False)
    if packages:
        show_packages(packages)
    view.print()
    for line in verdict(parts):
        view.print(line, markup=False)
    view.print(ADVICE, markup=False)


def show_packages(packages: Sequence[Dependency]) -> None:
    """Print the packages, and which of them are to be looked at."""
    from rich.markup import escape
    from rich.table import Table

    from hrnfit.cli_progress import console

    view = console()
    table = Table("package", "version", "licence", "terms", box=None)
    for package in packages:
        style = "yellow" if package.terms.flagged else None
        cells = (package.name, package.version, package.licence, package.terms.label)
        table.add_row(*map(escape, cells), style=style)
    view.print()
    view.print(table)
    flagged = [f"{p.name} ({p.terms.label})" for p in packages if p.terms.flagged]
    view.print(f"to look at: {', '.join(flagged) or 'none'}", markup=False)


def verdict(parts: Sequence[Part]) -> list[str]:
    """What `hrnfit fit --commercial` would do with what is installed, a line each."""
    doubtful = refused(usual_fit())
    named = ", ".join(part.name for part in doubtful)
    lines = [
        f"hrnfit fit without options is not for commercial use here: {named}"
        if doubtful
        else "hrnfit fit without options may be used commercially"
    ]
    models = ", ".join(p.name for p in parts if p.kind == "model" and p.commercial == "yes")
    lines.append(f"hrnfit fit --commercial takes the models: {models or 'none'}")
    lines += [f"  it refuses {p.kind} {p.name}: instead {p.substitute}" for p in refused(parts)]
    credits = dict.fromkeys(part.attribution for part in parts if part.attribution)
    lines += [f"  say beside a product that uses it: {text}" for text in credits]
    return lines
