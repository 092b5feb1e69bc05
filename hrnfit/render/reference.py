"""The renderer in plain torch: slow, every derivative by autograd, the oracle of all backends.

Same laws as the compiled backend (its module docstrings state them), written without its loops:
coverage tests every triangle against every pixel, silhouettes walk the mesh in plain Python.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.render.rasterizer import Raster
from hrnfit.render.silhouette import EdgeTopology, edge_topology

CHUNK = 2**22  # triangle-pixel pairs tested at once
LONGEST_WALK = 32


class ReferenceRasterizer:
    """`Rasterizer` on any device, float32 or float64. For tests: its cost is F x H x W."""

    def rasterize(
        self, points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"], height: int, width: int
    ) -> Raster:
        """Nearest triangle per pixel, seen from either side. See `Rasterizer`."""
        views = [_visible(p, faces.long(), height, width) for p in points.detach()]
        triangle = torch.stack(views)
        barycentric = plain_barycentrics(points, triangle, faces)
        with torch.no_grad():
            depth = (barycentric * _corners(points, triangle, faces)[..., 2]).sum(-1)
        return Raster(
            triangle=triangle.to(torch.int32),
            barycentric=barycentric,
            depth=torch.where(triangle >= 0, depth, torch.inf),
        )

    def interpolate(
        self, attributes: Float[Tensor, "*V N C"], raster: Raster, faces: Int[Tensor, "F 3"]
    ) -> Float[Tensor, "V H W C"]:
        """Corner attributes at the pixels; 0 outside. See `Rasterizer`."""
        if attributes.ndim == 2:
            attributes = attributes[None]
        return plain_interpolate(attributes, raster.barycentric, raster.triangle, faces)

    def sample_texture(
        self, texture: Float[Tensor, "*V H W C"], uv: Float[Tensor, "V h w 2"]
    ) -> Float[Tensor, "V h w C"]:
        """Bilinear look-up, clamped at the border. See `Rasterizer`."""
        if texture.ndim == 3:
            texture = texture[None]
        texture = texture.expand(len(uv), -1, -1, -1)
        height, width = texture.shape[1:3]
        x = (uv[..., 0] * width - 0.5).clamp(0, width - 1)
        y = (uv[..., 1] * height - 0.5).clamp(0, height - 1)
        x0, y0 = x.detach().nan_to_num().long(), y.detach().nan_to_num().long()
        x1, y1 = (x0 + 1).clamp_max(width - 1), (y0 + 1).clamp_max(height - 1)
        s, t = (x - x0)[..., None], (y - y0)[..., None]
        view = torch.arange(len(uv), device=uv.device)[:, None, None]
        upper = torch.lerp(texture[view, y0, x0], texture[view, y0, x1], s.expand(*s.shape[:-1], 1))
        lower = torch.lerp(texture[view, y1, x0], texture[view, y1, x1], s)
        return torch.lerp(upper, lower, t)

    def antialias(
        self,
        image: Float[Tensor, "V H W C"],
        raster: Raster,
        points: Float[Tensor, "V N 3"],
        faces: Int[Tensor, "F 3"],
    ) -> Float[Tensor, "V H W C"]:
        """Blend across silhouettes by their sub-pixel position. See `Rasterizer`."""
        edges = edge_topology(faces.cpu().numpy())
        width = image.shape[2]
        blended = []
        for view in range(len(image)):
            pairs = _silhouette_pairs(
                points[view].detach().double().cpu(),
                faces.cpu(),
                raster.triangle[view].cpu(),
                raster.depth[view].cpu(),
                edges,
            ).to(image.device)
            flat = image[view].reshape(-1, image.shape[-1])
            blended.append(plain_blend(flat, points[view], pairs, width).reshape(image.shape[1:]))
        return torch.stack(blended)


def plain_barycentrics(
    points: Float[Tensor, "V N 3"], triangle: Int[Tensor, "V H W"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "V H W 3"]:
    """Perspective-correct weights at the pixel centres in the triangles they see; 0 where none."""
    hit = (triangle >= 0)[..., None]
    corners = _corners(points, triangle, faces)  # (V, H, W, 3 corners, 3)
    corners = torch.where(hit[..., None], corners, 1.0)  # also where triangle 0 is not finite
    height, width = triangle.shape[1:]
    centre = _centres(height, width, points)
    x = corners[..., 0] - centre[..., 0, None]
    y = corners[..., 1] - centre[..., 1, None]
    area = x.roll(-1, -1) * y.roll(-2, -1) - x.roll(-2, -1) * y.roll(-1, -1)
    over_depth = torch.where(hit, area / corners[..., 2], 1.0)
    return torch.where(hit, over_depth / over_depth.sum(-1, keepdim=True), 0.0)


def plain_interpolate(
    attributes: Float[Tensor, "#V N C"],
    barycentric: Float[Tensor, "V H W 3"],
    triangle: Int[Tensor, "V H W"],
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "V H W C"]:
    """Corner attributes, shared or per view, under the pixels' weights; 0 where no triangle is seen."""
    corners = _corners(attributes.expand(len(triangle), -1, -1), triangle, faces)
    return torch.where((triangle >= 0)[..., None], (corners * barycentric[..., None]).sum(-2), 0.0)


