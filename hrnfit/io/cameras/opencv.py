"""Camera files in plain OpenCV convention: a JSON list of calibrated views.

    [{"name": "cam_0", "K": [[..]], "dist": [k1, k2, p1, p2, k3], "T_cam_world": [[..]],
      "width": 1024, "height": 1024}, ...]

In the file, as in cv2, pixel (0, 0) is the centre of the top-left pixel; inside hrnfit it is the
corner. So 0.5 is added to cx and cy on reading and taken away on writing. Lengths are mm.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hrnfit.camera import Camera
from hrnfit.tree import write_bytes

REQUIRED = ("name", "K", "T_cam_world", "width", "height")


def read_opencv(path: str | Path) -> tuple[Camera, ...]:
    """All cameras of a file, float64, checked; the error names the camera and the field."""
    path = Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if isinstance(entries, dict) and "cameras" in entries:
        entries = entries["cameras"]
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f"{path}: expected a non-empty JSON list of cameras, each with {', '.join(REQUIRED)}"
        )
    cameras = tuple(_camera(entry, f"{path}: camera {i}") for i, entry in enumerate(entries))
    names = [camera.name for camera in cameras]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: camera name {twice[0]!r} occurs twice; names must differ")
    return cameras


def write_opencv(path: str | Path, cameras: tuple[Camera, ...]) -> None:
    """Write cameras so that `read_opencv` gives them back to the last bit of their decimals."""
    entries = []
    for camera in cameras:
        K = camera.K.detach().cpu().double().numpy().copy()
        K[:2, 2] -= 0.5
        entries.append(
            {
                "name": camera.name,
                "K": K.tolist(),
                "dist": camera.distortion.detach().cpu().double().tolist(),
                "T_cam_world": camera.T_cam_world.detach().cpu().double().tolist(),
                "width": camera.width,
                "height": camera.height,
            }
        )
    write_bytes(path, (json.dumps(entries, indent=1) + "\n").encode())


def _camera(entry: Any, where: str) -> Camera:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object with {', '.join(REQUIRED)}")
    if isinstance(entry.get("name"), str):
        where = f"{where} ({entry['name']})"
    missing = [field for field in REQUIRED if field not in entry]
    if missing:
        raise ValueError(f"{where}: field {missing[0]!r} is missing")
    K = _numbers(entry, "K", (3, 3), where)
    pose = _numbers(entry, "T_cam_world", (4, 4), where)
    distortion = _numbers(entry, "dist", None, where) if entry.get("dist") else np.zeros(0)
    if distortion.size == 14:
        if np.any(distortion[12:]):
            raise ValueError(
                f"{where}: dist has a tilted sensor (tau_x, tau_y), which is not known"
            )
        distortion = distortion[:12]
    for field in ("width", "height"):
        value = entry[field]
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole:
            raise ValueError(f"{where}: {field} must be a whole number of pixels, got {value!r}")
    K[:2, 2] += 0.5
    try:
        return Camera.create(
            K,
            pose,
            distortion,
            height=int(entry["height"]),
            width=int(entry["width"]),
            name=str(entry["name"]),
        )
    except ValueError as error:
        raise ValueError(f"{where}: {_without_prefix(str(error))}") from error


def _numbers(
    entry: dict[str, Any], field: str, shape: tuple[int, ...] | None, where: str
) -> np.ndarray:
    try:
        values = np.array(entry[field], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {field} must hold numbers only ({error})") from error
    if shape is None:
        return values.ravel()
    if values.shape != shape:
        raise ValueError(f"{where}: {field} must be {shape[0]}x{shape[1]}, got {values.shape}")
    return values


def _without_prefix(message: str) -> str:
    """The message of `Camera` without its own "camera 'x': ", which `where` already says."""
    return message.split(": ", 1)[1] if message.startswith("camera") else message
