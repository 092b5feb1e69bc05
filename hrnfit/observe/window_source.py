"""Who cuts the windows of a fit: the host (`working.py`), or the device that its photographs are kept on.

Photographs of many megapixels can be larger than all else of a fit together: 16 of 45 megapixels take 19 GB. Beyond a
share of the device they stay on the host, which cuts the same windows, slower, and sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.observe.device_windows import DevicePhotographs
from hrnfit.observe.observation import View, WorkingViews
from hrnfit.observe.working import (
    PinholeLandmarks,
    pinhole_landmarks,
    stacked,
    working_views,
)

CPU = torch.device("cpu")
MOST_OF_DEVICE = 0.15
"""Share of the device's memory that photographs may take; several fits run there side by side."""
PER_PIXEL = 27
"""Bytes on the device: colour and mask in float32, and their block means, two thirds as much at most."""


@dataclass(frozen=True, eq=False)
class HostPhotographs:
    """Photographs in the host's memory."""

    views: tuple[View, ...]
    device: torch.device = CPU
    """Where the windows go."""

    @cached_property
    def marks(self) -> PinholeLandmarks:
        """Undistorted landmarks."""
        marks = self._marks
        points, confidence = marks.points.to(self.device), marks.confidence.to(self.device)
        return PinholeLandmarks(points, confidence, marks.scheme)

    @cached_property
    def K(self) -> Float[Tensor, "V 3 3"]:
        """Pinholes of the photographs, px, float64."""
        return stacked([view.camera.K for view in self.views]).to(self.device)

    @cached_property
    def T_cam_world(self) -> Float[Tensor, "V 4 4"]:
        """float64."""
        return stacked([view.camera.T_cam_world for view in self.views]).to(self.device)

    @cached_property
    def _marks(self) -> PinholeLandmarks:
        """On the host."""
        return pinhole_landmarks(self.views)

    def windows(
        self, boxes: Float[Tensor, "V 4"], size: int, dtype: torch.dtype = torch.float32
    ) -> WorkingViews:
        """Windows of `size` px around boxes of undistorted pixels."""
        made = working_views(self.views, boxes, size, dtype, self._marks)
        if self.device.type == "cpu":
            return made
        tensors = {n: x.to(self.device) for n, x in vars(made).items() if isinstance(x, Tensor)}
        return replace(made, **tensors)


WindowSource: TypeAlias = HostPhotographs | DevicePhotographs
"""Photographs with all that windows of any place and size have in common."""


def window_source(views: Sequence[View], device: torch.device) -> WindowSource:
    """Photographs that give windows on a device."""
    if device.type == "cpu" or photograph_bytes(views) > MOST_OF_DEVICE * _memory(device):
        return HostPhotographs(tuple(views), device)
    return DevicePhotographs(tuple(views), device)


def photograph_bytes(views: Sequence[View]) -> int:
    """Memory of the views' photographs on a device."""
    return PER_PIXEL * sum(view.image.shape[0] * view.image.shape[1] for view in views)


def _memory(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).total_memory
