"""Energies that compare a prediction with the views, on CUDA: photometric, landmarks, contour, silhouette.

Each is one kernel with its gradient; the outline of the mesh, which two of them read, is found once per prediction.
First derivatives only. Memory: one gradient as large as what a term reads, and 3 bytes per pixel for the band.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy import landmark, outline_kernels, photometric, pixel_kernels
from hrnfit.energy.contour import VISIBLY_WRONG, MaskEdges
from hrnfit.energy.fused_mean import FusedMean
from hrnfit.energy.occluding import edges_of
from hrnfit.energy.robust_kernels import KINDS
from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.launched import blocks, width_of


def _by_pixel(image: Float[Tensor, "V S S C"], channels: int) -> tuple[Tensor, int]:
    """The image and the distance of its pixels in memory: channels of a wider image are read where they are."""
    stride, size = image.stride(2), image.shape[1]
    if image.stride() == (size * size * stride, size * stride, stride, 1):
        return image, stride
    return image.contiguous(), channels


def photometric_energy(
    image: Float[Tensor, "V S S 3"],
    target: Float[Tensor, "V S S 3"],
    normals: Float[Tensor, "V S S 3"],
    triangle: Int[Tensor, "V S S"],
    masks: Float[Tensor, "V S S"],
    T_cam_world: Float[Tensor, "V 4 4"],
    least_cosine: float,
    kernel: str,
) -> Float[Tensor, ""]:
    """`reduce` of `Photometric`; normals only weigh."""
    target, normals, masks = target.contiguous(), normals.detach().contiguous(), masks.contiguous()
    T, pixels, block = T_cam_world.detach().contiguous(), masks.numel(), width_of(256)
    gamma, floor = photometric.GAMMA, photometric.FLOOR
    image, stride = _by_pixel(image, 3)
    triangle = triangle.contiguous()
    (programs,) = blocks(pixels, block)

    def launch(read: Tensor, grad: Tensor, sums: Tensor) -> None:
        pixel_kernels.photometric[(programs,)](
            read, target, normals, triangle, masks, T, grad, sums[0], sums[1], stride,
            masks[0].numel(), pixels, least_cosine, photometric.VISIBLY_WRONG,
            GAMMA=gamma, FLOOR=floor, STEEP=gamma * floor ** (gamma - 1.0),
            KIND=KINDS[kernel], BLOCK=block,
        )  # fmt: skip

    return FusedMean.apply(image, (2, programs), False, launch)


def landmark_energy(
    predicted: Float[Tensor, "V L 3"],
    observed: Float[Tensor, "V L 2"],
    confidence: Float[Tensor, "V L"],
    mm_per_px: Float[Tensor, "V"],
    weight: Float[Tensor, "L"],
    neighbours: Int[Tensor, "L 2"],
    kernel: str,
) -> Float[Tensor, ""]:
    """`reduce` of `landmark_residuals`. weight: of each point beside its confidence."""
    observed, confidence, mm = (
        observed.contiguous(),
        confidence.contiguous(),
        mm_per_px.contiguous(),
    )
    views, points = confidence.shape

    def launch(read: Tensor, grad: Tensor, sums: Tensor) -> None:
        pixel_kernels.landmarks[(views,)](
            read, observed, confidence, weight, neighbours, mm, grad, sums[0], sums[1], points,
            landmark.VISIBLY_WRONG, landmark.SLIDE,
            KIND=KINDS[kernel], BLOCK=1 << max(points - 1, 0).bit_length(),
        )  # fmt: skip

    return FusedMean.apply(predicted.contiguous(), (2, views), False, launch)


def outline_of(
    points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"], triangle: Int[Tensor, "V S S"]
) -> tuple[Float[Tensor, "V N 4"], Int[Tensor, "2 V S S"]]:
    """The outline (see `outline_kernels`), and planes that mark outer contour points and open ends."""
    views, count, size = len(points), points.shape[1], triangle.shape[-1]
    xyz = points.detach().contiguous()
    tables = kept_with(faces, ("outline", count), lambda: _tables(faces, count))
    outline = xyz.new_zeros(views, count, 4)
    planes = torch.zeros(2, *triangle.shape, dtype=torch.int8, device=points.device)
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


def contour_energy(
    points: Float[Tensor, "V N 3"],
    outline: Float[Tensor, "V N 4"],
    edges: MaskEdges,
    mm_per_px: Float[Tensor, "V"],
    limits: tuple[float, float, float],
    kernel: str,
) -> Float[Tensor, ""]:
    """`reduce` of `NearestContour`. limits: its reach, agreement and pull_in."""
    views, count, size = len(points), points.shape[1], edges.valid.shape[-1]
    point, normal, mm = edges.point.contiguous(), edges.normal.contiguous(), mm_per_px.contiguous()
    valid, block = edges.valid.contiguous().view(torch.int8), width_of(128)
    grid = (*blocks(count, block), views)

    def launch(read: Tensor, grad: Tensor, sums: Tensor) -> None:
        outline_kernels.contour[grid](
            read, outline, point, normal, valid, mm, grad, sums[0], sums[1], count, size,
            VISIBLY_WRONG, *limits, KIND=KINDS[kernel], BLOCK=block,
        )  # fmt: skip

    return FusedMean.apply(points.contiguous(), (2, grid[0] * grid[1]), False, launch)


def silhouette_energy(
    coverage: Float[Tensor, "V S S"],
    masks: Float[Tensor, "V S S"],
    planes: Int[Tensor, "2 V S S"],
    edges: MaskEdges,
    mm_per_px: Float[Tensor, "V"],
    radius: int,
    kernel: str,
) -> Float[Tensor, ""]:
    """`reduce` of `Silhouette` in a band of `radius` px."""
    masks, mm = masks.contiguous(), mm_per_px.contiguous()
    valid, size, pixels = edges.valid.contiguous().view(torch.int8), masks.shape[-1], masks.numel()
    block = width_of(256)
    (programs,) = blocks(pixels, block)
    coverage, stride = _by_pixel(coverage[..., None], 1)
    bits = torch.empty_like(planes[0])
    outline_kernels.widen_rows[(programs,)](planes, bits, size, radius, pixels, BLOCK=block)

    def launch(read: Tensor, grad: Tensor, sums: Tensor) -> None:
        outline_kernels.silhouette[(programs,)](
            read, masks, bits, valid, mm, grad, sums[0], sums[1], stride, size, radius, pixels,
            VISIBLY_WRONG, KIND=KINDS[kernel], BLOCK=block,
        )  # fmt: skip

    return FusedMean.apply(coverage, (2, programs), False, launch)
