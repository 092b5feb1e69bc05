"""`hrnfit nets list | info | add | check | remove`: weights of networks that the user holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hrnfit.importers.nets import EXPECTED, add_network
from hrnfit.nets import store
from hrnfit.nets.configs import document_from
from hrnfit.nets.network_info import network_part
from hrnfit.nets.weights import LoadedNetwork, check_network, load_network


def list_networks() -> None:
    """List the networks known by name, and the kinds that can be added."""
    table = Table()
    for column in ("name", "network", "parameters", "commercial", "file"):
        table.add_column(column, overflow="fold")
    for name, path in store.network_files().items():
        try:
            found = load_network(path)
        except (ValueError, OSError) as error:
            table.add_row(name, "", "", "", escape(f"broken: {error}"))
            continue
        allowed = network_part(found.info).commercial
        table.add_row(name, found.kind, f"{_parameters(found):,}", allowed, escape(str(path)))
    console = Console()
    console.print(table)
    console.print(f"Your networks lie in {store.networks_folder()}", markup=False)
    kinds = Table("kind", "PATH of hrnfit nets add KIND PATH")
    for kind, expects in EXPECTED.items():
        kinds.add_row(kind, expects)
    console.print(kinds)


def info(network: tyro.conf.Positional[str]) -> None:
    """Show one network: licence, sizes, where it is from.

    Args:
        network: Name of a network, or its file.
    """
    table = Table(show_header=False)
    for key, value in _facts(load_network(network)).items():
        table.add_row(key, escape(value))
    Console().print(table)


def add(
    kind: tyro.conf.Positional[str],
    path: tyro.conf.Positional[Path],
    name: str | None = None,
    replace_existing: bool = False,
) -> None:
    """Read a checkpoint once, strictly, and keep its weights under a name.

    Args:
        kind: What it is: hrn, deep3d, deretouch, arcface, or hrnfit for a file of our own.
        path: The file.
        name: Name to use it by; the kind without.
        replace_existing: Overwrite a network of that name.
    """
    found, target = add_network(kind, path, name, replace_existing=replace_existing)
    console = Console()
    console.print(f"added '{found.info.name}': {target}", markup=False, soft_wrap=True)
    terms = network_part(found.info)
    console.print(f"licence: {terms.licence}. {terms.note}".strip(), markup=False)


def check(network: tyro.conf.Positional[str]) -> None:
    """Read every number of a network and compare its checksum.

    Args:
        network: Name of a network, or its file.
    """
    found = check_network(network)
    print(f"{found.info.name}: {_parameters(found):,} parameters, checksum as stated")


def remove(name: tyro.conf.Positional[str]) -> None:
    """Delete a network of yours.

    Args:
        name: Its name.
    """
    print(f"removed {store.remove_network(name)}")


def main(arguments: Sequence[str]) -> None:
    """Run one of the commands."""
    commands = {"list": list_networks, "info": info, "add": add, "check": check, "remove": remove}
    given = [argument for argument in arguments if argument != "--debug"]
    tyro.extras.subcommand_cli_from_dict(commands, prog="hrnfit nets", args=given)


def _parameters(found: LoadedNetwork) -> int:
    return sum(value.numel() for value in found.module.parameters())


def _facts(found: LoadedNetwork) -> dict[str, str]:
    """What to show of a network."""
    terms = network_part(found.info)
    return {
        "name": found.info.name,
        "network": found.kind,
        "parameters": f"{_parameters(found):,}",
        "sizes": json.dumps(document_from(found.config)),
        "face model": found.info.model or "not stated: no fit takes it by itself",
        "licence": found.info.licence,
        "commercial use": terms.commercial,
        "terms": terms.note or "see the licence",
        "say beside a product": terms.attribution or "nothing",
        "source": found.info.source,
        "added as": found.info.origin,
        "made from": ", ".join(f"{name} (SHA-256 {digest})" for name, digest in found.info.files)
        or "nothing stated",
        "checksum": found.checksum,
    }
