"""The networks' maps in our own convention: `python -m benchmarks.uv_maps`.

Synthetic subjects of the embedded model before the analyzer's camera, crops of 512 px, maps of 256 texels,
the true texture known. Errors are root mean squares over texels and channels; of textures in sRGB (full
scale 1), of albedos as logarithm of linear RGB. Milliseconds are of the processor, the least of several runs on one thread.
Written to `results/uv_maps.json`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import product
from typing import Any, TypeVar

import torch
from scipy.ndimage import distance_transform_edt

from benchmarks import results
from benchmarks.machine import command, machine, revision
from benchmarks.uv_albedo import deretouching
from benchmarks.uv_fills import fills
from benchmarks.uv_subjects import (
    MAPS,
    MODEL,
    Rows,
    averaged,
    error,
    hidden_by_nothing,
    reduced,
    subjects,
)
from hrnfit.geometry.map_fill import fill
from hrnfit.infer.own_maps import SWEEPS, OwnMaps
from hrnfit.infer.realign import realigned, reverse_flow

ABOUT = (
    "RMS errors: textures sRGB 0..1, albedos log of linear RGB; ms of the processor, least of runs"
)
BANDS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.5), (0.5, 1.0))
DARK = 0.12
"""Albedo, linear, below which there is no skin."""
RUNS = 5
T = TypeVar("T")


def main() -> None:
    """Measure, write and print."""
    torch.set_num_threads(1)
    about = {"command": command("uv_maps"), "machine": machine(), "revision": revision()}
    entries = {
        "sampling": averaged(sampling()),
        "known from": averaged(thresholds()),
        "fill": averaged(filling()),
        "realign": {f"{mm} mm": averaged(realigning(mm)) for mm in (0.8, 2.0, 4.0)},
        "deretouch": deretouching(),
    }
    results.write("uv_maps", ABOUT, {k: {"rows": v} | about for k, v in entries.items()})
    print((results.RESULTS / "uv_maps.json").read_text(encoding="utf-8"))


def timed(step: Callable[[], T]) -> tuple[T, float]:
    """What a step gives, and its least milliseconds of the processor: other work on the machine only waits."""
    out, least = step(), math.inf
    for _ in range(RUNS):
        start = time.process_time()
        out = step()
        least = min(least, 1e3 * (time.process_time() - start))
    return out, least


def sampling() -> list[Rows]:
    """Texture against the truth by the cosine of the view: bilinear, as means of 2 x 2 places, and what
    half a pixel would do."""
    fine, found = OwnMaps.of(MODEL, 2 * len(MAPS.chart.mask)), []
    for subject in subjects():
        image, true = subject.image.movedim(0, -1), subject.texture(MAPS.chart)
        view, ms = timed(lambda s=subject: MAPS.view(s.mid))
        got, ms_sample = timed(lambda v=view, i=image: v.sample(i, MAPS.rasterizer))
        off = MAPS.rasterizer.sample_texture(image, (view.pixels[None] + 0.5) / view.side)[0]
        area = reduced(fine.view(subject.mid).sample(image, fine.rasterizer), len(got))
        ways = {"bilinear": got, "means of 2 x 2": area, "half a pixel off": off}
        visible, cosine = hidden_by_nothing(subject.mid)
        where = {f"cosine {a} to {b}": visible & (cosine > a) & (cosine <= b) for a, b in BANDS}
        where["seen"] = view.seen
        rows: Rows = {"ms": {"view": ms, "sample": ms_sample}}
        for name, at in where.items():
            share = float(at.sum() / MAPS.chart.mask.sum())
            rows[name] = {"share": share} | {k: error(v, true, at) for k, v in ways.items()}
        found.append(rows)
    return found


def thresholds() -> list[Rows]:
    """The filled texture on the chart's skin, by the cosine from which texels are known and whether those
    beside unknown ones are."""
    found = []
    for subject in subjects():
        true, (visible, cosine) = subject.texture(MAPS.chart), hidden_by_nothing(subject.mid)
        texture = MAPS.view(subject.mid).sample(subject.image.movedim(0, -1), MAPS.rasterizer)
        skin = MAPS.chart.mask & (subject.albedo(len(true)).mean(-1) > DARK)
        where = {"all": skin} | {
            f"cosine {a} to {b}": skin & visible & (cosine > a) & (cosine <= b)
            for a, b in BANDS[:2]
        }
        rows: Rows = {}
        for least, depth in product((0.0, 0.05, 0.1, 0.15, 0.2, 0.3), (0, 1)):
            known = visible & (cosine > least)
            away: Any = distance_transform_edt(~(MAPS.chart.mask & ~known).numpy())
            known = known & torch.as_tensor(away > depth)
            filled = fill(texture, known, torch.ones_like(known), sweeps=SWEEPS)
            name = f"above {least}" + (", but those beside others" if depth else "")
            errors = {band: error(filled, true, at) for band, at in where.items()}
            rows[name] = errors | {"known": error(filled, true, known)}
        found.append(rows)
    return found


def filling() -> list[Rows]:
    """Every fill where the crop does not show the chart, and of that on what is not as dark as a mouth's
    inside, which no fill can know of."""
    found = []
    for subject in subjects():
        view, true = MAPS.view(subject.mid), subject.texture(MAPS.chart)
        texture = view.sample(subject.image.movedim(0, -1), MAPS.rasterizer)
        texture = torch.where(view.seen[..., None], texture, torch.zeros_like(texture))
        holes = MAPS.chart.mask & ~view.seen
        skin = holes & (subject.albedo(len(holes)).mean(-1) > DARK)
        rows: Rows = {}
        for name, way in fills(MAPS.chart.mask).items():
            filled, ms = timed(lambda w=way, t=texture, v=view: w(t, v.seen))
            errors = {"error": error(filled, true, holes), "on skin": error(filled, true, skin)}
            rows[name] = errors | {"ms": ms}
        found.append(rows)
    return found


def realigning(deformation: float) -> list[Rows]:
    """The texture on the deformed mesh, by looking at the picture again and by the flow; errors on what
    the deformed mesh shows, and where the flow is defined."""
    found = []
    for subject in subjects(deformation):
        true = subject.texture(MAPS.chart)
        before, after = MAPS.view(subject.coarse), MAPS.view(subject.mid)
        seen = after.seen
        stale = MAPS.texture(subject.image, subject.coarse)
        again, ms = timed(lambda s=subject: MAPS.texture(s.image, s.mid))
        again = again.movedim(0, -1)
        moved = (after.pixels - before.pixels)[seen].square().sum(-1).mean().sqrt()
        rows: Rows = {
            "moved, px": {"rms": float(moved)},
            "not re-aligned": {"error": error(stale.movedim(0, -1), true, seen)},
            "sampled again": {"error": error(again, true, seen), "ms": ms},
        }
        ways = {"first order, any miss": (1, math.inf), "first order": (1, 0.05)}
        ways |= {f"{n} rounds": (n, 0.05) for n in (2, 3, 6, 12)}
        for name, (rounds, miss) in ways.items():
            flow, ms = timed(lambda r=rounds, m=miss, b=before, a=after: reverse_flow(b, a, r, m))
            warped, more = timed(lambda t=stale, f=flow: realigned(t, f, MAPS.rasterizer))
            warped = warped.movedim(0, -1)
            rows[name] = {
                "error": error(warped, true, seen),
                "where defined": error(warped, true, flow.defined),
                "sampled again there": error(again, true, flow.defined),
                "undefined share": 1.0 - float(flow.defined.sum() / seen.sum()),
                "ms": ms + more,
                "ms of the flow": ms,
            }
        found.append(rows)
    return found


if __name__ == "__main__":
    main()
