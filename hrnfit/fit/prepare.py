"""From images to the first state: views, detected landmarks, the landmark start, masks."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.initialize import Start, initialize
from hrnfit.fit.landmark_views import landmark_views
from hrnfit.fit.model_constants import model_on
from hrnfit.fit.recipe import Recipe
from hrnfit.fit.rig_check import check_rig
from hrnfit.fit.scene import Scene
from hrnfit.fit.tensor_trees import sent
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.landmarks import LandmarkDetector, MediaPipeDetector
from hrnfit.observe.masks import mask_from_projection
from hrnfit.observe.observation import View
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.state import FaceState, Sharing, zero_state

log = logging.getLogger(__name__)

FRONTAL = 0.7
"""Cosine of the angle from the front, 45 degrees, up to which the detector finds a face that is there.
It found the heads of our test rig up to 60."""

BLIND = (
    "is left out: no face was found in it, though its camera looks at the face from the front; "
    "check that the image belongs to its camera, or pass landmarks for it"
)
SIDEWAYS = (
    "has no landmarks: no face was found in it; it is used all the same, as its camera is known"
)


@dataclass(frozen=True)
class Prepared:
    """Where the stages begin."""

    scene: Scene
    state: FaceState
    focal_deviation: Float[Tensor, "V"]
    """Prior on log focal per view; tiny where the camera is known."""
    warnings: tuple[str, ...]
    detector: LandmarkDetector | None = None
    """What looked for landmarks; None when all were given."""
    started: Mapping[str, str] = field(default_factory=lambda: {"by": "landmarks"})
    """How, for the record: `by` (landmarks, networks or result), and `networks` (their name) or `why`
    (there are none)."""
    seconds: float = 0.0
    """Since the fit began."""

    @property
    def by_networks(self) -> bool:
        """Whether the state is the networks'."""
        return self.started["by"] == "networks"


def prepare(
    views: tuple[View, ...],
    model: FaceModel,
    recipe: Recipe,
    rasterizer: Rasterizer,
    device: torch.device,
    detector: LandmarkDetector | None = None,
) -> Prepared:
    """Landmarks where none were given, the start from them, and masks where none were given.

    Views that show no face, or contradict the others, are left out with a warning as long as one
    remains; a calibrated view from the side needs no landmarks of its own.
    """
    views, warnings, asked = with_landmarks(views, detector)
    found = landmark_views(views, model)
    check_rig(found)
    focal_known = [view.focal_known for view in views]
    start = initialize(views, model, focal_known, recipe.start, found, device)
    fates = _without_landmarks(views, start)
    left_out = {*start.dropped, *(name for name, fate in fates.items() if fate == BLIND)}
    kept = [i for i, view in enumerate(views) if view.name not in left_out]
    notes = [f"view {name!r} {fate}" for name, fate in fates.items()]
    for text in notes:
        log.warning(text)
    state, sharing, frames = _state(views, kept, start, model, recipe, device)
    views = tuple(replace(views[i], frame=f) for i, f in zip(kept, frames, strict=True))
    model = model_on(model, device)
    scene = Scene(views, model, sharing, rasterizer, device).framed(state)
    scene = replace(scene, views=with_masks(scene, state))
    s = recipe.start
    deviations = [
        1e-4 if v.camera_known else s.exif_deviation if v.focal_known else s.focal_deviation
        for v in views
    ]
    told = (*warnings, *start.warnings, *notes)
    return Prepared(scene, state, torch.tensor(deviations), told, asked)


def _without_landmarks(views: Sequence[View], start: Start) -> dict[str, str]:
    """What becomes of calibrated views without landmarks, by where their cameras stand."""
    fates = {}
    for view in views:
        if view.landmarks is None and view.name not in start.dropped:
            T = start.pose_reference[view.frame].double().cpu()
            towards = T[:3, :3].mT @ (view.camera.centre.double().cpu() - T[:3, 3])
            frontal = float(towards[2]) > FRONTAL * float(towards.norm())
            fates[view.name] = BLIND if frontal else SIDEWAYS
    return fates


class _Kept(threading.local):
    """MediaPipe's detector of a thread, and the process that made it: a forked child makes its own."""

    detector: LandmarkDetector | None = None
    process: int = 0


_kept = _Kept()


def _kept_detector() -> LandmarkDetector:
    """The thread's detector, for this fit and the next: making one takes 0.1 s, the first 2 s. What it finds in
    a photograph does not depend on those before."""
    if type(_kept.detector) is not MediaPipeDetector or _kept.process != os.getpid():
        _kept.detector, _kept.process = MediaPipeDetector(), os.getpid()
    return _kept.detector


