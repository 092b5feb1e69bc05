"""What a model and a state predict in every view: geometry, raster and rendering, each once, lazily.

A term asks for what it needs and pays for nothing else: landmark terms never rasterise, and all
image terms share one rendering. Level k adds its geometry to that of level k - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.geometry.rows import project_frames, weighted_rows
from hrnfit.lazy import Fixed, lazy
from hrnfit.model.deformation import DeformationOperator
from hrnfit.model.face_model import FaceModel
from hrnfit.model.landmark_rows import landmark_rows
from hrnfit.observe.observation import WorkingViews
from hrnfit.render.detail import view_detail
from hrnfit.render.rasterizer import Raster, Rasterizer
from hrnfit.render.shade import safe_normalize, shade
from hrnfit.render.texture import UvRaster, resized_map, uv_interpolate
from hrnfit.state import FaceState, Sharing

COARSE = ("identity", "expression")
SHAPE = (*COARSE, "deformation")
SURFACE = (*SHAPE, "pose")
CAMERA = ("camera", "log_focal")
ALBEDO = ("albedo", "albedo_map")
"""Leaves that the lazy values below are functions of."""


@dataclass(frozen=True)
class Projection:
    """Pinhole cameras of V windows after focal and camera correction."""

    K: Float[Tensor, "V 3 3"]
    T_cam_world: Float[Tensor, "V 4 4"]


def corrected_projection(state: FaceState, views: WorkingViews) -> Projection:
    """Windows' cameras with `log_focal` and `camera` of the state applied.

    K0 diag(s, s, 1) scales the focal length about the principal point, crop or not.
    """
    factor = state.log_focal.exp()
    K = torch.cat([views.K[:, :, :2] * factor[:, None, None], views.K[:, :, 2:]], dim=2)
    return Projection(K, pose_matrix(state.camera, views.T_cam_world))


@dataclass(frozen=True, eq=False)
class Prediction:
    """Lazy values of one state. Everything is differentiable in the state."""

    model: FaceModel
    state: FaceState
    sharing: Sharing
    views: WorkingViews
    operator: DeformationOperator
    """Samples the deformation map at the vertices."""
    rasterizer: Rasterizer
    chart: Callable[[int], UvRaster]
    """The model's chart at a resolution: constant per topology, so whoever lives longer keeps it.
    Rasterising it takes 6 ms at 256 texels and 17 at 512."""
    level: str = "mid"
    """`coarse` leaves the deformation map out; `mid` and `fine` include it."""
    fixed: Fixed | None = None
    """Where to find what no moving leaf changes; None: everything is computed here."""

    def moved(self, leaves: Mapping[str, Tensor]) -> Prediction:
        """The prediction with these leaves instead; what does not depend on them is computed once, here."""
        fixed = Fixed(frozenset(leaves), partial(getattr, self))
        return replace(self, state=self.state.replace(**leaves), fixed=fixed)

    @lazy(*COARSE)
    def coarse_head(self) -> Float[Tensor, "T N 3"]:
        """Morphable model per frame, head frame, mm."""
        identity = self.state.identity[None].expand(len(self.state.expression), -1)
        return self.model.shape(identity, self.state.expression)

    @lazy(*SHAPE)
    def vertices_head(self) -> Float[Tensor, "T N 3"]:
        """Vertices of the level per frame, head frame, mm."""
        if self.level == "coarse":
            return self.coarse_head
        # of one frame already: its derivative is then not summed over frames where there is one
        return self.coarse_head + self.operator(self.state.deformation)[None]

    @lazy("pose")
    def T_world_head(self) -> Float[Tensor, "T 4 4"]:
        return pose_matrix(self.state.pose, self.state.pose_reference)

    @lazy(*SURFACE)
    def vertices_world(self) -> Float[Tensor, "T N 3"]:
        """Vertices of the level per frame, world, mm."""
        pose = self.T_world_head
        return self.vertices_head @ pose[:, :3, :3].mT + pose[:, None, :3, 3]

    @lazy(*SURFACE)
    def normals_world(self) -> Float[Tensor, "T N 3"]:
        """Unit vertex normals, world."""
        return vertex_normals(self.vertices_world, self.model.faces)

    @lazy(*CAMERA)
    def projection(self) -> Projection:
        return corrected_projection(self.state, self.views)

    @lazy(*SURFACE, *CAMERA)
    def points(self) -> Float[Tensor, "V N 3"]:
        """Vertices in every window: x, y px and camera depth mm."""
        return self._project(self.vertices_world)

    def _project(self, x_world: Float[Tensor, "T P 3"]) -> Float[Tensor, "V P 3"]:
        """World points per frame as window x, y px and camera depth mm per view."""
        K, T = self.projection.K, self.projection.T_cam_world
        return project_frames(x_world, self.sharing.frame, K, T)

    def landmark_points(self, scheme: str) -> Float[Tensor, "V L 2"]:
        """Model landmarks in every window, px; missing ones at the first triangle."""
        return self.landmark_pixels(scheme)[..., :2]

    def landmark_pixels(self, scheme: str) -> Float[Tensor, "V L 3"]:
        """The same with their camera depth, mm."""
        corners, weights = landmark_rows(self.model, scheme)
        points = weighted_rows(self.vertices_world, corners, weights.to(self.vertices_world))
        return self._project(points)

    @lazy(*SURFACE, *CAMERA)
    def raster(self) -> Raster:
        """Visible triangles of every window."""
        size = self.views.size
        return self.rasterizer.rasterize(self.points, self.model.faces, size, size)

    @lazy(*SURFACE, *CAMERA, "displacement")
    def normals(self) -> Float[Tensor, "V S S 3"]:
        """Unit world normals per pixel, zero outside; with the displacement's detail at level fine."""
        if self.level == "fine":
            return safe_normalize(self.rasterizer.sample_texture(self.detail_map, self.uv))
        corners = self.normals_world[self.sharing.frame]
        return safe_normalize(self.rasterizer.interpolate(corners, self.raster, self.model.faces))

    @lazy(*SURFACE, "displacement")
    def detail_map(self) -> Float[Tensor, "V H W 3"]:
        """World normals in UV per view, tilted by its displacement map (HRN sec. 3.2)."""
        mask = self.chart(self.state.displacement.shape[-1]).mask
        positions, normals = self.detail_surface
        frame, rows = self.sharing.frame, self.sharing.displacement
        return view_detail(positions, normals, self.state.displacement, mask, frame, rows)

    @lazy(*SURFACE)
    def detail_surface(self) -> tuple[Float[Tensor, "T H W 3"], Float[Tensor, "T H W 3"]]:
        """Positions, mm, and unit normals in UV of the undisplaced surface, world, per frame."""
        chart = self.chart(self.state.displacement.shape[-1])
        normals = safe_normalize(uv_interpolate(self.normals_world, chart))
        return uv_interpolate(self.vertices_world, chart), normals

    @lazy(*SURFACE, *CAMERA)
    def uv(self) -> Float[Tensor, "V S S 2"]:
        """Texture coordinates per pixel."""
        return self.rasterizer.interpolate(self.model.uv, self.raster, self.model.uv_faces)

    @lazy(*ALBEDO)
    def albedo_map(self) -> Float[Tensor, "H W 3"]:
        """Model albedo and the free offset, linear RGB, at the resolution of `albedo_map`."""
        return self.model_albedo + self.state.albedo_map

    @lazy("albedo")
    def model_albedo(self) -> Float[Tensor, "H W 3"]:
        """The model's own albedo, linear RGB, at the resolution of `albedo_map`."""
        return resized_map(self.model.albedo(self.state.albedo), self.state.albedo_map.shape[0])

    @lazy(*SURFACE, *CAMERA, *ALBEDO)
    def albedo_seen(self) -> Float[Tensor, "V S S 3"]:
        """Albedo per pixel, linear RGB."""
        return self.rasterizer.sample_texture(self.albedo_map, self.uv)

    @lazy(*SURFACE, *CAMERA)
    def coverage(self) -> Float[Tensor, "V S S"]:
        """1 on the face, antialiased across the silhouette, whose only gradient this is."""
        if "painted" in self.__dict__:
            return self._separated[1]
        hit = (self.raster.triangle >= 0).to(self.points.dtype)[..., None]
        return self.rasterizer.antialias(hit, self.raster, self.points, self.model.faces)[..., 0]

    @lazy(*SURFACE, *CAMERA, *ALBEDO, "displacement", "light")
    def image(self) -> Float[Tensor, "V S S 3"]:
        """Shaded face in linear RGB, antialiased over black."""
        if has_kernels(self.points.device):
            return self._separated[0]
        light = self.state.light[self.sharing.light]
        hit = (self.raster.triangle >= 0).to(self.albedo_seen.dtype)[..., None]
        colour = hit * self.albedo_seen * shade(self.normals, light)
        return self.rasterizer.antialias(colour, self.raster, self.points, self.model.faces)

    @lazy(*SURFACE, *CAMERA, *ALBEDO, "displacement", "light")
    def painted(self) -> tuple[Float[Tensor, "V S S 4"], Float[Tensor, "V S S 3"]]:
        """Image and coverage side by side, by one pass of antialiasing, and the unit normals that shade it,
        without their derivative. On devices with kernels of our own."""
        from hrnfit.render.paint_cuda import painted  # local: triton

        raster, faces, light = self.raster, self.model.faces, self.state.light
        if self.level == "fine":
            both, normals = self._painted_maps()
        else:
            normals, rows = self.normals, self.sharing.light
            both = painted(self.albedo_seen, normals, light, rows, raster.triangle)
        return self.rasterizer.antialias(both, raster, self.points, faces), normals.detach()

    @lazy(*SURFACE, *CAMERA, *ALBEDO, "displacement", "light")
    def _separated(self) -> tuple[Float[Tensor, "V S S 3"], Float[Tensor, "V S S"]]:
        """Image and coverage."""
        from hrnfit.render.paint_cuda import separated  # local: triton

        return separated(self.painted[0])

    def _painted_maps(self) -> tuple[Float[Tensor, "V S S 4"], Float[Tensor, "V S S 3"]]:
        """Colour and coverage before antialiasing, and normals, straight from the maps."""
        from hrnfit.render.cuda import mesh_of  # local: triton
        from hrnfit.render.paint_maps_cuda import painted_maps

        uv, light, rows = self.model.uv, self.state.light, self.sharing.light
        faces = mesh_of(self.model.uv_faces, uv[None]).faces
        return painted_maps(self.raster, uv, faces, self.albedo_map, self.detail_map, light, rows)
