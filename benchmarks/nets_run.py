"""One process of `benchmarks.nets`: from its first line to the answer, step by step.

Networks come out of the folder that HRNFIT_HOME names, as a user's do. What is measured is printed as JSON.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()

import contextlib  # noqa: E402 - the clock above has to see the imports
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.models import peak_gb  # noqa: E402
from benchmarks.stopwatch import Stopwatch  # noqa: E402

WARM = 3
"""Further predictions of the same photograph in the same process."""

STEPS: dict[str, tuple[str, ...]] = {
    "read": ("hrnfit.fit.fit:load_views",),
    "model": ("hrnfit.fit.named_model:load_model",),
    "weights": ("hrnfit.fit.fit:choose_networks",),
    "landmarks": ("hrnfit.fit.prepare:check_rig", "hrnfit.fit.prepare:initialize"),
    "mask": ("hrnfit.fit.prepare:with_masks",),
    "charts": ("hrnfit.fit.network_start:convention_of", "hrnfit.fit.network_start:own_maps"),
    "crop": ("hrnfit.infer.crop:Crop.image", "hrnfit.infer.crop:Crop.mask"),
    "analyzer": ("hrnfit.nets.hrn:Hrn.coefficients",),
    "texture": tuple(
        f"{owner}.{name}"
        for owner in ("hrnfit.infer.own_maps:OwnMaps", "hrnfit.nets.released:Released")
        for name in ("position_map", "texture", "valid_mask", "vertex_offsets", "deformation")
    ),
    "mid": ("hrnfit.nets.hrn:Hrn.deformation",),
    "high": ("hrnfit.nets.hrn:Hrn.displacement",),
    "deretouch": ("hrnfit.nets.deretouch:DeretouchNet.forward",),
    "pose": ("hrnfit.fit.network_start:with_poses",),
    "merge": ("hrnfit.fit.network_start:with_maps",),
    "appearance": ("hrnfit.fit.record:fit_appearance",),
    "assemble": ("hrnfit.fit.record:assemble",),
    "save": ("hrnfit.fit.result:FitResult.save",),
}
"""Functions by step; what is in none of them is `rest`."""


def inference(root: Path, network: str) -> dict[str, Any]:
    """Load model and networks and predict one photograph, without a fit."""
    watch = Stopwatch(BEGAN)
    import torch

    from hrnfit.fit import fit as fits
    from hrnfit.fit import named_model
    from hrnfit.infer.load_networks import load_networks, with_deretouch
    from hrnfit.infer.networks import MAP_SIZE, convention_of, own_maps
    from hrnfit.infer.single_view import Predictor
    from hrnfit.render.backend import rasterizer
    from hrnfit.render.texture import uv_raster

    watch.lap("import")
    with watch.watching(STEPS):
        model = named_model.load_model(root / "model.npz")
        with watch.step("weights"):
            networks = with_deretouch(load_networks(network))
        photograph, landmarks = root / "photograph.jpg", root / "landmarks.json"
        view = fits.load_views([photograph], None, None, landmarks)[0][0]
        renderer = rasterizer("auto", torch.device("cpu"))
        with watch.step("charts"):
            chart = uv_raster(model.uv, model.uv_faces, model.faces, MAP_SIZE, MAP_SIZE)
            convention = convention_of(networks, model, renderer, lambda _: chart)
            own = own_maps(model, renderer, chart)
        predictor = Predictor(networks, model, convention, own)
        found = predictor.predict(view)
        watch.lap()
    cpu, peak = _cpu(), peak_gb()
    warm = [_seconds(predictor, view) for _ in range(WARM)]
    return _told(watch, cpu, peak, _tensors(vars(found))) | {"warm": round(min(warm), 3)}


def fitted(root: Path, network: str, out: Path) -> dict[str, Any]:
    """The command `hrnfit fit PHOTO --recipe feed_forward`, its results written."""
    watch = Stopwatch(BEGAN)
    from hrnfit import cli
    from hrnfit.fit import fit as fits
    from hrnfit.fit.result import FitResult

    del fits
    options = {"--model": root / "model.npz", "--networks": network, "--out": out}
    options |= {"--landmarks": root / "landmarks.json", "--recipe": "feed_forward"}
    words = ["fit", str(root / "photograph.jpg"), "--quiet", "--device", "cpu"]
    words += [str(word) for pair in options.items() for word in pair]
    watch.lap("import")
    with watch.watching(STEPS), contextlib.suppress(SystemExit):
        cli.main(words)
    watch.lap()
    cpu, peak = _cpu(), peak_gb()
    result = FitResult.load(out)
    if result.provenance["start"]["by"] != "networks":
        raise RuntimeError(f"the fit began otherwise: {result.provenance['start']}")
    return _told(watch, cpu, peak, _tensors(vars(result.state)))


def added(kind: str, path: Path) -> dict[str, Any]:
    """`hrnfit nets add`, then loading what it wrote."""
    watch = Stopwatch(BEGAN)
    from hrnfit.importers.nets import add_network
    from hrnfit.nets.weights import load_network

    watch.lap("import")
    with watch.step("add"):
        _, file = add_network(kind, path)
    cpu, peak = _cpu(), peak_gb()
    least = float("inf")
    for _ in range(WARM):
        began = time.perf_counter()
        module = load_network(file).module
        least = min(least, time.perf_counter() - began)
    more = {"load_s": round(least, 3), "file_mb": round(file.stat().st_size / 1e6, 1)}
    return _told(watch, cpu, peak, module.state_dict()) | more


def _seconds(predictor: Any, view: Any) -> float:
    began = time.perf_counter()
    predictor.predict(view)
    return time.perf_counter() - began


def _cpu() -> float:
    """Seconds of all threads of this process and of its children."""
    return sum(os.times()[:4])


def _tensors(fields: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    return {name: value for name, value in fields.items() if isinstance(value, torch.Tensor)}


def _told(watch: Stopwatch, cpu: float, peak: float, tensors: Mapping[str, Any]) -> dict[str, Any]:
    from hrnfit.nets.weights import checksum

    steps = {name: round(seconds, 3) for name, seconds in watch.seconds.items()}
    return {
        "seconds": round(sum(watch.seconds.values()), 3),
        "cpu": round(cpu, 2),
        "peak_gb": round(peak, 3),
        "steps": steps,
        "digest": checksum(tensors),
    }


def main() -> None:
    """`add KIND FILE`, `inference ROOT NETWORK` or `fit ROOT NETWORK OUT`."""
    what, *given = sys.argv[1:]
    if what == "add":
        found = added(given[0], Path(given[1]))
    elif what == "inference":
        found = inference(Path(given[0]), given[1])
    else:
        found = fitted(Path(given[0]), given[1], Path(given[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
