"""The UV raster of a fixed topology: a constant that carries vertex attributes into texture maps.

Row 0 of a map is v = 0; texel centres lie at (i + 0.5) / size, as in `Rasterizer.sample_texture`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.rows import weighted_rows
from hrnfit.render.rasterizer import Raster


@dataclass(frozen=True)
class UvRaster:
    """Which triangle each texel centre lies in; computed once per topology and size."""

    triangle: Int[Tensor, "H W"]
    """Triangle index, int32; -1 outside the chart."""
    barycentric: Float[Tensor, "H W 3"]
    """Weights of the triangle's corners; 0 outside the chart."""
    faces: Int[Tensor, "F 3"]
    """Triangles of vertices (not of texture vertices), int32."""

    @property
    def mask(self) -> Bool[Tensor, "H W"]:
        """True inside the chart."""
        return kept_with(self.triangle, "mask", lambda: self.triangle >= 0)

    @property
    def corners(self) -> Int[Tensor, "HW 3"]:
        """Vertices of each texel's triangle, int32; 0 outside the chart."""
        return kept_with(self.triangle, "corners", self._corners)

    def _corners(self) -> Int[Tensor, "HW 3"]:
        found = self.faces.long()[self.triangle.clamp_min(0).long().flatten()]
        return torch.where(self.mask.flatten()[:, None], found, 0).int()

    @property
    def weights(self) -> Float[Tensor, "HW 3"]:
        """`barycentric`, a row per texel."""
        return self.barycentric.reshape(-1, 3)

    def to(self, device: str | torch.device) -> UvRaster:
        """A copy on a device."""
        return replace(
            self,
            triangle=self.triangle.to(device),
            barycentric=self.barycentric.to(device),
            faces=self.faces.to(device),
        )


def uv_raster(
    uv: Float[Tensor, "Nuv 2"],
    uv_faces: Int[Tensor, "F 3"],
    faces: Int[Tensor, "F 3"],
    height: int,
    width: int,
) -> UvRaster:
    """Rasterise the chart. Runs on the CPU once; the result goes to the device of `uv`."""
    from hrnfit.render.cpu import CpuRasterizer  # local: numba

    if faces.shape != uv_faces.shape:
        raise ValueError(
            f"uv_faces: expected the shape of faces {tuple(faces.shape)}, "
            f"got {tuple(uv_faces.shape)}"
        )
    flat = uv.detach().cpu().double() * torch.tensor([width, height], dtype=torch.float64)
    points = torch.cat([flat, torch.ones(len(flat), 1, dtype=torch.float64)], 1)
    raster = CpuRasterizer().rasterize(points[None], uv_faces.cpu(), height, width)
    return UvRaster(
        triangle=raster.triangle[0].to(uv.device),
        barycentric=raster.barycentric[0].to(uv.dtype).to(uv.device),
        faces=faces.to(torch.int32).to(uv.device),
    )


def uv_interpolate(
    vertices: Float[Tensor, "*B N C"], raster: UvRaster
) -> Float[Tensor, "*B H W C"]:
    """Vertex attributes at the texels, 0 outside the chart; differentiable in `vertices`."""
    if vertices.device.type != "cpu":
        rows = weighted_rows(vertices, raster.corners, raster.weights.to(vertices.dtype))
        return rows.unflatten(-2, tuple(raster.triangle.shape))
    from hrnfit.render.cpu import CpuRasterizer  # local: numba

    batch = vertices.shape[:-2]
    flat = vertices.reshape(-1, *vertices.shape[-2:])
    n, size = len(flat), raster.triangle.shape
    views = Raster(
        triangle=raster.triangle.expand(n, *size),
        barycentric=raster.barycentric.to(vertices.dtype).expand(n, *size, 3),
        depth=raster.barycentric.new_zeros(()).expand(n, *size),
    )
    out = CpuRasterizer().interpolate(flat, views, raster.faces)
    return out.reshape(*batch, *out.shape[1:])


def dilate(
    texture: Float[Tensor, "H W C"], mask: Bool[Tensor, "H W"], texels: int
) -> Float[Tensor, "H W C"]:
    """Fill texels outside `mask`, up to `texels` away, with the nearest inside, for export.

    Renderers of others filter and compress across the border of the chart.
    """
    from scipy.ndimage import distance_transform_edt  # local: only exports need it

    inside = mask.cpu().numpy()
    if not inside.any():
        return texture.clone()
    found: Any = distance_transform_edt(~inside, return_indices=True)
    distance, nearest = found
    take = torch.from_numpy(np.ravel_multi_index(tuple(nearest), inside.shape)).to(texture.device)
    filled = texture.reshape(-1, texture.shape[-1])[take.reshape(-1)].reshape(texture.shape)
    near = torch.from_numpy(distance <= texels).to(texture.device)
    return torch.where(near[..., None], filled, texture)


def resized_map(image: Float[Tensor, "h w C"], size: int) -> Float[Tensor, "H W C"]:
    """A square UV map at another resolution, bilinear, area-averaged when shrinking."""
    if image.shape[0] == size:
        return image
    moved = torch.nn.functional.interpolate(
        image.movedim(-1, 0)[None],
        size=(size, size),
        mode="bilinear",
        align_corners=False,
        antialias=size < image.shape[0],
    )
    return moved[0].movedim(0, -1).contiguous()  # what is added to it then is, too


def texel_visibility(
    points: Float[Tensor, "V N 3"],
    raster: Raster,
    uv: UvRaster,
    bias: float = 0.5,
) -> Bool[Tensor, "V H W"]:
    """Whether each texel is the nearest surface at the pixel where it projects, and faces it.

    `points`: pixels and depth, mm, of the vertices; `raster`: what the views see. A texel passes
    when it lies at most `bias` mm, plus its own depth slope over one pixel (4 mm at most), behind
    the buffer: the slope keeps grazing skin from shadowing itself.
    """
    with torch.no_grad():
        n_views, height, width = raster.triangle.shape
        at = uv_interpolate(points, uv)  # (V, h, w, 3)
        corners = points[:, uv.faces.long()]  # (V, F, 3, 3)
        e1, e2 = corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
        normal = torch.linalg.cross(e1, e2)  # z: twice the area on the screen, < 0 facing
        steep = normal[..., :2].abs().sum(-1) / normal[..., 2].abs().clamp_min(1e-9)
        steep = steep.clamp_max(4.0)
        facing = normal[..., 2] < 0  # counter-clockwise from outside, y down on the screen
        triangle = uv.triangle.clamp_min(0).long()
        slope, facing = steep[:, triangle], facing[:, triangle]
        column, row = at[..., 0].floor().long(), at[..., 1].floor().long()
        inside = uv.mask & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        pixel = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        buffer = raster.depth.reshape(n_views, -1).gather(1, pixel.reshape(n_views, -1))
        behind = at[..., 2] - buffer.reshape(at.shape[:-1])
        return inside & facing & (at[..., 2] > 0) & (behind <= bias + slope)
