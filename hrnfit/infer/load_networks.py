"""The networks of a start from the weights that a user keeps (`nets/weights.py`)."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import cast

from hrnfit.infer.networks import Networks
from hrnfit.model.face_model import ModelInfo
from hrnfit.nets import store
from hrnfit.nets.deretouch import DeretouchNet
from hrnfit.nets.hrn import Hrn
from hrnfit.nets.network_info import network_part
from hrnfit.nets.weights import LoadedNetwork, kind_of, load_network

log = logging.getLogger(__name__)


def networks_for(info: ModelInfo) -> list[str]:
    """Names of kept weights that predict a model's coefficients: those with generators of maps first, among equals
    those that permit commercial use, then by name."""
    found = {
        name: loaded
        for name, loaded in kept("hrn").items()
        if loaded.info.model in (info.name, info.kind)
    }

    def order(name: str) -> tuple[int, bool, str]:
        module = cast(Hrn, found[name].module)
        parts = (module.mid_net is not None) + (module.high_net is not None)
        return -parts, network_part(found[name].info).commercial != "yes", name

    return sorted(found, key=order)


def load_networks(name: str | Path) -> Networks:
    """Analyzer and generators by name or file.

    Raises FileNotFoundError, and WeightsError for a file that holds something else.
    """
    loaded = load_network(name, "hrn")
    return Networks(
        cast(Hrn, loaded.module),
        name=loaded.info.name,
        model=loaded.info.model,
        parts=(network_part(loaded.info),),
    )


def with_deretouch(networks: Networks, commercial: bool = False) -> Networks:
    """With the de-retouching network that the user keeps, if any; with `commercial`, one whose terms permit it."""
    for loaded in kept("deretouch").values():
        part = network_part(loaded.info)
        if part.commercial == "yes" or not commercial:
            module = cast(DeretouchNet, loaded.module)
            return replace(networks, deretouch=module, parts=(*networks.parts, part))
    return networks


def kept(kind: str) -> dict[str, LoadedNetwork]:
    """The user's networks of a kind by name; broken files are passed over, with a message to the log."""
    found = {}
    for name, path in store.network_files().items():
        try:
            if kind_of(path) == kind:
                found[name] = load_network(path)
        except (ValueError, OSError) as error:
            log.warning("network %r is passed over: %s", name, error)
    return found
