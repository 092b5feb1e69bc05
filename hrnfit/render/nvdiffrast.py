"""The renderer through nvdiffrast on CUDA: optional, and under a licence for non-commercial use.

nvdiffrast counts triangles from 1, names barycentrics (u, v) of the first two corners, and reads
clip space, where row 0 of an image is y = -1: pixel (x, y) at depth z becomes
w (2 x / W - 1, 2 y / H - 1, d, 1) with w = z, so pixel centres agree exactly with the other backends.

It clips triangles at the camera plane and does not expect corners that are not finite; the other backends leave both
out. Here such corners are found first, which reads one value on the host, and where there are some, every triangle
gets corners of its own, far outside the image for those left out.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.render.rasterizer import Raster

MISSING = (
    "the renderer 'nvdiffrast' needs the optional package nvdiffrast (NVIDIA, CUDA only, its licence "
    "permits non-commercial use only): pip install --no-build-isolation "
    "git+https://github.com/NVlabs/nvdiffrast; without it take the renderer 'cpu'"
)


class NvdiffrastRasterizer:
    """`Rasterizer` on CUDA, float32."""

    def __init__(self, device: str | torch.device = "cuda") -> None:
        try:
            import nvdiffrast.torch as dr  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(MISSING) from error
        if not torch.cuda.is_available():
            raise ValueError("the renderer 'nvdiffrast' needs a CUDA device, and torch sees none")
        self._dr = dr
        self._context = dr.RasterizeCudaContext(device=device)
        self._topology: tuple[Tensor, int, object] | None = None

    def rasterize(
        self, points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"], height: int, width: int
    ) -> Raster:
        """Nearest triangle per pixel, seen from either side. See `Rasterizer`.

        Triangles with a corner at or behind the camera plane, or not finite, are left out.
        """
        if not len(faces):
            return _empty(points, height, width)
        usable = usable_vertices(points)
        clip, drawn = clip_from_points(sanitized(points, usable), height, width), _int32(faces)
        if not bool(usable.all()):
            clip, drawn = separate_triangles(clip, drawn, usable)
        # Image-space derivatives of barycentrics are not used: no gradient through them.
        out, _ = self._dr.rasterize(self._context, clip, drawn, (height, width), grad_db=False)
        triangle = out[..., 3].detach().to(torch.int32) - 1
        hit = triangle >= 0
        u, v = out[..., 0], out[..., 1]
        barycentric = torch.stack([u, v, 1.0 - u - v], dim=-1) * hit[..., None]
        depth = torch.zeros_like(u)
        with torch.no_grad():
            view = torch.arange(len(points), device=points.device)[:, None, None]
            corner = faces.long()[triangle.clamp_min(0).long()]  # (V, H, W, 3)
            for k in range(3):
                depth += barycentric[..., k] * points[view, corner[..., k], 2]
            depth = torch.where(hit, depth, torch.inf)
        return Raster(triangle=triangle, barycentric=barycentric, depth=depth)

    def interpolate(
        self, attributes: Float[Tensor, "*V N C"], raster: Raster, faces: Int[Tensor, "F 3"]
    ) -> Float[Tensor, "V H W C"]:
        """Corner attributes at the pixels; 0 outside. See `Rasterizer`."""
        if attributes.ndim == 2:
            attributes = attributes[None]
        if not len(faces):
            return attributes.new_zeros(*raster.triangle.shape, attributes.shape[-1])
        out, _ = self._dr.interpolate(attributes.contiguous(), _packed(raster), _int32(faces))
        return out

    def sample_texture(
        self, texture: Float[Tensor, "*V H W C"], uv: Float[Tensor, "V h w 2"]
    ) -> Float[Tensor, "V h w C"]:
        """Bilinear look-up, clamped at the border. See `Rasterizer`."""
        if texture.ndim == 3:
            texture = texture[None]
        return self._dr.texture(
            texture.contiguous(), uv.contiguous(), filter_mode="linear", boundary_mode="clamp"
        )

    def antialias(
        self,
        image: Float[Tensor, "V H W C"],
        raster: Raster,
        points: Float[Tensor, "V N 3"],
        faces: Int[Tensor, "F 3"],
    ) -> Float[Tensor, "V H W C"]:
        """Blend across silhouettes by nvdiffrast's own operation. See `Rasterizer`.

        It looks at the edges of the pixel's own triangle only, so triangles smaller than a pixel
        lose some of their silhouette, which the other backends keep.
        """
        if not len(faces):
            return image
        sane = sanitized(points, usable_vertices(points))  # never of a triangle that is seen
        clip = clip_from_points(sane, image.shape[1], image.shape[2])
        return self._dr.antialias(
            image.contiguous(), _packed(raster).detach(), clip, _int32(faces), self._hash(faces)
        )

    def _hash(self, faces: Tensor) -> object:
        """nvdiffrast's edge table of `faces`, kept for the next call with the same tensor."""
        kept = self._topology
        if kept is None or kept[0] is not faces or kept[1] != faces._version:
            table = self._dr.antialias_construct_topology_hash(_int32(faces))
            self._topology = (faces, faces._version, table)
            return table
        return kept[2]


