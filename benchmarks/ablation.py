"""What each part pays, in mm: `python -m benchmarks.ablation [--case rig3,wild5,synthetic3,single]`.

Every term, level, stage and mechanism off, one at a time, at reduced size. Positive: the error grows
when it is off, so it pays.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import hrnfit
from benchmarks import data, prepared, results
from benchmarks.cases import Case, rig, single_calibrated, synthetic, wild
from benchmarks.machine import command, machine, revision
from benchmarks.measure import mesh_of
from benchmarks.variants import Variant, limited, variants
from hrnfit import Landmarks, load_recipe
from hrnfit.observe.landmarks import LandmarkDetector, MediaPipeDetector

ABOUT = "mm and degrees, region now, points area; `none` in calibrated rigs, else `sim`"
KEPT = ("median", "p95", "normal_mean")
CASES = {
    "rig3": (lambda: rig("246"), "rig"),
    "wild5": (lambda: wild("01234"), "multi_view"),
    "synthetic3": (lambda: synthetic(data.model_of("ict"), 2, same_model=True), "rig"),
    "single": (single_calibrated, "single_view"),
}
"""Name -> how the case is made, and the recipe that is taken apart."""


class Detector:
    """Landmarks of a detector, found once per picture and moved by noise that is the same each run."""

    def __init__(self, inner: LandmarkDetector | None = None) -> None:
        self.noise = 0.0
        self._found: dict[float, Landmarks | None] = {}
        self._inner = inner

    def detect(self, image: torch.Tensor) -> Landmarks | None:
        """As the detector it stands for."""
        key = float(image.double().sum())
        if key not in self._found:
            self._inner = self._inner or MediaPipeDetector()
            self._found[key] = self._inner.detect(image)
        found = self._found[key]
        if found is None or self.noise == 0:
            return found
        height = float(found.points[:, 1].max() - found.points[:, 1].min())
        rng = np.random.default_rng(int(key) % 2**32)
        moved = torch.from_numpy(rng.normal(0, self.noise * height, found.points.shape))
        return replace(found, points=found.points + moved.to(found.points))


def main() -> None:
    """Run the variants that were asked for and are not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="rig3,wild5,synthetic3", help=", ".join(CASES))
    parser.add_argument("--only", default="", help="variants whose name holds one of these words")
    parser.add_argument("--size", type=int, default=256, help="largest window, px")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prepared", help="file of `python -m benchmarks.prepared`")
    arguments = parser.parse_args()
    inner = prepared.load(arguments.prepared)
    logging.basicConfig(level=logging.ERROR)
    for name in arguments.case.split(","):
        run_all(name, arguments.only.split(","), arguments.size, arguments.device, inner)
    print(summary(results.read("ablation")))


def run_all(
    name: str, only: list[str], size: int, device: str, inner: LandmarkDetector | None = None
) -> None:
    """All variants of one case."""
    make, recipe = CASES[name]
    case, detector = make(), Detector(inner)
    for variant in variants(limited(load_recipe(recipe), size)):
        if variant.name != "whole" and not any(word in variant.name for word in only):
            continue
        print(f"{name}: {variant.name}", flush=True)
        measured = measure(case, variant, detector, device)
        entries = results.read("ablation")
        about = {"command": command("ablation"), "machine": machine(), "revision": revision()}
        entry = entries.setdefault(name, {"variants": {}})
        entry |= about | {"case": case.name, "recipe": recipe, "size": size}
        entry["variants"][variant.name] = measured
        results.write("ablation", ABOUT, entries, list(CASES))
        results.put("ablation.md", summary(entries))


def measure(case: Case, variant: Variant, detector: Detector, device: str) -> dict[str, Any]:
    """Scores of mid and fine."""
    detector.noise = variant.landmark_noise
    result = hrnfit.fit(
        case.images,
        case.cameras,
        model=data.model_of("ict"),
        masks=case.masks,
        recipe=variant.recipe,
        device=device,
        detector=detector,
    )
    mode, out = "none" if case.calibrated else "sim", {"seconds": round(result.seconds, 1)}
    for level in ("mid", "fine"):
        scores = data.protocol().evaluate(mesh_of(result.mesh(level)), case.truth, mode, "now")
        out[level] = {key: round(getattr(scores, key), 4) for key in KEPT}
    return out


def summary(entries: Mapping[str, Any]) -> str:
    """One table per case: the error with a thing off, and what it pays."""
    parts = [
        "# Ablation",
        "One thing off at a time. `pays`: by how much the median of mid grows, mm.",
    ]
    for name, entry in entries.items():
        known = entry["variants"]
        whole = known["whole"]
        rows = []
        for variant, found in known.items():
            pays = found["mid"]["median"] - whole["mid"]["median"]
            cells = [f"{found[level][key]:.3f}" for level in ("mid", "fine") for key in KEPT[:2]]
            normals = [f"{found[level]['normal_mean']:.2f}" for level in ("mid", "fine")]
            rows.append((variant, *cells, *normals, "" if variant == "whole" else f"{pays:+.3f}"))
        header = (
            "off", "mid", "mid p95", "fine", "fine p95", "mid normal °", "fine normal °", "pays",
        )  # fmt: skip
        title = f"## {name}: {entry['case']}, recipe {entry['recipe']}, {entry['size']} px"
        parts += [title, results.table(header, rows)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
