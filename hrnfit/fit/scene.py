"""What stays the same while stages run: the photographs, the model, who shares what, the windows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.energy.perceptual import Embedding
from hrnfit.energy.texels import Texels
from hrnfit.fit.face_place import face_in_world, projected_boxes, sharing_on
from hrnfit.fit.model_constants import chart_of, map_operator, texels_of, vertex_count
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.deformation import DeformationOperator
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View, WorkingViews
from hrnfit.observe.window_source import WindowSource, window_source
from hrnfit.observe.working import check_boxes
from hrnfit.prediction import Prediction
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.render.texture import UvRaster
from hrnfit.state import FaceState, Sharing

NATIVE_STEP = 64
"""Of window sizes on a GPU that no recipe names, px."""
MINIMUM_SIDE = 64
"""Of windows, px, unless fewer are asked for."""
MOST_WINDOWS = 3
"""Sizes of windows kept at a time."""
MOST_SOURCES = 2
"""Sets of photographs kept: the fit's own, and with their mirror images."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Constants of one fit; the windows that stages ask for are made once, what belongs to the model is kept
    with it (`model_constants.py`)."""

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
    _sources: list[WindowSource] = field(default_factory=list)
    """Photographs ready to be cut, of this scene's views and of some that were asked for before."""

    @cached_property
    def rows(self) -> Sharing:
        """`sharing` on the device: an index on the host is copied at every use, and kernels cannot read it."""
        return sharing_on(self.sharing, self.device)

    def operator(self, size: int) -> DeformationOperator:
        """Sampling of a deformation map of `size` at the model's vertices."""
        return map_operator(self.model, size)

    @property
    def n_vertices(self) -> int:
        return vertex_count(self.model)

    def texels(self, size: int) -> Texels:
        """Texels of the chart at a resolution."""
        return texels_of(self.model, size)

    def chart(self, size: int) -> UvRaster:
        """Raster of the chart at a resolution."""
        return chart_of(self.model, size)

    def windows(self, size: int) -> WorkingViews:
        """Windows of `size` px onto the face, never finer than the largest photograph shows it; in the model's
        precision. On a GPU they may reach beyond it (`reaching`)."""
        if self.boxes is None:
            raise ValueError("scene: frame the face before asking for windows")
        boxes, side = cut(self.boxes, size)
        # windows of as many pixels, resampled because they were asked for, are others
        key = side if side == size else side + 1
        if key not in self._windows:
            while len(self._windows) >= MOST_WINDOWS:
                self._windows.pop(next(iter(self._windows)))
            wide = reaching(boxes, side) if self.device.type == "cuda" and side < size else None
            self._windows[key] = self.photographs.windows(
                *(wide or (boxes, side)), self.model.uv.dtype
            )
        return self._windows[key]

    @property
    def photographs(self) -> WindowSource:
        """The photographs on the device, prepared once per fit: a stage frames anew, and few replace views."""
        for source in self._sources:
            if _are_same(source.views, self.views):
                return source
        self._sources.insert(0, window_source(self.views, self.device))
        del self._sources[MOST_SOURCES:]
        return self._sources[0]

    def predict(self, state: FaceState, size: int, level: str = "mid") -> Prediction:
        """Prediction of a state in windows of `size` px."""
        operator = self.operator(state.deformation.shape[0])
        windows = self.windows(size)
        return Prediction(
            self.model,
            state,
            self.rows,
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
        boxes = projected_boxes(self.model, state, self.sharing, self.photographs, margin)
        check_boxes(boxes)
        return replace(self, boxes=boxes, _windows={})

    def world(self, state: FaceState) -> Float[Tensor, "T N 3"]:
        """Mid-level vertices per frame, world mm, float32, on the scene's device."""
        return face_in_world(self.model, state)


def _are_same(some: tuple[View, ...], others: tuple[View, ...]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def cut(boxes: Float[Tensor, "V 4"], size: int) -> tuple[Float[Tensor, "V 4"], int]:
    """Boxes, and the side in px, of windows that are asked for with `size` px onto square boxes.

    Never more than the largest photograph shows; then the windows are its pixels and those of the others as they
    are, none resampled: a face that moves by a hundredth of a pixel else has all its samples elsewhere, and the
    surface slid by 0.16 mm in the median (rig of five views).
    """
    native = max(MINIMUM_SIDE, int((boxes[:, 2:] - boxes[:, :2]).max().ceil()))
    if native >= size:
        return boxes, size
    low = ((boxes[:, :2] + boxes[:, 2:] - native) / 2).floor()
    return torch.cat([low, low + native], dim=1), native


def reaching(boxes: Float[Tensor, "V 4"], size: int) -> tuple[Float[Tensor, "V 4"], int]:
    """Square boxes grown to the right and downwards so that windows of the next multiple of `NATIVE_STEP` px have
    the same pixels in the same places as windows of `size` onto the boxes as they are, and more beyond them.

    Every other size is recorded anew, and the faces of one rig at 512 px had 492 to 510 px, differing from stage to
    stage and from subject to subject. Windows of 512 px onto the boxes themselves would be other samples of the
    photographs: the surface then moved by 0.16 mm in the median (rig of five views), so by 0.00006.
    """
    side = -(-size // NATIVE_STEP) * NATIVE_STEP
    low, extent = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    return torch.cat([low, low + extent * (side / size)], dim=1), side
