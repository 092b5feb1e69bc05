"""`hrnfit nets add KIND PATH`: a checkpoint that the user holds becomes a file of our own, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hrnfit.check import check_one_of
from hrnfit.importers.kinds import checksums
from hrnfit.licences import known_part
from hrnfit.nets import store
from hrnfit.nets.checkpoint import check_file, read_checkpoint
from hrnfit.nets.configs import Config, laid_out
from hrnfit.nets.kinds import KINDS, OWN
from hrnfit.nets.network_info import NetworkInfo
from hrnfit.nets.weights import LoadedNetwork, check_network, load_network, save_network

EXPECTED = {kind: rule.expects for kind, rule in KINDS.items()} | {
    OWN: "a safetensors file that this library wrote: any network, any size"
}
"""What PATH is, by kind."""


def add_network(
    kind: str,
    path: str | Path,
    name: str | None = None,
    *,
    replace_existing: bool = False,
    config: Config | None = None,
) -> tuple[LoadedNetwork, Path]:
    """Read a checkpoint strictly and keep it in the user's folder; the network and its file.

    kind: a key of `EXPECTED`; name: to use it by, the kind without; config: sizes of a checkpoint that
    has not the published ones. Raises ValueError for a kind or name, WeightsError for the file.
    """
    check_one_of("kind", kind, EXPECTED)
    path, name = Path(path), name or kind
    check_file(path)
    target = store.free_place(name, replace_existing=replace_existing)
    if kind == OWN:
        given = check_network(path)
        save_network(target, given.module, replace(given.info, name=name))
        return load_network(target), target
    tensors = read_checkpoint(path, kind, config)
    module = laid_out(config or KINDS[kind].config)
    module.load_state_dict(tensors, strict=True, assign=True)
    save_network(target, module, published_info(kind, name, path))
    return load_network(target), target


def published_info(kind: str, name: str, path: Path) -> NetworkInfo:
    """Provenance of a checkpoint of others: the terms of its row in the table, and the file's SHA-256."""
    row = known_part("weights", KINDS[kind].part)
    return NetworkInfo(
        name=name,
        licence=row.licence,
        commercial=row.commercial,
        source=row.source,
        note=row.note,
        origin=kind,
        model=KINDS[kind].model,
        files=checksums([path]),
    )
