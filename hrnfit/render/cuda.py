"""The renderer on CUDA: Triton kernels, under hrnfit's own licence.

The laws stand in the modules of the kernels (`cuda_kernels`, `cuda_pixel_kernels`, `cuda_silhouette_kernels`), the
derivatives in `cuda_autograd`; here arguments are checked. Every operation is a fixed number of launches, whatever
is seen, and reads nothing on the host, so it can be recorded as a CUDA graph; only the first call with a faces
tensor looks at it, and that comes before a recording.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.launched import INTERPRETED
from hrnfit.render.cuda_autograd import Interpolate, Rasterize, SampleTexture
from hrnfit.render.cuda_silhouette import Antialias, edge_tables
from hrnfit.render.rasterizer import Raster


class CudaRasterizer:
    """`Rasterizer` on CUDA, float32 or float64; depths are ordered in float32."""

    def rasterize(
        self, points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"], height: int, width: int
    ) -> Raster:
        """Nearest triangle per pixel, seen from either side. See `Rasterizer`.

        Triangles with a corner at or behind the camera plane, or not finite, are left out.
        """
        check_points(points)
        mesh = mesh_of(faces, points)
        out = Rasterize.apply(points.contiguous(), mesh.faces, height, width)
        triangle, barycentric, depth = out
        return Raster(triangle=triangle, barycentric=barycentric, depth=depth)

    def interpolate(
        self, attributes: Float[Tensor, "*V N C"], raster: Raster, faces: Int[Tensor, "F 3"]
    ) -> Float[Tensor, "V H W C"]:
        """Corner attributes at the pixels; 0 outside. See `Rasterizer`.

        A raster of another mesh is not noticed: triangles that `faces` does not have count as background.
        """
        batched = attributes[None] if attributes.ndim == 2 else attributes
        views = len(raster.triangle)
        if batched.ndim != 3 or len(batched) not in (1, views):
            raise ValueError(
                f"attributes: expected (N, C) or ({views}, N, C), got {tuple(attributes.shape)}"
            )
        mesh = mesh_of(faces, batched)
        triangle, barycentric = raster.triangle, raster.barycentric
        shared = triangle.stride(0) == 0 and barycentric.stride(0) == 0
        if (
            shared and not barycentric.requires_grad
        ):  # an expanded raster is not copied for each view
            triangle, barycentric = triangle[:1], barycentric[:1]
        batched, barycentric = _same_dtype(batched, barycentric)
        return Interpolate.apply(batched, barycentric, triangle.contiguous(), mesh.faces, views)

    def sample_texture(
        self, texture: Float[Tensor, "*V H W C"], uv: Float[Tensor, "V h w 2"]
    ) -> Float[Tensor, "V h w C"]:
        """Bilinear look-up, clamped at the border. See `Rasterizer`."""
        batched = texture[None] if texture.ndim == 3 else texture
        if batched.ndim != 4 or len(batched) not in (1, len(uv)):
            raise ValueError(
                f"texture: expected (H, W, C) or ({len(uv)}, H, W, C), got {tuple(texture.shape)}"
            )
        check_device(batched)
        batched, uv = _same_dtype(batched, uv)
        return SampleTexture.apply(batched, uv)

    def antialias(
        self,
        image: Float[Tensor, "V H W C"],
        raster: Raster,
        points: Float[Tensor, "V N 3"],
        faces: Int[Tensor, "F 3"],
    ) -> Float[Tensor, "V H W C"]:
        """Blend across silhouettes by their sub-pixel position. See `Rasterizer`."""
        check_points(points)
        mesh = mesh_of(faces, points)
        edges = kept_with(
            faces, ("silhouette edges", mesh.version), partial(edge_tables, mesh.faces)
        )
        image, points, depth = _same_dtype(image, points, raster.depth)
        return Antialias.apply(
            image, points, mesh.faces, raster.triangle.contiguous(), depth, edges
        )


def _same_dtype(*tensors: Tensor) -> list[Tensor]:
    """Cast to the widest float type among them, contiguous."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype).contiguous() for tensor in tensors]


class _Mesh:
    """A topology that was checked once: int32 triangles and the range of their indices."""

    def __init__(self, faces: Tensor) -> None:
        if faces.ndim != 2 or faces.shape[-1] != 3:
            raise ValueError(f"faces: expected (F, 3), got {tuple(faces.shape)}")
        self.version = faces._version
        # never `faces` itself: the table must not keep its key alive
        self.faces = faces.detach().to(torch.int32).contiguous()
        low, high = torch.stack(torch.aminmax(faces)).tolist() if len(faces) else (0, -1)
        self.lowest, self.highest = int(low), int(high)


def mesh_of(faces: Tensor, values: Tensor) -> _Mesh:
    """What is known of `faces`, for values (V, N, C) at its vertices; looked at once per tensor, and kept as long
    as that lives: recorded graphs read it."""
    check_device(values)
    if faces.device != values.device:
        raise ValueError(f"faces: on {faces.device}, but the values on {values.device}; move one")
    mesh = kept_with(faces, ("triangles", faces._version), lambda: _Mesh(faces))
    if mesh.lowest < 0 or mesh.highest >= values.shape[1]:
        raise ValueError(
            f"faces: indices {mesh.lowest} to {mesh.highest}, outside the {values.shape[1]} points"
        )
    return mesh


def check_device(values: Tensor) -> None:
    """Raise unless kernels can run where the values are."""
    if values.device.type != "cuda" and not INTERPRETED:
        raise ValueError(
            f"the cuda renderer got values on {values.device}; "
            "move them to a CUDA device or take rasterizer('cpu')"
        )


def check_points(points: Tensor) -> None:
    """Raise unless kernels can trust the tensor: they read memory without asking."""
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(
            f"points: expected (V, N, 3) pixels and depth, got {tuple(points.shape)}; "
            "for one view pass points[None]"
        )
    if points.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"points: expected float32 or float64, got {points.dtype}")
    check_device(points)
