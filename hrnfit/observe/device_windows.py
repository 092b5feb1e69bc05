"""Windows onto photographs that stay on a device: the law of `working.py`, for many views at once.

The photographs are sent once per fit, 16 bytes per pixel with their masks. Windows are placed in float64 on
the host, from numbers alone, and cut on the device: by one launch (`window_cuda.py`), or in plain torch where there
are no kernels (`window_look.py`). A window pixel is the mean of n x n bilinear look-ups (or one bicubic, enlarging)
into the photograph or its block means, which are made once and kept: at most two thirds of the photographs' memory
again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hrnfit.check import check_finite, check_shape
from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.observe.observation import View, WorkingViews
from hrnfit.observe.window_look import window_look
from hrnfit.observe.window_place import Placement, cut_of
from hrnfit.observe.working import (
    PinholeLandmarks,
    check_window_size,
    pinhole_landmarks,
    stacked,
)


@dataclass(frozen=True, eq=False)
class DevicePhotographs:
    """The photographs of a fit with their masks, cameras and landmarks, on a device."""

    views: tuple[View, ...]
    device: torch.device
    levels: dict[tuple[int, int], Float[Tensor, "4 h w"]] = field(default_factory=dict)
    """Linear RGB and mask by view and side of the blocks that are averaged, 1 for the photograph itself; sent
    when first looked at. Framed by one pixel: the border's colour, mask 0."""

    @cached_property
    def marks(self) -> PinholeLandmarks:
        """On the device."""
        marks = pinhole_landmarks(self.views)
        points, confidence = marks.points.to(self.device), marks.confidence.to(self.device)
        return PinholeLandmarks(points, confidence, marks.scheme)

    @cached_property
    def K(self) -> Float[Tensor, "V 3 3"]:
        """Pinholes of the photographs, px, float64, on the device."""
        return self._K.to(self.device)

    @cached_property
    def T_cam_world(self) -> Float[Tensor, "V 4 4"]:
        """float64, on the device."""
        return stacked([view.camera.T_cam_world for view in self.views]).to(self.device)

    @cached_property
    def _K(self) -> Float[Tensor, "V 3 3"]:
        """The pinholes on the host, where windows are placed."""
        return stacked([view.camera.K for view in self.views])

    @cached_property
    def _lenses(self) -> list[Tensor]:
        return [view.camera.distortion.detach().double().cpu() for view in self.views]

    @cached_property
    def _distortion(self) -> Float[Tensor, "V D"]:
        """float32, on the device, zeros behind shorter ones; D is 0 where no view has a lens."""
        longest = max(len(lens) for lens in self._lenses)
        padded = [F.pad(lens, (0, longest - len(lens))) for lens in self._lenses]
        return torch.stack(padded).float().to(self.device)

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        """Height and width of the photographs, px."""
        return [(view.image.shape[0], view.image.shape[1]) for view in self.views]

    @cached_property
    def _cameras(self) -> Float[Tensor, "V 20"]:
        """For the kernel, on the device."""
        from hrnfit.observe.window_cuda import packed_cameras  # local: triton

        return packed_cameras(self._K, self._sizes, self._lenses).to(self.device)

    def windows(
        self, boxes: Float[Tensor, "V 4"], size: int, dtype: torch.dtype = torch.float32
    ) -> WorkingViews:
        """`working_views` on the device. Boxes are on the host; one small copy is all that is sent."""
        check_shape("boxes", boxes, (len(self.views), 4), "one left, top, right, bottom per view")
        check_finite("boxes", boxes)
        check_window_size(size)
        place = Placement.of(self._K, boxes.detach().double().cpu(), size)
        sent, images, masks, inside = self._cut(place)
        points = sent[:, None, :1] * self.marks.points + sent[:, None, 1:3]
        seen = (self.marks.confidence > 0)[..., None]
        return WorkingViews(
            images=images.to(dtype),
            masks=masks.to(dtype),
            inside=inside,
            K=sent[:, 5:14].unflatten(1, (3, 3)).to(dtype),
            T_cam_world=self.T_cam_world.to(dtype),
            landmarks=torch.where(seen, points, torch.zeros_like(points)).to(dtype),
            landmark_confidence=self.marks.confidence.to(dtype),
            names=tuple(view.name for view in self.views),
            landmark_scheme=self.marks.scheme,
        )

    def _cut(self, place: Placement) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What was sent of the placement, and images, masks and insides of all windows."""
        cuts = [cut_of(place, row, size) for row, size in enumerate(self._sizes)]
        levels = [self._level(row, cut.block) for row, cut in enumerate(cuts)]
        if has_kernels(self.device):
            from hrnfit.observe import window_cuda  # local: triton

            packed = window_cuda.packed_placement(place, cuts, levels)
            # CUDA has staged pageable memory when the call returns
            sent = packed.to(self.device, non_blocking=True)
            longest = max(len(lens) for lens in self._lenses)
            return sent, *window_cuda.cut_windows(sent, self._cameras, place.size, longest)
        sent = place.packed().to(self.device)
        looks = [
            window_look(cut, sent[row], self.K[row], self._distortion[row], levels[row])
            for row, cut in enumerate(cuts)
        ]
        images, masks, inside = (torch.stack(parts) for parts in zip(*looks, strict=True))
        return sent, images, masks, inside

    def _level(self, row: int, block: int) -> Float[Tensor, "4 h w"]:
        """A photograph averaged over blocks, padded to whole blocks at the right and the bottom."""
        if (row, block) in self.levels:
            return self.levels[row, block]
        if block == 1:
            self.levels[row, 1] = _with_mask(self.views[row], self.device)
        else:
            whole = self._level(row, 1)[None, :, 1:-1, 1:-1]
            beyond = (0, -whole.shape[3] % block, 0, -whole.shape[2] % block)
            light = F.pad(whole[:, :3], beyond, mode="replicate")
            means = F.avg_pool2d(torch.cat([light, F.pad(whole[:, 3:], beyond)], 1), block)
            self.levels[row, block] = _framed(means[0])
        return self.levels[row, block]


def _with_mask(view: View, device: torch.device) -> Float[Tensor, "4 h w"]:
    """Linear RGB and mask of a photograph, framed."""
    light = view.image.detach().to(device, torch.float32).permute(2, 0, 1)
    mask = torch.ones_like(light[:1])
    if view.mask is not None:
        mask = view.mask.detach().to(device, torch.float32)[None]
    return _framed(torch.cat([light, mask]))


def _framed(level: Float[Tensor, "4 h w"]) -> Float[Tensor, "4 h2 w2"]:
    """One pixel more on every side: there the light goes on and the mask ends."""
    framed = F.pad(level[None], (1, 1, 1, 1), mode="replicate")[0]
    for edge in (framed[3, 0], framed[3, -1], framed[3, :, 0], framed[3, :, -1]):
        edge.zero_()
    return framed
