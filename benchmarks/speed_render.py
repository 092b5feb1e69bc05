"""Milliseconds of the renderer, forward and backward: `python -m benchmarks.speed_render`.

A bumpy ellipsoid of 12k or 36k vertices fills about half of each view, as a head does. Every figure is the
least of several runs: other work on the machine only adds.
"""

# Every closure is called within its own round of the loop.
# ruff: noqa: B023
from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hrnfit.geometry.mesh import vertex_normals
from hrnfit.render.backend import rasterizer
from hrnfit.render.shade import safe_normalize, shade

RESULT = Path(__file__).parent / "results" / "speed_render.json"
SIZES, VIEWS, RINGS, RUNS = (256, 512), (1, 3, 5), (78, 135), 8


def ellipsoid(rings: int) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices, mm, faces and UV of a surface of rings x 2 rings vertices."""
    polar = torch.linspace(0.02, math.pi - 0.02, rings)
    azimuth = torch.arange(2 * rings) * (math.pi / rings)
    t, p = torch.meshgrid(polar, azimuth, indexing="ij")
    unit = torch.stack([t.sin() * p.cos(), t.cos(), t.sin() * p.sin()], -1)
    bump = 1 + 0.03 * torch.sin(9 * t) * torch.cos(7 * p)
    vertices = unit * bump[..., None] * torch.tensor([75.0, 105.0, 85.0])
    i, j = torch.arange(rings - 1)[:, None], torch.arange(2 * rings)[None]
    a, b = i * 2 * rings + j, i * 2 * rings + (j + 1) % (2 * rings)
    c, d = a + 2 * rings, b + 2 * rings
    faces = torch.cat(
        [torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([b, d, c], -1).reshape(-1, 3)]
    )
    uv = torch.stack([p / (2 * math.pi), t / math.pi], -1)
    return vertices.reshape(-1, 3), faces.int(), uv.reshape(-1, 2)


def measure(rings: int, size: int, views: int, device: str) -> dict[str, float | int]:
    """Least milliseconds of each step."""
    least: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Tensor]) -> Tensor:
        start = time.perf_counter()
        out = step()
        if device != "cpu":
            torch.cuda.synchronize()
        least[name] = min(least.get(name, math.inf), 1e3 * (time.perf_counter() - start))
        return out

    vertices, faces, uv = (x.to(device) for x in ellipsoid(rings))
    vertices.requires_grad_()
    texture = torch.rand(512, 512, 3, device=device, requires_grad=True)
    light = torch.rand(views, 9, 3, device=device, requires_grad=True)
    backend = rasterizer("auto", device)
    offset = torch.stack([torch.tensor([0.3 * k, 0.2 * k, 700.0]) for k in range(views)]).to(device)
    for _ in range(RUNS):
        world = vertices + offset[:, None]
        xy = world[..., :2] * (2.7 * size / world[..., 2:]) + size / 2
        points = torch.cat([xy, world[..., 2:]], -1)
        start = time.perf_counter()
        normals = timed("vertex_normals", lambda: vertex_normals(world, faces))
        raster = None

        def rasterize() -> Tensor:
            nonlocal raster
            raster = backend.rasterize(points, faces, size, size)
            return raster.barycentric

        timed("rasterize", rasterize)
        at = timed("interpolate_uv", lambda: backend.interpolate(uv, raster, faces))
        n = timed("interpolate_normals", lambda: backend.interpolate(normals, raster, faces))
        albedo = timed("sample_texture", lambda: backend.sample_texture(texture, at))
        lit = timed("shade", lambda: albedo * shade(safe_normalize(n), light))
        image = timed("antialias", lambda: backend.antialias(lit, raster, points, faces))
        weight = torch.rand_like(image) * (raster.triangle >= 0)[..., None]

        def backward() -> Tensor:
            (image * weight).sum().backward()
            return image

        timed("backward_all", backward)
        total = 1e3 * (time.perf_counter() - start)
        least["iteration"] = min(least.get("iteration", math.inf), total)
    case = {"vertices": len(vertices), "triangles": len(faces), "size": size, "views": views}
    return case | {name: round(value, 2) for name, value in least.items()}


def machine(device: str) -> dict[str, str | int]:
    """What the figures depend on."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            x.split(":")[1].strip() for x in info.read_text().splitlines() if "model name" in x
        ]
        model = names[0] if names else model
    named: dict[str, str | int] = {"cpu": model, "cores": os.cpu_count() or 1}
    if device != "cpu":
        named["gpu"] = torch.cuda.get_device_name()
    return named | {
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Measure all cases and write the JSON."""
    device = os.environ.get("HRNFIT_DEVICE", "cpu")
    cases = []
    for rings in RINGS:
        for size in SIZES:
            for views in VIEWS:
                cases.append(measure(rings, size, views, device))
                print(json.dumps(cases[-1]))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    report = {"unit": "ms, least of runs", "runs": RUNS, "machine": machine(device), "cases": cases}
    RESULT.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
