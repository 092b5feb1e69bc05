"""Milliseconds of rasterising, interpolating, texturing, shading and antialiasing, forward and backward, by backend.

Five views at 512 px of a head-sized surface of 36k vertices and 72k triangles (the size of BFM), and of ICT's 11k.
What can be recorded as a CUDA graph is measured both ways. Every figure is the median of many runs, between two events
on the device.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed_render import ellipsoid
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.render.backend import rasterizer
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.render.shade import safe_normalize, shade

VIEWS, SIZE, RUNS = 5, 512, 50
RINGS = {"36k vertices": 135, "11k vertices": 75}


@dataclass(frozen=True)
class Scene:
    """Leaves that need gradients, and constants."""

    points: Tensor
    normals: Tensor
    texture: Tensor
    light: Tensor
    uv: Tensor
    faces: Tensor
    weight: Tensor

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.points, self.normals, self.texture, self.light


def scene(rings: int, device: str) -> Scene:
    """Views of the surface from five places, and weights that make a loss of the image."""
    vertices, faces, uv = ellipsoid(rings)
    offset = torch.stack([torch.tensor([9.0 * k - 18, 6.0 * k - 12, 700.0]) for k in range(VIEWS)])
    world = vertices + offset[:, None]
    xy = world[..., :2] * (2.7 * SIZE / world[..., 2:]) + SIZE / 2
    points = torch.cat([xy, world[..., 2:]], -1)
    normals = vertex_normals(world, faces)
    seeded = torch.Generator().manual_seed(0)
    texture = torch.rand(512, 512, 3, generator=seeded)
    light = 0.2 * torch.rand(VIEWS, 9, 3, generator=seeded) + torch.eye(9, 3)
    weight = torch.rand(VIEWS, SIZE, SIZE, 3, generator=seeded)
    moved = [x.to(device) for x in (points, normals, texture, light, uv, faces, weight)]
    for leaf in moved[:4]:
        leaf.requires_grad_()
    return Scene(*moved)


def image(backend: Rasterizer, s: Scene) -> Tensor:
    """The rendering, (V, S, S, 3)."""
    raster = backend.rasterize(s.points, s.faces, SIZE, SIZE)
    albedo = backend.sample_texture(s.texture, backend.interpolate(s.uv, raster, s.faces))
    normals = safe_normalize(backend.interpolate(s.normals, raster, s.faces))
    hit = (raster.triangle >= 0)[..., None].to(albedo.dtype)
    return backend.antialias(hit * albedo * shade(normals, s.light), raster, s.points, s.faces)


def gradients(backend: Rasterizer, s: Scene) -> tuple[Tensor, ...]:
    """Of a weighted sum of the image, in all leaves."""
    return torch.autograd.grad((image(backend, s) * s.weight).sum(), s.leaves)


def milliseconds(work: Callable[[], Any], runs: int = RUNS) -> float:
    """Median over runs, each between two events on the device."""
    for _ in range(5):
        work()
    times = []
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def graph_of(work: Callable[[], Any]) -> Callable[[], None]:
    """The work recorded once; calling it replays."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = work()
    graph.kept = kept  # type: ignore[attr-defined] - the buffers that a replay writes
    return graph.replay


def backend_times(name: str, rings: int) -> dict[str, float]:
    """One backend on one surface: rasterising alone, and everything forward and backward."""
    backend, s = rasterizer(name, "cuda"), scene(rings, "cuda")

    def rasterize() -> Any:
        with torch.no_grad():
            return backend.rasterize(s.points, s.faces, SIZE, SIZE)

    works = {"rasterize": rasterize, "all": lambda: gradients(backend, s)}
    out = {f"{key}, eager": milliseconds(work) for key, work in works.items()}
    if name == "cuda":
        out |= {f"{key}, graph": milliseconds(graph_of(work)) for key, work in works.items()}
    return {key: round(value, 4) for key, value in out.items()}


def measure() -> dict[str, Any]:
    """All backends that are there, on both surfaces."""
    out: dict[str, Any] = {"views": VIEWS, "size": SIZE, "unit": "ms"}
    for surface, rings in RINGS.items():
        for name in ("cuda", "nvdiffrast"):
            try:
                out.setdefault(surface, {})[name] = backend_times(name, rings)
            except ImportError as error:
                out.setdefault(surface, {})[name] = {"missing": str(error)}
    return out
