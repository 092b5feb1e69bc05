"""Energies that compare a prediction with the views, on CUDA: photometric, landmarks, contour, silhouette.

Those of the image are one kernel with their gradient, and so is each other one; the outline of the mesh, which two of
them read, is found once per prediction. First derivatives only. Memory: one gradient as large as what is read, and
5 bits per pixel for the band.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.energy import landmark, mean_kernels, outline_kernels, photometric, pixel_kernels
from hrnfit.energy.contour import VISIBLY_WRONG, MaskEdges
from hrnfit.energy.fused_total import Group, Weighted, shared
from hrnfit.energy.occluding import edges_of
from hrnfit.energy.robust_kernels import KINDS
from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.launched import blocks, width_of


@dataclass(frozen=True)
class Photographed:
    """What a rendering is compared with in colour."""

    images: Float[Tensor, "V S S 3"]
    normals: Float[Tensor, "V S S 3"]
    """Of the surface that is seen, world; they only weigh."""
    triangle: Int[Tensor, "V S S"]
    T_cam_world: Float[Tensor, "V 4 4"]
    least_cosine: float


@dataclass(frozen=True)
class Outlined:
    """What a rendering's coverage is compared with."""

    band: Int[Tensor, "V S W"]
    """See `outline_band`."""
    valid: Bool[Tensor, "V S S"]
    """Where the nearest edge of the mask is known."""
    mm_per_px: Float[Tensor, "V"]
    radius: int
    """Of the band, px."""


def seen_group(
    image: Float[Tensor, "V S S C"],
    masks: Float[Tensor, "V S S"],
    colour: tuple[Weighted, Photographed] | None,
    coverage: tuple[Weighted, Outlined] | None,
) -> Group:
    """`reduce` of `Photometric` and of `Silhouette`, one of them at least. image: colour and coverage; without
    `colour` coverage alone. What it is compared with is read in the image's dtype."""
    image, block = image.contiguous(), width_of(128)
    masks = masks.to(image.dtype).contiguous()
    channels, size = image.shape[-1], masks.shape[-1]
    asked = [x[0] for x in (colour, coverage) if x is not None]
    kinds = [-1 if x is None else KINDS[x[0].kernel] for x in (colour, coverage)]
    grid = (*blocks(size * size, block), len(masks))
    target, normals, triangle, T = _compared(colour, masks)
    band, valid, mm, radius = _counted(coverage, masks)
    least = 0.0 if colour is None else colour[1].least_cosine
    gamma, floor = photometric.GAMMA, photometric.FLOOR

    def launch(grad: Tensor, sums: Tensor) -> None:
        pixel_kernels.seen_energies[grid](
            image, target, normals, triangle, masks, T, band, valid, mm, grad,
            sums[0], sums[-1], size * size, size, least, photometric.VISIBLY_WRONG,
            VISIBLY_WRONG, 2.0 * radius + 1.0, GAMMA=gamma, FLOOR=floor,
            STEEP=gamma * floor ** (gamma - 1.0), COLOUR=kinds[0], COVERAGE=kinds[1],
            CHANNELS=channels, BLOCK=block,
        )  # fmt: skip

    return Group(
        terms=tuple(asked),
        read=image,
        parts=grid[0] * grid[1],
        weighed=(True,) * len(asked),
        gradients=lambda: torch.empty_like(image),
        launch=launch,
        spread=shared if channels == 1 else _by_channel(colour is not None, coverage is not None),
    )


def _by_channel(colour: bool, coverage: bool) -> Callable[[Tensor, Tensor, Tensor, Tensor], None]:
    """`Group.spread` of four channels, of which the first three belong to one term and the last to another."""

    def spread(grad: Tensor, by_total: Tensor, shares: Tensor, out: Tensor) -> None:
        pixels, block = out.numel() // 4, width_of(256)
        mean_kernels.scale_pixels[blocks(pixels, block)](
            grad, by_total, shares, shares[-1:], out, pixels,
            COLOUR=colour, COVERAGE=coverage, BLOCK=block,
        )  # fmt: skip

    return spread


def _compared(colour: tuple[Weighted, Photographed] | None, unread: Tensor) -> tuple[Tensor, ...]:
    """What the kernel reads for colours: images, normals, triangles, cameras."""
    if colour is None:
        return (unread,) * 4
    seen = colour[1]
    images, normals, T = (
        # a variable of a kernel has one type: with floats of two it would not compile
        x.detach().to(unread.dtype).contiguous()
        for x in (seen.images, seen.normals, seen.T_cam_world)
    )
    return images, normals, seen.triangle.contiguous(), T


