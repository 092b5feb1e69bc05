"""Real photographs without truth: `python -m benchmarks.photographs [--model ict|generic|all]`.

What can be said of them is whether the face lies where its landmarks are, and how far its picture is from
the photograph. The numbers go to `results/photographs.json`; look at the overlays of `--out DIR` too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import hrnfit
from benchmarks import data, results
from benchmarks.accuracy import MODELS
from benchmarks.machine import command, machine, revision

ABOUT = (
    "landmark: root mean square error, px, and as a share of the diagonal of the landmarks; photometric: mean "
    "absolute difference in gamma space, 0..1"
)


def main() -> None:
    """Fit every set with every model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all", help="ict, generic, all, or a model's name")
    parser.add_argument("--out", type=Path, help="folder to save the fits in")
    arguments = parser.parse_args()
    models = MODELS if arguments.model == "all" else (arguments.model,)
    about = {"command": command("photographs"), "machine": machine(), "revision": revision()}
    entries = results.read("photographs")
    for model in models:
        for name, images in sets().items():
            fitted = hrnfit.fit(images, model=data.model_of(model))
            entries[f"{name}/{model}"] = measured(fitted) | about
            results.write("photographs", ABOUT, entries)
            if arguments.out is not None:
                fitted.save(arguments.out / f"{name}_{model}")
    print((results.RESULTS / "photographs.json").read_text(encoding="utf-8"))


def sets() -> dict[str, list[Path]]:
    """The photographs of the data folder, one person each."""
    folder = data.data_folder() / "photos"
    found = {path.stem: [path] for path in sorted(folder.glob("*.jpg"))}
    return found | {"multi_view": sorted((folder / "multi_view").iterdir())}


def measured(fitted: hrnfit.FitResult) -> dict[str, Any]:
    """Per view, what the fit leaves."""
    views: dict[str, Any] = {}
    for name, marks in zip(fitted.view_names, fitted.observed, strict=True):
        left = fitted.view_residuals[name]
        row = {"photometric": round(left["photometric"], 4)}
        if marks is not None and "landmark" in left:
            seen = marks.points[marks.confidence > 0]
            diagonal = float((seen.amax(0) - seen.amin(0)).norm())
            row |= {
                "landmark_px": round(left["landmark"], 2),
                "landmark_share": round(left["landmark"] / diagonal, 4),
            }
        views[name] = row
    return {
        "views": views,
        "seconds": round(fitted.seconds, 1),
        "warnings": list(fitted.warnings),
    }


if __name__ == "__main__":
    main()
