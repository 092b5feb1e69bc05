"""The surface at texels by Triton kernels. Imported only where a CUDA device is used."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy import surface_kernels
from hrnfit.energy.texels import Texels
from hrnfit.geometry.launched import blocks, width_of


def planar(values: Float[Tensor, "V P *C"]) -> Float[Tensor, "V *C P"]:
    """Texels last, as kernels keep them; of what a kernel made no copy."""
    return values.movedim(1, -1).contiguous()


def surface_at(
    vertices: Float[Tensor, "T N 3"],
    directions: Float[Tensor, "T N 3"],
    texels: Texels,
    heights: Float[Tensor, "K D D"] | None,
    frame: Int[Tensor, "V"],
    shown: Int[Tensor, "V"],
) -> tuple[Float[Tensor, "F P 3"], Float[Tensor, "F P 3"]]:
    """Points and unit normals of texels, of every frame; with heights (mm along the normal) of every view.

    directions: normals of the vertices. frame, shown: the frame and the row of heights that each view shows.
    """
    T, N, _ = vertices.shape
    P, F = len(texels.flat), T if heights is None else len(frame)
    head, normals = (vertices.new_empty(F, P, 3) for _ in range(2))
    block = width_of(128)
    surface_kernels.surface[(*blocks(P, block), F)](
        vertices.contiguous(), directions.contiguous(), texels.corners.contiguous(),
        texels.barycentric.contiguous(), texels.flat,
        vertices if heights is None else heights.contiguous(), frame, shown, head, normals,
        P, N, texels.size, 0 if heights is None else heights.shape[-1],
        RAISED=heights is not None, BLOCK=block,
    )  # fmt: skip
    return head, normals


def slopes_along(
    jacobian: Float[Tensor, "V P 3 3"],
    normals: Float[Tensor, "F P 3"],
    of_view: Int[Tensor, "V"],
    basis: Float[Tensor, "k k"],
    shown: Int[Tensor, "V"],
) -> Float[Tensor, "V P 3 k"]:
    """Derivative of each view's colours along its normals, times the column of `basis` of the row it shows."""
    V, P, k = *jacobian.shape[:2], len(basis)
    out = jacobian.new_empty(V, 3, k, P)
    block = width_of(128)
    surface_kernels.slopes_along[(*blocks(P, block), V)](
        planar(jacobian), normals.contiguous(), of_view, basis.contiguous(), shown, out, P,
        K=k, BLOCK=block,
    )  # fmt: skip
    return out.movedim(-1, 1)
