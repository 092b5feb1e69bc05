"""Who cuts the windows of a fit: the host (`working.py`), or the device that its photographs are kept on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class HostPhotographs:
    """Photographs in the host's memory."""

    views: tuple[View, ...]

    @cached_property
    def marks(self) -> PinholeLandmarks:
        """Undistorted landmarks."""
        return pinhole_landmarks(self.views)

    @cached_property
    def K(self) -> Float[Tensor, "V 3 3"]:
        """Pinholes of the photographs, px, float64."""
        return stacked([view.camera.K for view in self.views])

    @cached_property
    def T_cam_world(self) -> Float[Tensor, "V 4 4"]:
        """float64."""
        return stacked([view.camera.T_cam_world for view in self.views])

    def windows(
        self, boxes: Float[Tensor, "V 4"], size: int, dtype: torch.dtype = torch.float32
    ) -> WorkingViews:
        """Windows of `size` px around boxes of undistorted pixels."""
        return working_views(self.views, boxes, size, dtype, self.marks)


WindowSource: TypeAlias = HostPhotographs | DevicePhotographs
"""Photographs with all that windows of any place and size have in common."""


def window_source(views: Sequence[View], device: torch.device) -> WindowSource:
    """Photographs that give windows on a device."""
    if device.type == "cpu":
        return HostPhotographs(tuple(views))
    return DevicePhotographs(tuple(views), device)