def usable_vertices(points: Float[Tensor, "V N 3"]) -> Bool[Tensor, "V N"]:
    """Whether a vertex is finite and before the camera: triangles with another one are not drawn."""
    return torch.isfinite(points).all(-1) & (points[..., 2] > 0)


def sanitized(
    points: Float[Tensor, "V N 3"], usable: Bool[Tensor, "V N"]
) -> Float[Tensor, "V N 3"]:
    """The points with harmless values, and no gradient, for vertices that cannot be drawn."""
    return torch.where(
        usable[..., None], points, 1e6
    )  # far: the nearest vertex scales the clip depth


def separate_triangles(
    clip: Float[Tensor, "V N 4"], faces: Int[Tensor, "F 3"], usable: Bool[Tensor, "V N"]
) -> tuple[Float[Tensor, "V M 4"], Int[Tensor, "F 3"]]:
    """Corners of every triangle on their own, M = 3 F, beyond the image's edge where one is not usable."""
    corner = faces.long()
    keep = usable[:, corner].all(-1)[..., None, None]  # (V, F, 1, 1)
    outside = clip.new_tensor([3.0, 3.0, 0.0, 1.0])
    corners = torch.where(keep, clip[:, corner], outside)
    own = torch.arange(3 * len(faces), dtype=torch.int32, device=faces.device).reshape(-1, 3)
    return corners.reshape(len(clip), -1, 4), own


def clip_from_points(
    points: Float[Tensor, "V N 3"], height: int, width: int
) -> Float[Tensor, "V N 4"]:
    """Homogeneous clip coordinates of pixels and depth; row 0 of the image is y = -1.

    The clip depth only orders: 1 - 2 near / z with `near` half the smallest positive depth, in
    -1..1 for all points in front. It is linear in 1 / z, hence on the screen.
    """
    x, y, z = points.unbind(-1)
    ahead = torch.where(z.detach() > 0, z.detach(), torch.inf)
    near = 0.5 * ahead.amin().clamp(1e-6, 1e6)  # stays on the device: no synchronisation
    return torch.stack(
        [(2.0 * x / width - 1.0) * z, (2.0 * y / height - 1.0) * z, z - 2.0 * near, z], -1
    )


def _empty(points: Tensor, height: int, width: int) -> Raster:
    """What is seen of no triangles, of which nvdiffrast has no notion."""
    size = (len(points), height, width)
    return Raster(
        triangle=torch.full(size, -1, dtype=torch.int32, device=points.device),
        barycentric=points.new_zeros(*size, 3),
        depth=points.new_full(size, torch.inf),
    )


def _packed(raster: Raster) -> Tensor:
    """nvdiffrast's own layout: u, v, clip depth over w, triangle + 1.

    Its operations on the packed raster read the depth as an order only, which -1 / depth keeps to
    the last bit; the background is never compared.
    """
    depth = -1.0 / raster.depth.clamp_min(1e-6)
    triangle = (raster.triangle + 1).to(raster.barycentric.dtype)
    return torch.stack(
        [raster.barycentric[..., 0], raster.barycentric[..., 1], depth, triangle], dim=-1
    )


def _int32(faces: Tensor) -> Tensor:
    return faces.to(torch.int32).contiguous()
