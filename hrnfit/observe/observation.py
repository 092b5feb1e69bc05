"""What was observed: photographs in their own pixels, and the stacked working views of a stage.

A `View` is never cropped or resized. `WorkingViews` are square pinhole windows onto the views, the
same size for all, so that one rasterisation draws them together.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.brief import brief
from hrnfit.camera import Camera


@dataclass(frozen=True)
class Landmarks:
    """2D points of one image."""

    points: Float[Tensor, "L 2"]
    """Original pixels, (0, 0) the corner of the top-left pixel."""
    confidence: Float[Tensor, "L"]
    """0..1; 0 where the point is missing."""
    scheme: str
    """`ibug68`, `mediapipe478` or `five` (eye centres, nose tip, mouth corners; image-left first)."""

    __repr__ = brief


@dataclass(frozen=True)
class View:
    """One photograph."""

    name: str
    image: Float[Tensor, "H W 3"]
    """Linear RGB, original pixels."""
    camera: Camera
    """Given, or guessed when `camera_known` is false."""
    camera_known: bool
    frame: int
    """Views of one frame were shot at the same instant: they share expression and head pose."""
    landmarks: Landmarks | None = None
    mask: Float[Tensor, "H W"] | None = None
    """1 where the face may be compared, 0 where it may not; None when not given."""
    focal_known: bool = False
    """Whether an uncalibrated camera's focal length comes from the file's EXIF data."""

    __repr__ = brief


@dataclass(frozen=True)
class WorkingViews:
    """V square windows of S px onto undistorted images, stacked."""

    images: Float[Tensor, "V S S 3"]
    """Linear RGB."""
    masks: Float[Tensor, "V S S"]
    """0..1: inside the photograph and inside the view's mask."""
    inside: Bool[Tensor, "V S S"]
    """Pixels that lie in the photograph whole, undistortion included, whatever the mask."""
    K: Float[Tensor, "V 3 3"]
    """Intrinsics of the window, px, before `log_focal`."""
    T_cam_world: Float[Tensor, "V 4 4"]
    """Before the camera correction; mm."""
    landmarks: Float[Tensor, "V L 2"]
    """In the window's pixels, undistorted."""
    landmark_confidence: Float[Tensor, "V L"]
    names: tuple[str, ...]
    landmark_scheme: str = "mediapipe478"
    """Scheme of `landmarks`; see `Landmarks.scheme`."""

    @property
    def size(self) -> int:
        return self.images.shape[1]