def with_landmarks(
    views: tuple[View, ...], detector: LandmarkDetector | None = None
) -> tuple[tuple[View, ...], tuple[str, ...], LandmarkDetector | None]:
    """Detected landmarks for views that were given none, warnings for views without a face, and the
    detector that was asked."""
    if all(view.landmarks is not None for view in views):
        return views, (), None
    detector = detector or _kept_detector()
    found, warnings = [], []
    for view in views:
        if view.landmarks is None:
            view = replace(view, landmarks=detector.detect(view.image))
            if view.landmarks is None and not view.camera_known:
                warnings.append(f"view {view.name!r} is left out: no face was found in it")
        found.append(view)
    if all(view.landmarks is None for view in found):
        names = ", ".join(view.name for view in found)
        raise ValueError(
            f"no face was found in {names}; crop closer to the face, turn the image upright, "
            "or pass landmarks= with 68, 478 or 5 points"
        )
    usable = [v for v in found if v.landmarks is not None or v.camera_known]
    return tuple(_renumbered(usable)), tuple(warnings), detector


def _renumbered(views: Sequence[View]) -> list[View]:
    """Frames without gaps after views were left out."""
    order = {frame: i for i, frame in enumerate(sorted({v.frame for v in views}))}
    return [replace(view, frame=order[view.frame]) for view in views]


def _state(
    views: tuple[View, ...],
    kept: list[int],
    start: Start,
    model: FaceModel,
    recipe: Recipe,
    device: torch.device,
) -> tuple[FaceState, Sharing, list[int]]:
    """The first state of the kept views, on the device, who shares what, and their frames without gaps."""
    old = sorted({views[i].frame for i in kept})
    frames = [old.index(views[i].frame) for i in kept]
    frame = torch.tensor(frames)

    def rows(kind: str) -> Tensor:
        return {
            "view": torch.arange(len(kept)),
            "frame": frame,
            "subject": torch.zeros_like(frame),
        }[kind]

    sharing = Sharing(frame, rows(recipe.share.light), rows(recipe.share.displacement))
    size = recipe.resolution
    state = zero_state(
        identity=model.n_identity,
        expression=model.n_expression,
        albedo=model.n_albedo,
        sharing=sharing,
        deformation=size.deformation,
        displacement=size.displacement,
        albedo_map=size.albedo,
        device=device,
    )
    found = {
        "identity": start.identity,
        "expression": start.expression[old],
        "pose_reference": start.pose_reference[old],
        "log_focal": start.log_focal[kept],
    }
    return state.replace(**sent(found, device)), sharing, frames


def with_masks(scene: Scene, state: FaceState) -> tuple[View, ...]:
    """Views with a mask each: the given one, or GrabCut around the projected face."""
    bare = [v for v, view in enumerate(scene.views) if view.mask is None]
    views = list(scene.views)
    if not bare:
        return scene.views
    from hrnfit.geometry.compiled import run_all  # local: numba

    world = scene.world(state).cpu()

    def cut(v: int, silhouette: Tensor) -> None:
        mask = mask_from_projection(views[v].image, silhouette)
        views[v] = replace(views[v], mask=mask)

    outlines = [(v, projected_silhouette(scene, state, v, world)) for v in bare]
    run_all([partial(cut, v, outline) for v, outline in outlines if bool(outline.any())])
    return tuple(views)


def projected_silhouette(
    scene: Scene, state: FaceState, v: int, world: Float[Tensor, "T N 3"] | None = None
) -> Float[Tensor, "H W"]:
    """Where the face covers the photograph, in its own distorted pixels; `world` spares a second
    `scene.world(state)`. On the CPU, where the mask is made."""
    view = scene.views[v]
    world = scene.world(state).cpu() if world is None else world
    vertices = world[int(scene.sharing.frame[v])]
    K = view.camera.K.float().clone()
    K[:, :2] *= float(state.log_focal[v].exp())
    T = pose_matrix(state.camera[v].cpu().float(), view.camera.T_cam_world.float())
    camera = replace(view.camera.to(torch.float32), K=K, T_cam_world=T)
    points = torch.cat([camera.project(vertices), camera.depth(vertices)[:, None]], dim=1)
    from hrnfit.render.cpu import CpuRasterizer  # local: numba

    faces = scene.model.faces.cpu()
    raster = CpuRasterizer().rasterize(points[None], faces, view.camera.height, view.camera.width)
    return (raster.triangle[0] >= 0).float()
