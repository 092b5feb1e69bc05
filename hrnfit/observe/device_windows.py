"""Windows onto photographs that stay on a device: the law of `working.py`, for many views at once.

The photographs are sent once per fit, 16 bytes per pixel with their masks. Windows are placed in float64 on
the host, from numbers alone; everything per pixel is float32 on the device. A window pixel is the mean of
n x n bilinear look-ups (or one bicubic, enlarging) into the photograph or its block means, which are made once
and kept: at most two thirds of the photographs' memory again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.check import check_finite, check_shape
from hrnfit.geometry import brown
from hrnfit.observe.observation import View, WorkingViews
from hrnfit.observe.window_place import Cut, Placement, cut_of
from hrnfit.observe.working import (
    PinholeLandmarks,
    check_window_size,
    pinhole_landmarks,
    stacked,
)
from hrnfit.solve.recorded import replayed

MOST_RECORDED = 2**24
"""Numbers of a photograph up to which a window onto it is cut by a recording, which copies it: 4 megapixels."""

Look = tuple[Float[Tensor, "S S 3"], Float[Tensor, "S S"], Bool[Tensor, "S S"]]
"""Image, mask, and where the photograph is."""


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
    def _safe(self) -> Float[Tensor, "V"]:
        """Radius inside which each lens is one-to-one, in focal lengths, on the host."""
        radii = [brown.safe_radius(lens) for lens in self._lenses]
        return torch.tensor(radii, dtype=torch.float64)

    def windows(
        self, boxes: Float[Tensor, "V 4"], size: int, dtype: torch.dtype = torch.float32
    ) -> WorkingViews:
        """`working_views` on the device. Boxes are on the host; one small copy is all that is sent."""
        check_shape("boxes", boxes, (len(self.views), 4), "one left, top, right, bottom per view")
        check_finite("boxes", boxes)
        check_window_size(size)
        place = Placement.of(self._K, boxes.detach().double().cpu(), size)
        sent = place.packed().to(self.device)
        shape = (len(self.views), size, size)
        images = sent.new_empty(*shape, 3, dtype=torch.float32)
        masks = images.new_empty(shape)
        inside = images.new_empty(shape, dtype=torch.bool)
        for row, view in enumerate(self.views):
            height, width = view.image.shape[:2]
            cut = self._cut(
                row, cut_of(place, row, (height, width), self._is_wide(place, row)), sent
            )
            for whole, part in zip((images, masks, inside), cut, strict=True):
                whole[row] = part
        points = sent[:, None, :1] * self.marks.points + sent[:, None, 1:3]
        seen = (self.marks.confidence > 0)[..., None]
        return WorkingViews(
            images=images.to(dtype),
            masks=masks.to(dtype),
            inside=inside,
            K=sent[:, 5:].unflatten(1, (3, 3)).to(dtype),
            T_cam_world=self.T_cam_world.to(dtype),
            landmarks=torch.where(seen, points, torch.zeros_like(points)).to(dtype),
            landmark_confidence=self.marks.confidence.to(dtype),
            names=tuple(view.name for view in self.views),
            landmark_scheme=self.marks.scheme,
        )

    def _is_wide(self, place: Placement, row: int) -> bool:
        """Whether a window looks at where the view's lens model may end."""
        return self._distortion.shape[1] > 0 and bool(place.reach[row] >= self._safe[row])

    def _cut(self, row: int, cut: Cut, sent: Float[Tensor, "V 14"]) -> Look:
        """One window, by a recording: it is 60 small kernels, and a fit of five views cuts 50 windows."""
        level = self._level(row, cut.block)
        inputs = (sent[row], self.K[row], self._distortion[row], level)
        function = partial(window_look, cut)
        if cut.wide or level.numel() > MOST_RECORDED:  # where a lens ends, the host must ask
            return function(*inputs)
        image, mask, inside = replayed(("window", cut), function, inputs)
        return image, mask, inside

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


def window_look(
    cut: Cut,
    placed: Float[Tensor, "14"],
    K: Float[Tensor, "3 3"],
    lens: Float[Tensor, "D"],
    level: Float[Tensor, "4 h w"],
) -> Look:
    """What one window shows of a photograph. placed: of `Placement.packed`. level: framed, of the cut's blocks."""
    x, y, valid = _photograph_pixels(cut, placed, K, lens)
    height, width = cut.photograph
    within = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    within = within if valid is None else within & valid
    inside = _mean(within[None].float(), cut.samples)[0] > 1 - 1e-4
    height, width = level.shape[1:]  # with one pixel of frame; a grid counts from -1 to 1
    x = (x / cut.block + 1) * (2 / width) - 1
    y = (y / cut.block + 1) * (2 / height) - 1
    grid = torch.stack(torch.broadcast_tensors(x, y), -1)
    if cut.enlarging:
        image = _sampled(level[:3], grid, "bicubic").clamp_min(0)
        mask = _sampled(level[3:], grid, "bilinear")
    else:
        image, mask = _sampled(level, grid, "bilinear").split([3, 1])
    if valid is not None:
        mask = mask * valid
    return _mean(image, cut.samples).permute(1, 2, 0), _mean(mask, cut.samples)[0], inside


def _photograph_pixels(
    cut: Cut, placed: Tensor, K: Tensor, lens: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Photograph pixels x, y of the look-ups, (1, n) and (n, 1) without a lens, else (n, n), and where the lens
    model is valid; None for everywhere."""
    count = cut.size * cut.samples
    grid = torch.arange(count, device=placed.device, dtype=torch.float64)
    grid = (grid + 0.5) * (cut.size / count)
    x, y = (placed[3 + k] + (1 / placed[0]) * grid for k in range(2))
    x, y = x[None], y[:, None]
    if not len(lens):
        return x.float(), y.float(), None
    # placed in float64, looked up in float32: 1e-4 px at 2000 px focal length
    yn = (y - K[1, 2]) / K[1, 1]
    xn = ((x - K[0, 2]) / K[0, 0]).float() - (K[0, 1] / K[0, 0] * yn).float()
    yn, K = yn.float(), K.float()
    xd, yd = brown.distort_parts(xn, yn, lens)
    valid = None
    if cut.wide:
        valid = brown.is_valid(torch.stack(torch.broadcast_tensors(xn, yn), -1), lens)
    return K[0, 0] * xd + (K[0, 1] * yd + K[0, 2]), K[1, 1] * yd + K[1, 2], valid


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


def _sampled(level: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(level[None], grid[None], mode, padding_mode="border", align_corners=False)[
        0
    ]


def _mean(values: Tensor, samples: int) -> Tensor:
    return values if samples == 1 else F.avg_pool2d(values[None], samples)[0]
