"""Runs a map stage on a CUDA device: what is made once per stage, and the host's side of each attempt.

What is computed stands in `recorded_map.py`.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.shared_albedo import encoded_windows
from hrnfit.fit.border_tensors import BorderTensors
from hrnfit.fit.free_map import FreeMap
from hrnfit.fit.map_border import OTHERS, MapBorder
from hrnfit.fit.map_constants import MapWeights, map_constants
from hrnfit.fit.map_settings import LIMITS, MapSettings
from hrnfit.fit.model_constants import map_operator, texels_of
from hrnfit.fit.recorded_map import MapIteration
from hrnfit.fit.scene import Scene
from hrnfit.fit.shared_skin import MOVING
from hrnfit.fit.skin_place import SkinViews, focused
from hrnfit.fit.sliding import sliding_blocks
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.solve.gauss_newton import GaussNewton, accepted
from hrnfit.solve.loop import Evaluated, Progress
from hrnfit.solve.recorded import replayed
from hrnfit.solve.solver import Leaves, Solution
from hrnfit.state import FaceState

WINDOW_STEP = 64
"""Windows are extended to multiples of so many px: their size follows the face, recordings want few sizes."""


def solve_map_recorded(
    scene: Scene,
    state: FaceState,
    free: tuple[str, ...],
    settings: MapSettings,
    focal_deviation: Float[Tensor, "V"] | None = None,
    progress: Progress | None = None,
) -> tuple[FaceState, Solution]:
    """`solve_map` on the scene's device."""
    iteration, key = _iteration(scene, state, free, settings, focal_deviation)
    attempts = _Attempts(iteration, key, settings.slack)
    leaves = {name: getattr(state, name) for name in iteration.names}
    s = settings
    solver = GaussNewton(s.steps, iteration.limits, s.tolerance, slack=s.slack)
    solution = solver.minimize_by(attempts, attempts.energy, leaves, progress)
    return state.replace(**{n: x.detach() for n, x in solution.leaves.items()}), solution


class _Attempts:
    """`Attempts` by replaying: one recording that looks and tries, another that tries again."""

    def __init__(self, iteration: MapIteration, key: tuple[object, ...], slack: float) -> None:
        self._iteration, self._key, self._slack = iteration, key, slack
        self._last = math.inf

    def begin(self, leaves: Leaves) -> None:
        self._leaves = tuple(leaves[name] for name in self._iteration.names)
        self._kept: tuple[Tensor, ...] | None = None

    def attempt(self, damping: float, shrink: float) -> tuple[bool, Leaves]:
        names = self._iteration.names
        damped, shrunk = (
            self._leaves[0].new_full((), x, dtype=torch.float64) for x in (damping, shrink)
        )
        if self._kept is None:
            key, function, inputs = "first", self._iteration.first, self._leaves
        else:
            key, function = "again", self._iteration.again
            inputs = (self._kept[0], *self._leaves, *self._kept[1:])
        report, *rest = replayed((*self._key, key), function, (damped, shrunk, *inputs))
        values = report.tolist()
        if self._kept is None:
            self._here, self._kept = values[:3], tuple(rest[len(names) :])
        lower = accepted(values[-2], sum(self._here), self._slack)
        self._last = values[-2] if lower else sum(self._here)
        return lower, dict(zip(names, rest, strict=False))

    def evaluated(self) -> Evaluated:
        data, smooth, prior = (torch.tensor(x, dtype=torch.float64) for x in self._here)
        terms = {"shared_albedo": data, "smoothness": smooth}
        if len(self._iteration.names) > 1:
            terms["camera_prior"] = prior
        return data + smooth + prior, terms

    def energy(self, leaves: Leaves) -> Evaluated:
        """At the leaves that the last attempt left behind."""
        return torch.tensor(self._last, dtype=torch.float64), {}


