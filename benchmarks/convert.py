"""Errors (mm) and seconds of carrying a fit over to another model: `python -m benchmarks.convert`.

A quick fit of three views of the rig with ICT is carried to the embedded model and back, one with the
embedded model to ICT. The numbers go to `results/convert.json`. `--home DIR` keeps the fits and the correspondences of a run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import hrnfit
from benchmarks import data, results
from benchmarks.cases import rig
from benchmarks.machine import command, machine, revision
from hrnfit.transfer.cache import cached_correspondence
from hrnfit.transfer.face_mesh import mean_face

ABOUT = "mm and seconds; distances of what both faces show, both ways"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", default="246")
    parser.add_argument("--recipe", default="preview")
    parser.add_argument("--home", type=Path, help="folder of fits and correspondences to reuse")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = arguments.home or Path(temporary)
        os.environ["HRNFIT_HOME"] = str(home / "home")
        about = {"command": command("convert"), "machine": machine(), "revision": revision()}
        found = measured(home, arguments.cameras, arguments.recipe)
        results.write("convert", ABOUT, {name: row | about for name, row in found.items()})
    print((results.RESULTS / "convert.json").read_text(encoding="utf-8"))


def measured(home: Path, cameras: str, recipe: str) -> dict[str, Any]:
    """Every direction, and how far the way there and back leads away."""
    ict, generic = data.data_folder() / "ict" / "ict_facehead_f16.npz", Path("generic")
    fits = {
        n: fit_of(home, n, str(m), cameras, recipe) for n, m in (("ict", ict), ("generic", generic))
    }
    found = {
        "ict to generic": converted(fits["ict"], "generic", home / "ict_generic"),
        "generic to ict": converted(fits["generic"], str(ict), home / "generic_ict"),
        "ict to generic to ict": converted(
            home / "ict_generic", str(ict), home / "ict_generic_ict"
        ),
    }
    return {**found, "loop of the means": loop()}


def fit_of(home: Path, name: str, model: str, cameras: str, recipe: str) -> Path:
    """Folder of a fit to the rig, made when it is not there."""
    folder = home / f"fit_{name}_{cameras}_{recipe}"
    if not (folder / "result.json").is_file():
        case = rig(cameras)
        fitted = hrnfit.fit(case.images, case.cameras, model=model, recipe=recipe, masks=case.masks)
        fitted.save(folder)
    return folder


def converted(source: Path, to: str, out: Path) -> dict[str, Any]:
    """What a conversion says of itself, and the seconds of saving it."""
    cpu = time.process_time()
    conversion = hrnfit.convert(source, to)
    seconds = {"convert": conversion.seconds, "cpu": time.process_time() - cpu}
    began = time.perf_counter()
    conversion.save(out)
    seconds["save"] = time.perf_counter() - began
    document = conversion.document()
    kept = ("errors", "model_fit_errors", "share_without_counterpart", "correspondence_cached")
    return {"seconds": seconds} | {key: document[key] for key in kept}


def loop() -> dict[str, Any]:
    """Vertices of ICT's mean carried to the embedded model and back: how far they slide, mm.

    Only ICT's ears have no like there; their vertices are counted apart.
    """
    ict, generic = (mean_face(data.model_of(name)) for name in ("ict", "generic"))
    there, _ = cached_correspondence(ict, generic)
    back, _ = cached_correspondence(generic, ict)
    corners = generic.faces[there.triangles.clamp_min(0).long()].long()
    places = (back.registered[corners] * there.barycentric[..., None]).sum(1)
    valid = there.valid & back.valid[corners].all(1)
    off = (places - ict.vertices).norm(dim=1)
    parts = {"without ears": valid & ~ict.regions["ears"], "ears": valid & ict.regions["ears"]}
    quantiles = torch.tensor([0.5, 0.95, 1.0])
    return {
        name: dict(
            zip(("median", "p95", "max"), off[mask].quantile(quantiles).tolist(), strict=True)
        )
        for name, mask in parts.items()
    }


if __name__ == "__main__":
    main()
