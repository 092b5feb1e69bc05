"""What stays the same while stages run: the photographs, the model, who shares what, the windows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.energy.perceptual import Embedding
from hrnfit.energy.texels import Texels
from hrnfit.fit.charts import chart_of, operator_of, vertices_of
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.deformation import DeformationOperator
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View, WorkingViews
from hrnfit.observe.working import face_boxes, working_views
from hrnfit.prediction import Prediction
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.render.texture import UvRaster
from hrnfit.state import FaceState, Sharing


@dataclass(frozen=True, eq=False)
class Scene:
    """Constants of one fit, with the windows and texels that stages ask for computed once."""

    views: tuple[View, ...]
    """Good views, masks filled in."""
    model: FaceModel
    """On the device."""
    sharing: Sharing
    rasterizer: Rasterizer
    device: torch.device
    deretouched: Float[Tensor, "H H 3"] | None = None
    """De-retouched albedo by a network, linear RGB; see `fit/network_start.py`."""
    boxes: Float[Tensor, "V 4"] | None = None
    """Window of each view in undistorted pixels; set from the projected face by `framed`."""
    embedding: Embedding | None = None
    """What the perceptual term compares faces with; set by `fit/embedding.py`."""
    _windows: dict[int, WorkingViews] = field(default_factory=dict)
    _texels: dict[int, Texels] = field(default_factory=dict)

    def operator(self, size: int) -> DeformationOperator:
        """Sampling of a deformation map of `size` at the model's vertices."""
        return operator_of(self.model, size)

    @property
    def n_vertices(self) -> int:
        return vertices_of(self.model)

    def texels(self, size: int) -> Texels:
        """Texels of the chart at a resolution."""
        if size not in self._texels:
            self._texels[size] = Texels.of(self.model, size)
        return self._texels[size]

    def chart(self, size: int) -> UvRaster:
        """Raster of the chart at a resolution."""
        return chart_of(self.model, size)

    def windows(self, size: int) -> WorkingViews:
        """Windows of `size` px onto the face, never finer than the largest photograph shows it; in the
        model's precision."""
        if self.boxes is None:
            raise ValueError("scene: frame the face before asking for windows")
        native = int((self.boxes[:, 2] - self.boxes[:, 0]).max().ceil())
        size = min(size, max(64, native))
        if size not in self._windows:
            windows = working_views(self.views, self.boxes, size, self.model.uv.dtype)
            moved = {
                name: getattr(windows, name).to(self.device)
                for name in (
                    "images",
                    "masks",
                    "inside",
                    "K",
                    "T_cam_world",
                    "landmarks",
                    "landmark_confidence",
                )
            }
            self._windows[size] = replace(windows, **moved)
        return self._windows[size]

    def predict(self, state: FaceState, size: int, level: str = "mid") -> Prediction:
        """Prediction of a state in windows of `size` px."""
        operator = self.operator(state.deformation.shape[0])
        windows = self.windows(size)
        return Prediction(
            self.model,
            state,
            self.sharing,
            windows,
            operator,
            self.rasterizer,
            self.chart,
            level,
        )

    def camera(self, state: FaceState, v: int) -> Camera:
        """A view's camera in original pixels, with focal factor and correction applied."""
        camera = self.views[v].camera
        K = camera.K.clone()
        K[:, :2] *= float(state.log_focal[v].exp())
        T = pose_matrix(state.camera[v].cpu().double(), camera.T_cam_world.double())
        return replace(camera, K=K, T_cam_world=T.to(camera.T_cam_world))

    def framed(self, state: FaceState, margin: float = 0.06) -> Scene:
        """The same scene with windows around the face as it projects now."""
        vertices = self.world(state)
        boxes = []
        for v, view in enumerate(self.views):
            K = view.camera.K.float().clone()
            K[:, :2] *= float(state.log_focal[v].exp())
            T = pose_matrix(state.camera[v].cpu().float(), view.camera.T_cam_world.float())
            x_cam = vertices[int(self.sharing.frame[v])] @ T[:3, :3].T + T[:3, 3]
            pixels = (x_cam / x_cam[:, 2:]) @ K[:2].T
            boxes.append(face_boxes(pixels[None], margin)[0])
        return replace(self, boxes=torch.stack(boxes), _windows={})

    def world(self, state: FaceState) -> Float[Tensor, "T N 3"]:
        """Mid-level vertices per frame, world mm, on the CPU."""
        frames = len(state.expression)
        head = self.model.shape(state.identity[None].expand(frames, -1), state.expression)
        head = head + self.operator(state.deformation.shape[0])(state.deformation)
        pose = pose_matrix(state.pose, state.pose_reference)
        return (head @ pose[:, :3, :3].mT + pose[:, None, :3, 3]).cpu().float()
