"""Who cuts the windows of a fit: the host (`working.py`), or the device that its photographs are kept on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.observe.device_windows import DevicePhotographs
from hrnfit.observe.observation import View, WorkingViews
from hrnfit.observe.working import PinholeLandmarks, pinhole_landmarks, working_views


@runtime_checkable
class WindowSource(Protocol):
    """Photographs with all that windows of any place and size have in common."""

    @property
    def views(self) -> tuple[View, ...]: ...

    def windows(
        self, boxes: Float[Tensor, "V 4"], size: int, dtype: torch.dtype = torch.float32
    ) -> WorkingViews:
        """Windows of `size` px around boxes of undistorted pixels."""
        ...


@dataclass(frozen=True, eq=False)
class HostPhotographs:
    """Photographs in the host's memory."""

    views: tuple[View, ...]
    marks: PinholeLandmarks

    def windows(
        self, boxes: Float[Tensor, "V 4"], size: int, dtype: torch.dtype = torch.float32
    ) -> WorkingViews:
        """Windows of `size` px around boxes of undistorted pixels."""
        return working_views(self.views, boxes, size, dtype, self.marks)


def window_source(views: Sequence[View], device: torch.device) -> WindowSource:
    """Photographs that give windows on a device."""
    if device.type == "cpu":
        return HostPhotographs(tuple(views), pinhole_landmarks(views))
    return DevicePhotographs.of(views, device)