def _centres(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel centres (H, W, 2), x before y."""
    options = {"dtype": like.dtype, "device": like.device}
    y, x = torch.meshgrid(
        torch.arange(height, **options) + 0.5, torch.arange(width, **options) + 0.5, indexing="ij"
    )
    return torch.stack([x, y], dim=-1)


def _corners(values: Tensor, triangle: Tensor, faces: Tensor) -> Tensor:
    """(V, N, C) at the corners of each pixel's triangle: (V, H, W, 3, C)."""
    some = torch.cat([faces.long(), faces.new_zeros(1, 3).long()])  # also without any triangle
    corner = some[triangle.long().clamp_min(0)]
    view = torch.arange(len(values), device=values.device)[:, None, None, None]
    return values[view, corner]


def _visible(points: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """Nearest triangle of one view by testing all: (H, W), -1 where none."""
    pixels = _centres(height, width, points.double()).reshape(1, -1, 2)
    best = torch.zeros(pixels.shape[1], dtype=points.dtype, device=points.device)
    triangle = torch.full(best.shape, -1, device=points.device)
    step = max(1, CHUNK // max(pixels.shape[1], 1))
    for start in range(0, len(faces), step):
        part = faces[start : start + step]
        inverse = _inverse_depth(points.double(), part, pixels).to(points.dtype)  # (f, P)
        nearest = inverse.amax(0)
        first = (inverse == nearest).int().argmax(0)  # argmax of 0 and 1 takes the lowest index
        better = nearest > best
        best = torch.where(better, nearest, best)
        triangle = torch.where(better, first + start, triangle)
    return triangle.reshape(height, width)


def _inverse_depth(points: Tensor, faces: Tensor, pixels: Tensor) -> Tensor:
    """1 / depth of each triangle at each pixel, 0 where it does not cover it: (f, P)."""
    p = points[faces]  # (f, 3, 3)
    e1, e2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    area = e1[:, 0] * e2[:, 1] - e2[:, 0] * e1[:, 1]
    usable = (area != 0) & (p[..., 2] > 0).all(-1) & torch.isfinite(p).all(-1).all(-1)
    weights = []
    for k in range(3):
        a, b = faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        flip = torch.where(a > b, 1.0, -1.0) * area.sign()  # from the lower index, inside >= 0
        base, end = points[torch.minimum(a, b)], points[torch.maximum(a, b)]
        d = end - base
        at_x, at_y = pixels[..., 0] - base[:, None, 0], pixels[..., 1] - base[:, None, 1]
        weights.append(flip[:, None] * (at_x * d[:, None, 1] - at_y * d[:, None, 0]))
    inside = usable[:, None] & (weights[0] >= 0) & (weights[1] >= 0) & (weights[2] >= 0)
    scale = 1.0 / area.abs()
    inverse = sum(w * (scale / p[:, k, 2])[:, None] for k, w in enumerate(weights))
    return torch.where(inside, inverse, 0.0)


def _silhouette_pairs(
    points: Tensor, faces: Tensor, triangle: Tensor, depth: Tensor, edges: EdgeTopology
) -> Tensor:
    """Rows of (pixel on the surface, pixel beyond, edge ends a and b, axis), by walking all pairs."""
    p = points[faces.long()]
    e1, e2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    positive = (e1[:, 0] * e2[:, 1] > e2[:, 0] * e1[:, 1]).tolist()
    height, width = triangle.shape
    tri, z = triangle.tolist(), depth.tolist()
    found = []
    for axis in (0, 1):
        for row in range(height - axis):
            for column in range(width - (1 - axis)):
                here, there = (row, column), (row + axis, column + 1 - axis)
                a, b = tri[here[0]][here[1]], tri[there[0]][there[1]]
                if a == b:
                    continue
                if a < 0 or (b >= 0 and z[there[0]][there[1]] < z[here[0]][here[1]]):
                    here, there, a = there, here, b
                edge = _walk(points, edges, positive, a, axis, here, there)
                if edge >= 0:
                    pair = (here[0] * width + here[1], there[0] * width + there[1])
                    found.append((*pair, *edges.vertices[edge].tolist(), axis))
    return torch.tensor(found, dtype=torch.long).reshape(-1, 5)


def _walk(
    points: Tensor,
    edges: EdgeTopology,
    positive: list[bool],
    f: int,
    axis: int,
    here: tuple[int, int],
    there: tuple[int, int],
) -> int:
    """The silhouette edge between two pixel centres on the surface of triangle `f`, or -1."""
    row, along = here[axis] + 0.5, here[1 - axis] + 0.5
    direction = there[1 - axis] - here[1 - axis]
    entry = -1
    for _ in range(LONGEST_WALK):
        leave, reach = -1, -float("inf")
        for e in edges.triangle_edges[f].tolist():
            (sa, ra), (sb, rb) = (
                (float(points[v, axis]), float(points[v, 1 - axis])) for v in edges.vertices[e]
            )
            if e == entry or (ra > row) == (rb > row):
                continue
            distance = direction * (sa + (row - ra) / (rb - ra) * (sb - sa) - along)
            if distance > reach:
                leave, reach, steep = e, distance, (abs(rb - ra), abs(sb - sa))
        if leave < 0 or reach > 1:
            return -1
        one, two = edges.triangles[leave].tolist()
        if two < 0 or (positive[one] == positive[two]) != edges.agree[leave]:
            own_axis = steep[0] >= steep[1] if axis == 0 else steep[0] > steep[1]
            return leave if own_axis else -1
        f, entry = one + two - f, leave
    return -1


def plain_blend(
    image: Float[Tensor, "P C"],
    points: Float[Tensor, "N 3"],
    pairs: Int[Tensor, "K 5"],
    width: int,
) -> Float[Tensor, "P C"]:
    """Blend the pairs of pixels of one view, its image flat: see `_silhouette_pairs` for their rows."""
    p, q, a, b, axis = pairs.unbind(1)
    across = 1 - axis
    row = torch.where(axis == 0, p // width, p % width).to(points.dtype) + 0.5
    start = torch.where(axis == 0, p % width, p // width).to(points.dtype) + 0.5
    step = torch.where(q > p, 1.0, -1.0).to(points.dtype)
    ra, rb, sa, sb = points[a, across], points[b, across], points[a, axis], points[b, axis]
    crossing = sa + (row - ra) / (rb - ra) * (sb - sa)
    weight = 0.5 - (step * (crossing - start)).clamp(0, 1)
    target = torch.where(weight > 0, p, q)
    return image.index_add(0, target, (weight[:, None] * (image[q] - image[p])).to(image.dtype))
