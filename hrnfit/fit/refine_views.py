"""What goes into a `RefineLayer`, made ready: views from plain images, who shares which rows, windows.

Windows lie around the landmarks, and where a view has none around the face as the state that came in
projects: they are constants, no gradient flows through where a window lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.check import check_shape
from hrnfit.fit.scene import Scene
from hrnfit.observe.observation import Landmarks, View
from hrnfit.observe.working import landmark_boxes
from hrnfit.state import SHAREABLE, FaceState, Sharing


def views_given(
    images: Sequence[View] | Float[Tensor, "V H W 3"],
    cameras: Sequence[Camera] | None,
    landmarks: Sequence[Landmarks | None] | None,
    masks: Float[Tensor, "V H W"] | None,
) -> tuple[View, ...]:
    """Views of one subject, from views or from images with one camera each (taken as calibrated)."""
    if not isinstance(images, Tensor):
        views = tuple(images)
        if cameras is not None:
            views = tuple(
                replace(view, camera=camera, camera_known=True)
                for view, camera in _paired("cameras", views, cameras)
            )
    else:
        check_shape("images", images, ("V", "H", "W", 3), "for one image pass image[None]")
        if cameras is None:
            raise ValueError(
                "cameras: images come without any; pass one camera per image, or views"
            )
        views = tuple(
            View(camera.name or f"view_{i}", image.detach(), camera, True, 0)
            for i, (image, camera) in enumerate(_paired("cameras", list(images), cameras))
        )
    if landmarks is not None:
        pairs = _paired("landmarks", views, landmarks)
        views = tuple(replace(view, landmarks=marks) for view, marks in pairs)
    if masks is not None:
        views = tuple(
            replace(view, mask=mask.detach()) for view, mask in _paired("masks", views, list(masks))
        )
    if not views:
        raise ValueError("images: none given; pass at least one view")
    return views


def sharing_of(views: Sequence[View], state: FaceState) -> Sharing:
    """Which row of each shared leaf a view uses, by how many rows the state has: one for all, one per
    view, or one per frame."""
    n = len(views)
    given = [view.frame for view in views]
    by_view, alone = list(range(n)), [0] * n

    def rows(name: str, count: int) -> Tensor:
        for candidate in (alone, given, by_view):
            if count == max(candidate) + 1:
                return torch.tensor(candidate)
        raise ValueError(
            f"state: {count} rows of {name} for {n} views in {max(given) + 1} frames; pass sharing="
        )

    return Sharing(
        frame=rows("expression", len(state.expression)),
        light=rows("light", len(state.light)),
        displacement=rows("displacement", len(state.displacement)),
    )


def check_state(state: FaceState, sharing: Sharing, views: Sequence[View]) -> None:
    """The state has a row for everything that the views use."""
    used = {
        "camera": len(views),
        "log_focal": len(views),
        **{name: int(sharing.frame.max()) + 1 for name in ("expression", "pose", "pose_reference")},
        "light": int(sharing.light.max()) + 1,
        "displacement": int(sharing.displacement.max()) + 1,
    }
    for name, count in used.items():
        have = len(getattr(state, name))
        if have != count:
            kind = "as its sharing says" if name in SHAREABLE else "one per view or frame"
            raise ValueError(f"state: expected {count} rows of {name}, {kind}, got {have}")
    if sharing.n_views != len(views):
        raise ValueError(f"sharing: made for {sharing.n_views} views, got {len(views)}")


def framed(scene: Scene, state: FaceState) -> Scene:
    """The scene with its windows placed."""
    with torch.no_grad():
        marked = [bool(v.landmarks and (v.landmarks.confidence > 0).any()) for v in scene.views]
        boxes = landmark_boxes(scene.views)
        if not all(marked):
            projected = scene.framed(state).boxes
            assert projected is not None
            boxes = torch.where(torch.tensor(marked)[:, None], boxes, projected.to(boxes))
    return replace(scene, boxes=boxes, _windows={})


def _paired(name: str, views: Sequence, given: Sequence) -> list[tuple]:
    if len(given) != len(views):
        raise ValueError(f"{name}: expected one per view, {len(views)}, got {len(given)}")
    return list(zip(views, given, strict=True))
