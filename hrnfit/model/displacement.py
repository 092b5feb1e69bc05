"""The fine level: a displacement map in UV, mm along the normals of the mid mesh (HRN, sec. 3.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.check import check_shape
from hrnfit.geometry.mesh import distinct_pairs
from hrnfit.model.deformation import TAPS, Kernel


def sample_map(
    image: Float[Tensor, "H W"], uv: Float[Tensor, "P 2"], kernel: Kernel = "bilinear"
) -> Float[Tensor, "P"]:
    """Values of a map at UV positions, texel centres at (i + 0.5) / size, borders repeated.

    `cubic` is the B-spline: it smooths a little, and its result has continuous curvature.
    """
    check_shape("map", image, ("H", "W"), "pass one channel")
    if image.shape[0] != image.shape[1]:
        raise ValueError(f"map: expected as many rows as columns, got {tuple(image.shape)}")
    texels, weights = TAPS[kernel](uv.to(image), image.shape[0])
    return (image.flatten()[texels] * weights).sum(dim=1)


def displace(
    vertices: Float[Tensor, "N 3"],
    normals: Float[Tensor, "N 3"],
    displacement: Float[Tensor, "H W"],
    uv: Float[Tensor, "Nuv 2"],
    faces: Int[Tensor, "F 3"],
    uv_faces: Int[Tensor, "F 3"],
    kernel: Kernel = "bilinear",
) -> Float[Tensor, "N 3"]:
    """Vertices moved along their unit normals by the map, mm; a seam vertex by the mean of its places.

    Give a mesh subdivided to the map's resolution: detail finer than its edges is lost.
    """
    check_shape("normals", normals, (len(vertices), 3))
    amount = vertex_values(sample_map(displacement, uv, kernel), faces, uv_faces, len(vertices))
    return vertices + amount[:, None] * normals


def vertex_values(
    values: Float[Tensor, "Nuv"],
    faces: Int[Tensor, "F 3"],
    uv_faces: Int[Tensor, "F 3"],
    n_vertices: int,
) -> Float[Tensor, "N"]:
    """Values at the chart's points, as the mean over the places of each vertex."""
    pairs, _ = distinct_pairs(
        torch.stack([faces.long().flatten(), uv_faces.long().flatten()], dim=1)
    )
    total = values.new_zeros(n_vertices).index_add(0, pairs[:, 0], values[pairs[:, 1]])
    return total / torch.bincount(pairs[:, 0], minlength=n_vertices).clamp_min(1).to(values)
