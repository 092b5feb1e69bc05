"""The renderer on a CPU: compiled loops, on all of torch's threads, with exact derivatives.

The laws stand in the modules of the loops (`cpu_kernels`, `cpu_texture_kernels`,
`cpu_silhouette_kernels`), the derivatives in `cpu_autograd`; here arguments are checked.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.render.cpu_autograd import Antialias, Interpolate, Rasterize, SampleTexture, array_of
from hrnfit.render.rasterizer import Raster
from hrnfit.render.silhouette import EdgeTopology, edge_topology

KEPT_MESHES = 8  # positions, texture coordinates, and a few levels of subdivision


def _same_dtype(*tensors: Tensor) -> list[Tensor]:
    """Cast to the widest float type among them."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


class CpuRasterizer:
    """`Rasterizer` on the CPU, float32 or float64."""

    def __init__(self) -> None:
        self._meshes: dict[int, _Mesh] = {}

    def rasterize(
        self, points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"], height: int, width: int
    ) -> Raster:
        """Nearest triangle per pixel, seen from either side. See `Rasterizer`.

        Triangles with a corner at or behind the camera plane, or not finite, are left out.
        """
        check_points(points)
        mesh = self._mesh(faces, points.shape[1])
        triangle, barycentric, depth = Rasterize.apply(points, mesh.faces, height, width)
        return Raster(triangle=triangle, barycentric=barycentric, depth=depth)

    def interpolate(
        self, attributes: Float[Tensor, "*V N C"], raster: Raster, faces: Int[Tensor, "F 3"]
    ) -> Float[Tensor, "V H W C"]:
        """Corner attributes at the pixels; 0 outside. See `Rasterizer`."""
        batched = attributes[None] if attributes.ndim == 2 else attributes
        views = len(raster.triangle)
        if batched.ndim != 3 or len(batched) not in (1, views):
            raise ValueError(
                f"attributes: expected (N, C) or ({views}, N, C), got {tuple(attributes.shape)}"
            )
        mesh = self._mesh(faces, batched.shape[1])
        if raster.triangle.numel() and int(raster.triangle.max()) >= len(faces):
            raise ValueError(
                f"faces: the raster names triangle {int(raster.triangle.max())}, but there are "
                f"{len(faces)}; it was made from another mesh"
            )
        batched, barycentric = _same_dtype(batched, raster.barycentric)
        return Interpolate.apply(batched, barycentric, raster.triangle, mesh.faces)

    def sample_texture(
        self, texture: Float[Tensor, "*V H W C"], uv: Float[Tensor, "V h w 2"]
    ) -> Float[Tensor, "V h w C"]:
        """Bilinear look-up, clamped at the border. See `Rasterizer`."""
        batched = texture[None] if texture.ndim == 3 else texture
        if batched.ndim != 4 or len(batched) not in (1, len(uv)):
            raise ValueError(
                f"texture: expected (H, W, C) or ({len(uv)}, H, W, C), got {tuple(texture.shape)}"
            )
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
        mesh = self._mesh(faces, points.shape[1])
        if mesh.edges is None:
            mesh.edges = edge_topology(array_of(mesh.faces))
        image, points = _same_dtype(image, points)
        return Antialias.apply(image, points, mesh.faces, raster, mesh.edges)

    def _mesh(self, faces: Tensor, n_vertices: int) -> _Mesh:
        """What is known of `faces`, kept for the next call with the same tensor."""
        mesh = self._meshes.get(id(faces))
        if mesh is None or mesh.source is not faces or mesh.version != faces._version:
            while len(self._meshes) >= KEPT_MESHES:
                self._meshes.pop(next(iter(self._meshes)))
            mesh = self._meshes[id(faces)] = _Mesh(faces)
        if mesh.lowest < 0 or mesh.highest >= n_vertices:
            raise ValueError(
                f"faces: indices {mesh.lowest} to {mesh.highest}, outside the {n_vertices} points"
            )
        return mesh


class _Mesh:
    """A topology that was checked once: int32 triangles, index range, and edges when asked for."""

    def __init__(self, faces: Tensor) -> None:
        if faces.ndim != 2 or faces.shape[-1] != 3 or faces.device.type != "cpu":
            raise ValueError(
                f"faces: expected (F, 3) on the CPU, got {tuple(faces.shape)} on {faces.device}"
            )
        self.source, self.version = faces, faces._version
        self.faces = faces.to(torch.int32).contiguous()
        low, high = torch.aminmax(faces) if len(faces) else (0, -1)
        self.lowest, self.highest = int(low), int(high)
        self.edges: EdgeTopology | None = None


def check_points(points: Tensor) -> None:
    """Raise unless compiled loops can trust the tensor: they read memory without asking."""
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(
            f"points: expected (V, N, 3) pixels and depth, got {tuple(points.shape)}; "
            "for one view pass points[None]"
        )
    if points.device.type != "cpu":
        raise ValueError(
            f"the cpu renderer got points on {points.device}; "
            "move them to the CPU or take rasterizer('cuda', device)"
        )
    if points.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"points: expected float32 or float64, got {points.dtype}")
