"""A calibrated camera: pinhole, OpenCV's Brown distortion, crop and resize.

Law: x_cam = T_cam_world x_world, (x, y) = x_cam.xy / x_cam.z, (x', y') = brown(x, y), pixel =
K (x', y', 1). Pixel (0, 0) is the corner of the top-left pixel, centres at +0.5; mm; x right, y
down, z forward. Files and their other conventions are in `io/cameras`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.check import check_finite, check_rotation, check_shape
from hrnfit.geometry import brown

Vector = Sequence[float] | np.ndarray | Tensor
"""Numbers in any form that `torch.as_tensor` takes."""


@dataclass(frozen=True)
class Camera:
    """One calibrated view of the world. All tensors share one dtype and device."""

    K: Float[Tensor, "3 3"]
    """Intrinsics, px: [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]; (cx, cy) counted from the corner."""
    T_cam_world: Float[Tensor, "4 4"]
    """Rigid transform from the world to the camera, mm."""
    distortion: Float[Tensor, "D"]
    """k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4]]], OpenCV's order; D is 0, 4, 5, 8 or 12."""
    height: int
    """Image height, px."""
    width: int
    """Image width, px."""
    name: str = ""
    """Stem of the image files it belongs to."""

    def __post_init__(self) -> None:
        matrices = self.K, self.T_cam_world, self.distortion
        _check_shapes(_label(self.name), *matrices, self.height, self.width)

    @staticmethod
    def create(
        K: Vector | Sequence[Sequence[float]],
        T_cam_world: Vector | Sequence[Sequence[float]] | None = None,
        distortion: Vector = (),
        *,
        height: int,
        width: int,
        name: str = "",
        dtype: torch.dtype = torch.float64,
    ) -> Camera:
        """A checked camera from lists or arrays; the pose is the identity when not given."""
        pose = torch.eye(4, dtype=dtype) if T_cam_world is None else _tensor(T_cam_world, dtype)
        intrinsics, lens = _tensor(K, dtype), _tensor(distortion, dtype)
        _check_shapes(_label(name), intrinsics, pose, lens, height, width)
        camera = Camera(intrinsics, pose, lens, int(height), int(width), name)
        check_camera(camera)
        return camera

    @staticmethod
    def look_at(
        position: Vector,
        target: Vector = (0.0, 0.0, 0.0),
        up: Vector = (0.0, 1.0, 0.0),
        *,
        focal: float,
        height: int,
        width: int,
        name: str = "",
        dtype: torch.dtype = torch.float64,
    ) -> Camera:
        """A pinhole camera at `position` (mm) that sees `target` at its centre, `up` upwards."""
        centre, goal, above = (np.asarray(v, dtype=np.float64) for v in (position, target, up))
        z = goal - centre
        x = np.cross(z, above)
        if np.linalg.norm(x) <= 1e-9 * np.linalg.norm(z) * np.linalg.norm(above):
            raise ValueError("look_at: up is parallel to the viewing direction; give another up")
        z, x = z / np.linalg.norm(z), x / np.linalg.norm(x)
        T_cam_world = np.eye(4)
        T_cam_world[:3, :3] = np.stack([x, np.cross(z, x), z])
        T_cam_world[:3, 3] = -T_cam_world[:3, :3] @ centre
        K = [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]
        return Camera.create(K, T_cam_world, height=height, width=width, name=name, dtype=dtype)

    @property
    def centre(self) -> Float[Tensor, "3"]:
        """Centre of projection in the world, mm."""
        R, t = self.T_cam_world[:3, :3], self.T_cam_world[:3, 3]
        return -R.mT @ t

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Camera:
        """A copy in another dtype or on another device."""
        K = self.K.to(device=device, dtype=dtype)
        pose = self.T_cam_world.to(device=device, dtype=dtype)
        distortion = self.distortion.to(device=device, dtype=dtype)
        return replace(self, K=K, T_cam_world=pose, distortion=distortion)

    def depth(self, x_world: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
        """Camera depth (z in the camera frame), mm."""
        return x_world @ self.T_cam_world[2, :3] + self.T_cam_world[2, 3]

    def project(self, x_world: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 2"]:
        """Pixels of world points (mm). Points behind the camera get pixels too: see `sees`."""
        x_cam = x_world @ self.T_cam_world[:3, :3].mT + self.T_cam_world[:3, 3]
        z = x_cam[..., 2:]
        tiny = 1e-9  # mm; keeps the division finite in the camera's own plane
        z = torch.where(z.abs() < tiny, torch.full_like(z, tiny), z)
        return self._pixels(brown.distort(x_cam[..., :2] / z, self.distortion))

    def unproject(
        self, pixels: Float[Tensor, "*B 2"], depth: Float[Tensor, "*B"]
    ) -> Float[Tensor, "*B 3"]:
        """World points (mm) seen at `pixels` with the given camera depth (mm)."""
        xy = brown.undistort(self._normalised(pixels), self.distortion)
        x_cam = torch.cat([xy, torch.ones_like(xy[..., :1])], -1) * depth[..., None]
        return (x_cam - self.T_cam_world[:3, 3]) @ self.T_cam_world[:3, :3]

    def undistort(self, pixels: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Where `pinhole()` sees what this camera sees at `pixels`. Raises outside the lens model."""
        return self._pixels(brown.undistort(self._normalised(pixels), self.distortion))

    def distort(self, pixels: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Where this camera sees what `pinhole()` sees at `pixels`; the inverse of `undistort`."""
        return self._pixels(brown.distort(self._normalised(pixels), self.distortion))

    def sees(self, x_world: Float[Tensor, "*B 3"]) -> Bool[Tensor, "*B"]:
        """In front of the camera, inside its lens model and inside the image."""
        x_cam = x_world @ self.T_cam_world[:3, :3].mT + self.T_cam_world[:3, 3]
        front = x_cam[..., 2] > 0
        xy = (
            x_cam[..., :2]
            / torch.where(front, x_cam[..., 2], torch.ones_like(x_cam[..., 2]))[..., None]
        )
        pixels = self.project(x_world)
        size = torch.tensor([self.width, self.height], dtype=pixels.dtype, device=pixels.device)
        inside = ((pixels >= 0) & (pixels <= size)).all(-1)
        return front & inside & brown.is_valid(xy, self.distortion)

    def lens_valid(self, pixels: Float[Tensor, "*B 2"]) -> Bool[Tensor, "*B"]:
        """Where `distort` of a pinhole pixel is one-to-one: inside the fold of the lens model."""
        return brown.is_valid(self._normalised(pixels), self.distortion)

    def crop(self, left: float, top: float, width: int, height: int) -> Camera:
        """The camera of the window of `width` x `height` px whose corner is (left, top)."""
        shift = self.K.new_tensor([[0.0, 0.0, left], [0.0, 0.0, top], [0.0, 0.0, 0.0]])
        return replace(self, K=self.K - shift, width=width, height=height)

    def resize(self, height: int, width: int) -> Camera:
        """The camera of the same image resampled to `height` x `width` px."""
        scale = self.K.new_tensor([[width / self.width], [height / self.height], [1.0]])
        return replace(self, K=self.K * scale, width=width, height=height)

    def pinhole(self) -> Camera:
        """The same camera without lens distortion."""
        return replace(self, distortion=self.distortion.new_zeros(0))

    def _pixels(self, xy: Tensor) -> Tensor:
        """Pixels of normalised image coordinates (..., 2)."""
        return xy @ self.K[:2, :2].mT + self.K[:2, 2]

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Inverse of `_pixels`, by back substitution (K is upper triangular)."""
        y = (pixels[..., 1] - self.K[1, 2]) / self.K[1, 1]
        x = (pixels[..., 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0]
        return torch.stack([x, y], -1)


def check_camera(camera: Camera) -> None:
    """The values of a camera make sense; the error names the camera and the field."""
    where = _label(camera.name)
    for field in ("K", "T_cam_world", "distortion"):
        check_finite(where + field, getattr(camera, field), "read the calibration file again")
    K = camera.K.detach()
    if float(K[0, 0]) <= 0 or float(K[1, 1]) <= 0:
        raise ValueError(
            f"{where}focal lengths must be positive, got fx {float(K[0, 0]):g}, fy "
            f"{float(K[1, 1]):g} px; for OpenGL cameras convert to x right, y down, z forward"
        )
    lower = torch.stack([K[1, 0], K[2, 0], K[2, 1], K[2, 2] - 1]).abs().max()
    if float(lower) > 1e-6:
        raise ValueError(
            f"{where}K must be [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]; is it transposed?"
        )
    check_rotation(f"{where}T_cam_world rotation", camera.T_cam_world[:3, :3])
    bottom = camera.T_cam_world[3].detach() - camera.T_cam_world.new_tensor([0.0, 0, 0, 1])
    if float(bottom.abs().max()) > 1e-6:
        raise ValueError(f"{where}T_cam_world must end with the row 0 0 0 1; is it transposed?")


def check_rig_scale(cameras: Sequence[Camera], head: Float[Tensor, "3"] | None = None) -> None:
    """World lengths look like mm: the cameras, and the head's centre if known, are not too close.

    A head fills the picture from 300 mm to 3 m away: in metres that is 0.3 to 3, in cm 30 to 300.
    """
    centres = torch.stack([c.centre.detach().to("cpu", torch.float64) for c in cameras])
    advice = "lengths must be in mm"
    if head is not None:
        nearest = float(torch.cdist(centres, head.detach().to(centres)[None]).min())
        if nearest < 10:
            raise ValueError(
                f"cameras: the head is {nearest:.3g} from the nearest camera, which looks like "
                f"metres; {advice}: multiply the translations by 1000"
            )
        if nearest < 80:
            raise ValueError(
                f"cameras: the head is {nearest:.3g} from the nearest camera, which looks like "
                f"centimetres; {advice}: multiply the translations by 10"
            )
    spread = float(torch.cdist(centres, centres).max())
    # Exactly coincident cameras say nothing of the unit (single camera, or poses not given).
    if 1e-6 < spread < 10:
        raise ValueError(
            f"cameras: the farthest two of {len(cameras)} are {spread:.3g} apart, which looks like "
            f"metres; {advice}: multiply the translations by 1000"
        )


def _check_shapes(
    where: str, K: Tensor, T_cam_world: Tensor, distortion: Tensor, height: int, width: int
) -> None:
    check_shape(f"{where}K", K, (3, 3))
    check_shape(f"{where}T_cam_world", T_cam_world, (4, 4), "append the row 0 0 0 1")
    check_shape(f"{where}distortion", distortion, ("D",))
    if distortion.shape[0] not in brown.LENGTHS:
        raise ValueError(
            f"{where}distortion has {distortion.shape[0]} coefficients; expected 0, 4, 5, 8 or 12: "
            "k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4]]]"
        )
    if height < 1 or width < 1:
        raise ValueError(
            f"{where}image size is {width}x{height} (width x height); "
            "give the size of the images it was calibrated for"
        )


def _label(name: str) -> str:
    return f"camera {name!r}: " if name else "camera: "


def _tensor(values: Vector | Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64)).to(dtype)