def _counted(
    coverage: tuple[Weighted, Outlined] | None, unread: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    """What the kernel reads for the coverage: band, known edges, width of a pixel; and the band's radius."""
    if coverage is None:
        return unread, unread, unread, 0
    line = coverage[1]
    valid = line.valid.contiguous().view(torch.int8)
    return line.band, valid, line.mm_per_px.to(unread.dtype).contiguous(), line.radius


def pixel_widths(
    points: Float[Tensor, "V N 3"], K: Float[Tensor, "V 3 3"], log_focal: Float[Tensor, "V"]
) -> Float[Tensor, "V"]:
    """Width of a pixel at the mean depth of each view, mm; a constant."""
    xyz, K, focal = (x.detach().contiguous() for x in (points, K, log_focal))
    out = xyz.new_empty(len(xyz))
    outline_kernels.pixel_widths[(len(xyz),)](
        xyz, K, focal, out, xyz.shape[1], BLOCK=2048, num_warps=8
    )
    return out


def landmark_group(
    term: Weighted,
    predicted: Float[Tensor, "V L 3"],
    observed: Float[Tensor, "V L 2"],
    confidence: Float[Tensor, "V L"],
    mm_per_px: Float[Tensor, "V"],
    weight: Float[Tensor, "L"],
    neighbours: Int[Tensor, "L 2"],
) -> Group:
    """`reduce` of `landmark_residuals`. weight: of each point beside its confidence."""
    given = (predicted, observed, confidence, mm_per_px)
    read, observed, confidence, mm = (x.contiguous() for x in given)
    views, points = confidence.shape

    def launch(grad: Tensor, sums: Tensor) -> None:
        pixel_kernels.landmarks[(views,)](
            read, observed, confidence, weight, neighbours, mm, grad, sums[0, 0], sums[0, 1],
            points,
            landmark.VISIBLY_WRONG, landmark.SLIDE,
            KIND=KINDS[term.kernel], BLOCK=1 << max(points - 1, 0).bit_length(),
        )  # fmt: skip

    return _single(term, read, views, launch)


def _single(
    term: Weighted, read: Tensor, parts: int, launch: Callable[[Tensor, Tensor], None]
) -> Group:
    """One weighed energy that is alone in reading its tensor."""
    return Group((term,), read, parts, (True,), lambda: torch.empty_like(read), launch, shared)


def outline_of(
    points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"], triangle: Int[Tensor, "V S S"]
) -> tuple[Float[Tensor, "V N 4"], Int[Tensor, "2 V S W"]]:
    """The outline (see `outline_kernels`), and planes that mark outer contour points and open ends, a bit each."""
    views, count, size = len(points), points.shape[1], triangle.shape[-1]
    xyz = points.detach().contiguous()
    tables = kept_with(faces, ("outline", count), lambda: _tables(faces, count))
    outline = xyz.new_zeros(views, count, 4)
    words = (2, views, size, -(-size // 32))
    planes = torch.zeros(words, dtype=torch.int32, device=points.device)
    block, edges = width_of(128), len(tables[0])
    if edges:
        outline_kernels.turning_edges[(*blocks(edges, block), views)](
            xyz, faces.contiguous(), *tables[:3], outline, count, edges, BLOCK=block
        )
    outline_kernels.finish_outline[(*blocks(count, block), views)](
        xyz, triangle.contiguous(), outline, tables[3], planes, count, size, 2.0, BLOCK=block
    )
    return outline, planes


def _tables(faces: Tensor, vertices: int) -> tuple[Tensor, ...]:
    """Ends, triangles and opposite corners of the inner edges, and which vertices lie on open ones; int32."""
    edges = edges_of(faces)
    ends = torch.zeros(vertices, dtype=torch.int32, device=faces.device)
    ends[edges.open.flatten()] = 1
    inner = (edges.inner, edges.inner_faces, edges.inner_opposite)
    return (*(x.int().contiguous() for x in inner), ends)


def outline_band(planes: Int[Tensor, "2 V S W"], radius: int) -> Int[Tensor, "V S W"]:
    """Marks, a bit a pixel, of the band of `radius` px around the outer contour, without what is near an open end."""
    size, words = planes.shape[2:]
    tall, band, block = torch.empty_like(planes), torch.empty_like(planes[0]), width_of(128)
    outline_kernels.widen_columns[blocks(planes.numel(), block)](
        planes, tall, size, words, planes.numel(), radius, BLOCK=block
    )
    outline_kernels.band_of[blocks(band.numel(), block)](
        tall, band, words, band.numel(), radius, BLOCK=block
    )
    return band


def contour_group(
    term: Weighted,
    points: Float[Tensor, "V N 3"],
    outline: Float[Tensor, "V N 4"],
    edges: MaskEdges,
    mm_per_px: Float[Tensor, "V"],
    limits: tuple[float, float, float],
) -> Group:
    """`reduce` of `NearestContour`. limits: its reach, agreement and pull_in."""
    views, count, size = len(points), points.shape[1], edges.valid.shape[-1]
    point, normal, mm = edges.point.contiguous(), edges.normal.contiguous(), mm_per_px.contiguous()
    valid, block = edges.valid.contiguous().view(torch.int8), width_of(128)
    read, grid = points.contiguous(), (*blocks(count, block), views)

    def launch(grad: Tensor, sums: Tensor) -> None:
        outline_kernels.contour[grid](
            read, outline, point, normal, valid, mm, grad, sums[0, 0], sums[0, 1], count, size,
            VISIBLY_WRONG, *limits, KIND=KINDS[term.kernel], BLOCK=block,
        )  # fmt: skip

    return _single(term, read, grid[0] * grid[1], launch)