def _iteration(
    scene: Scene,
    state: FaceState,
    free: tuple[str, ...],
    settings: MapSettings,
    focal_deviation: Tensor | None,
) -> tuple[MapIteration, tuple[object, ...]]:
    """The stage's computations, and what tells their recordings from others."""
    own, s = FreeMap.of(state, free, scene.sharing), settings
    constants = map_constants(
        scene.model,
        own,
        MapWeights(s.membrane, s.bending, s.size_prior, s.spread),
        s.texels,
        len(state.deformation),
        MOVING if scene.sharing.n_frames > 1 else (),
    )
    border = MapBorder(
        state, free, scene.sharing, s.pose_deviation, s.focal_deviation, focal_deviation
    )
    names = (own.name, *(n for n in OTHERS if n in free))
    views, tensors = _held(scene, state, settings, _border_tensors(border, scene, state))
    limits = {name: LIMITS[name] for name in names}
    look = (s.kernel_scale, s.offset)
    iteration = MapIteration(
        views, tensors, constants, own, names, settings, limits, scene.rasterizer
    )
    return iteration, ("map", id(constants), views.channels.data_ptr(), names, look)


def _border_tensors(border: MapBorder, scene: Scene, state: FaceState) -> BorderTensors:
    """Where each view's own columns stand among the packed unknowns; see `MapBorder.equations`."""
    views = len(state.log_focal)
    rows = {"pose": scene.sharing.frame.tolist(), "log_focal": list(range(views))}
    width = {"pose": 6, "log_focal": 1}
    parts, first, q = [], 0, len(border.prior)
    for name, leaf in border.leaves.items():
        w = width[name]
        block = torch.zeros(views, w, q, dtype=torch.float64)
        for v, row in enumerate(rows[name]):
            block[v, torch.arange(w), first + row * w + torch.arange(w)] = 1.0
        parts.append(block)
        first += leaf.numel()
    layout = torch.cat(parts, dim=1) if parts else torch.zeros(views, 0, 0, dtype=torch.float64)
    device = scene.device
    start = [leaf.detach().reshape(-1).double() for leaf in border.leaves.values()]
    return BorderTensors(
        layout.to(device),
        torch.from_numpy(border.prior).to(device),
        torch.cat(start) if start else torch.zeros(0, dtype=torch.float64, device=device),
    )


def _held(
    scene: Scene, state: FaceState, settings: MapSettings, border: BorderTensors
) -> tuple[SkinViews, BorderTensors]:
    """What stands still during the stage, in memory that is the same in the next fit of these shapes."""
    windows = scene.windows(settings.size)
    size = windows.size
    beyond = -size % WINDOW_STEP
    images = torch.nn.functional.pad(
        windows.images.movedim(-1, 1), (0, beyond, 0, beyond), mode="replicate"
    )
    frames = len(state.expression)
    with torch.no_grad():
        coarse = scene.model.shape(state.identity[None].expand(frames, -1), state.expression)
        skin = coarse + map_operator(scene.model, len(state.deformation))(state.deformation)
        nodes = texels_of(scene.model, len(state.deformation))
        sliding = sliding_blocks(skin, scene.model.faces, nodes, settings.sliding)
        inputs = (
            images,
            torch.nn.functional.pad(windows.masks, (0, beyond, 0, beyond)),
            images.new_full((), size),
            windows.K,
            windows.T_cam_world,
            state.camera,
            scene.sharing.frame.to(scene.device),
            scene.sharing.displacement.to(scene.device),
            coarse,
            state.pose_reference,
            state.deformation,
            state.pose,
            state.log_focal,
            sliding,
            *border,
        )
        held = replayed(("map views", settings.blur), partial(_hold, settings.blur), inputs)
    return SkinViews(*held[:13]), BorderTensors(*held[13:])


def _hold(
    blur: float,
    images: Float[Tensor, "V 3 S S"],
    masks: Float[Tensor, "V S S"],
    size: Tensor,
    K: Tensor,
    T: Tensor,
    camera: Tensor,
    frame: Tensor,
    row: Tensor,
    coarse: Tensor,
    reference: Tensor,
    deformation: Tensor,
    pose: Tensor,
    log_focal: Tensor,
    *border: Tensor,
) -> tuple[Tensor, ...]:
    """Fields of `SkinViews`, then of `BorderTensors`."""
    channels = encoded_windows(images.movedim(1, -1), masks, blur).contiguous()
    T_cam_world, T_world_head = pose_matrix(camera, T), pose_matrix(pose, reference)
    found = (focused(K, log_focal), T_world_head, T_cam_world @ T_world_head[frame])
    still = (x.clone() for x in (size, K, frame, row, coarse, reference, deformation))
    size, K, *rest = still
    return channels, size, K, T_cam_world, *rest, *found, *(x.clone() for x in border)
