"""From what the user gives to checked views: images, cameras, masks, landmarks, frames.

Cameras, masks and landmarks belong to images by name (the file stem). One bad view of several is
left out with a warning; when none is left, the first reason is raised.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hrnfit.camera import Camera, check_camera, check_rig_scale
from hrnfit.check import check_kind, check_shape
from hrnfit.io.cameras import load_cameras
from hrnfit.io.image import ImageSource, Photograph, load_image, read_mask
from hrnfit.observe.given import GivenLandmarks, landmarks_by_name, masks_by_name
from hrnfit.observe.observation import Landmarks, View

log = logging.getLogger(__name__)

GUESSED_FOCAL = 2.0
"""Focal length of an unknown camera over the image's long side: a 72 mm lens on 36 mm film, in the
middle of the 50-100 mm that portraits are taken with. The fit estimates it; this is its start."""

SOURCE = (str, Path, np.ndarray, Tensor)
"""The kinds of one `ImageSource`."""

Images = ImageSource | Sequence[ImageSource] | Mapping[str, ImageSource]
Cameras = str | Path | Camera | Sequence[Camera] | None
Masks = str | Path | Sequence[ImageSource | None] | Mapping[str, ImageSource] | None


def load_views(
    images: Images,
    cameras: Cameras = None,
    masks: Masks = None,
    landmarks: GivenLandmarks = None,
    frames: Sequence[int] | None = None,
    max_size: int | None = None,
) -> tuple[tuple[View, ...], tuple[str, ...]]:
    """Views ready to fit, and warnings for the result.

    images: paths or arrays (uint8/uint16 sRGB, float linear), one or several, or a dict by name.
    cameras: a camera file, `Camera` objects in any order of names, or None when unknown: then the
    focal length comes from EXIF or `GUESSED_FOCAL`, and the pose is the identity.
    masks: a folder or a dict by image name, or a list in the order of the images.
    landmarks: a JSON file or dict by image name, or a list of (68 | 478 | 5, 2) px.
    frames: instant of each image; default: all one with cameras, each its own without.
    max_size: longest side, px; larger images are shrunk, with their camera and landmarks.
    """
    if max_size is not None:
        check_kind("max_size", max_size, (int,), "a whole number of pixels")
    named = _named_images(images)
    names = list(named)
    warnings: list[str] = []
    by_name = _cameras_by_name(names, cameras, isinstance(images, Mapping), warnings)
    given_masks = masks_by_name(names, masks, warnings)
    given_points = landmarks_by_name(names, landmarks, warnings)
    instants = _frames(names, frames, known=by_name is not None)
    views, reasons = [], []
    for i, (name, source) in enumerate(named.items()):
        try:
            photograph = load_image(source, max_size)
            camera = None if by_name is None else by_name[name]
            mask, points = given_masks.get(name), given_points.get(name)
            views.append(_view(name, photograph, camera, mask, points, instants[i]))
        except (ValueError, TypeError, OSError) as error:
            reasons.append(error)
            warnings.append(f"view {name!r} is left out: {error}")
    if not views:
        raise _none_left(reasons)
    for text in warnings:
        log.warning(text)
    if by_name is not None and len(views) > 1:
        check_rig_scale([view.camera for view in views])
    return _renumbered(views), tuple(warnings)


def _named_images(images: Images) -> dict[str, ImageSource]:
    """Images by name: file stems, `view_<i>` for arrays; the folder's name makes equal stems differ."""
    named: dict[str, ImageSource]
    if isinstance(images, Mapping):
        named = dict(images)
    else:
        single = isinstance(images, SOURCE)
        if not single:
            check_kind("images", images, (Iterable,), "a path, an array, several or a dict of them")
        sources: list[ImageSource] = [images] if single else list(images)
        for source in sources:
            check_kind("images", source, SOURCE, "paths or arrays")
        stems = [_stem(source, i) for i, source in enumerate(sources)]
        stems = [
            f"{Path(source).resolve().parent.name}_{stem}"
            if stems.count(stem) > 1 and isinstance(source, (str, Path))
            else stem
            for stem, source in zip(stems, sources, strict=True)
        ]
        twice = [stem for stem in stems if stems.count(stem) > 1]
        if twice:
            raise ValueError(f"images: {twice[0]!r} is given twice; give each image once")
        named = dict(zip(stems, sources, strict=True))
    if not named:
        raise ValueError("images: none given; pass at least one path or array")
    return named


def _stem(source: ImageSource, index: int) -> str:
    return Path(source).stem if isinstance(source, (str, Path)) else f"view_{index}"


def _cameras_by_name(
    names: list[str], cameras: Cameras, named: bool, warnings: list[str]
) -> dict[str, Camera] | None:
    """Camera of each image: by name; by order when no name fits and the counts agree."""
    if cameras is None:
        return None
    if isinstance(cameras, (str, Path)):
        rig = load_cameras(cameras)
    else:
        if not isinstance(cameras, Camera):
            check_kind("cams", cameras, (Iterable,), "a camera file or Camera objects")
        rig = (cameras,) if isinstance(cameras, Camera) else tuple(cameras)
        for camera in rig:
            check_kind("cams", camera, (Camera,), "a camera file or Camera objects")
            check_camera(camera)
    known = {camera.name: camera for camera in rig if camera.name}
    if len(known) == len(rig) and all(name in known for name in names):
        return {name: known[name] for name in names}
    listing = (
        f"images: {', '.join(names)}; cameras: {', '.join(c.name or '(unnamed)' for c in rig)}"
    )
    if any(name in known for name in names):
        lost = next(name for name in names if name not in known)
        raise ValueError(
            f"cameras: none is named like image {lost!r}; name it like the image file (without suffix), or "
            f"leave that image out; {listing}"
        )
    if len(rig) != len(names):
        raise ValueError(
            f"cameras: {len(rig)} cameras for {len(names)} images and no name fits; name the cameras "
            f"like the image files (without suffix), or give one camera per image; {listing}"
        )
    if any(c.name for c in rig) and (named or not all(n.startswith("view_") for n in names)):
        warnings.append(f"cameras belong to images by order, no name fits; {listing}")
    return dict(zip(names, rig, strict=True))


def _frames(names: list[str], frames: Sequence[int] | None, known: bool) -> list[int]:
    if frames is None:
        return [0 if known else i for i in range(len(names))]
    if len(frames) != len(names):
        raise ValueError(f"frames: expected {len(names)} numbers, one per image, got {len(frames)}")
    if any(int(f) != f or f < 0 for f in frames):
        raise ValueError(f"frames: expected whole numbers from 0, got {list(frames)}")
    return [int(f) for f in frames]


def _view(
    name: str,
    photograph: Photograph,
    camera: Camera | None,
    mask: ImageSource | None,
    points: Landmarks | None,
    frame: int,
) -> View:
    height, width = photograph.image.shape[:2]
    full = photograph.full_size or (height, width)
    known = camera is not None
    if camera is None:
        camera = guessed_camera(photograph, name)
    else:
        _check_same_size(name, full, camera)
        if photograph.full_size is not None:
            camera = camera.resize(height, width)
    if points is not None:
        points = _checked_landmarks(name, points, full, (height, width))
    return View(
        name=name,
        image=photograph.image,
        camera=camera,
        camera_known=known,
        frame=frame,
        landmarks=points,
        mask=_combined_mask(name, mask, photograph, full),
        focal_known=not known and photograph.focal is not None,
    )


def guessed_camera(photograph: Photograph, name: str = "") -> Camera:
    """An unknown camera's start: focal length from EXIF or `GUESSED_FOCAL`, centred, pose identity."""
    height, width = photograph.image.shape[:2]
    focal = photograph.focal or GUESSED_FOCAL * max(height, width)
    K = [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]
    return Camera.create(K, height=height, width=width, name=name)


def _check_same_size(name: str, size: tuple[int, int], camera: Camera) -> None:
    height, width = size
    if (camera.height, camera.width) == (height, width):
        return
    text = (
        f"image {name!r} has {width}x{height} pixels, its camera {camera.name!r} is for "
        f"{camera.width}x{camera.height}"
    )
    same_aspect = abs(width * camera.height - height * camera.width) <= max(width, height)
    if same_aspect:
        advice = (
            f"the aspect agrees: if the image was resized, pass camera.resize({height}, {width}); cameras "
            "are those of the files as they are, also when max_size shrinks them"
        )
    elif (camera.width, camera.height) == (height, width):
        advice = "the image is turned by 90 degrees: check its EXIF orientation"
    else:
        advice = "if the image was cropped, pass camera.crop(left, top, width, height)"
    raise ValueError(f"{text}; {advice}")


def _combined_mask(
    name: str, mask: ImageSource | None, photograph: Photograph, full: tuple[int, int]
) -> Tensor | None:
    """The given mask times the image's own alpha, at the size of the image."""
    if mask is None:
        return photograph.alpha
    values = read_mask(mask)
    size = tuple(photograph.image.shape[:2])
    if tuple(values.shape) == tuple(full) and full != size:
        values = torch.nn.functional.interpolate(values[None, None], size, mode="area")[0, 0]
    if tuple(values.shape) != size:
        raise ValueError(
            f"mask of {name!r} has {values.shape[1]}x{values.shape[0]} pixels, its image "
            f"{full[1]}x{full[0]}; masks must have the size of their image"
        )
    if float(values.max()) == 0:
        raise ValueError(f"mask of {name!r} is empty: it leaves no pixel; 1 (white) keeps a pixel")
    return values if photograph.alpha is None else values * photograph.alpha


def _checked_landmarks(
    name: str, landmarks: Landmarks, full: tuple[int, int], size: tuple[int, int]
) -> Landmarks:
    """Landmarks inside the image, scaled with it when `max_size` shrank it."""
    check_shape(f"landmarks of {name!r}", landmarks.points, ("L", 2))
    extent = torch.tensor([full[1], full[0]], dtype=torch.float32)
    outside = ((landmarks.points < 0) | (landmarks.points > extent)).any(-1)
    outside &= landmarks.confidence > 0
    if bool(outside.any()):
        i = int(outside.nonzero()[0, 0])
        x, y = landmarks.points[i].tolist()
        raise ValueError(
            f"landmarks of {name!r}: {int(outside.sum())} of {len(outside)} points lie outside the "
            f"{full[1]}x{full[0]} image, first number {i} at ({x:.1f}, {y:.1f}); give original pixels, "
            "x before y, and NaN for points that are missing"
        )
    scale = torch.tensor([size[1] / full[1], size[0] / full[0]], dtype=torch.float32)
    return replace(landmarks, points=landmarks.points * scale)


def _none_left(reasons: list[Exception]) -> Exception:
    if len(reasons) == 1:
        return reasons[0]
    listed = "; ".join(str(reason) for reason in reasons[:3])
    listed += f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return ValueError(f"images: none of {len(reasons)} can be used: {listed}")


def _renumbered(views: list[View]) -> tuple[View, ...]:
    """Frames counted 0, 1, ... without gaps after views were left out."""
    order = {frame: i for i, frame in enumerate(np.unique([view.frame for view in views]))}
    return tuple(replace(view, frame=order[view.frame]) for view in views)


def listed(images: Images | Iterator[ImageSource]) -> Images:
    """The images, as a list where they come from an iterator such as `folder.glob("*.png")`: they are looked at
    more than once."""
    return list(images) if isinstance(images, Iterator) else images


def check_inputs(
    images: Images,
    cameras: Cameras = None,
    masks: Masks = None,
    landmarks: GivenLandmarks = None,
    frames: Sequence[int] | None = None,
) -> None:
    """Raise what can be told of inputs before a photograph is opened: names, counts, files that are missing."""
    named = _named_images(images)
    names, told = list(named), list[str]()
    known = _cameras_by_name(names, cameras, isinstance(images, Mapping), told) is not None
    masks_by_name(names, masks, told)
    landmarks_by_name(names, landmarks, told)
    _frames(names, frames, known=known)
    files = [Path(s) for s in named.values() if isinstance(s, (str, Path))]
    if len(files) == len(named) and not any(path.is_file() for path in files):
        raise FileNotFoundError(f"{files[0]}: no such image; check the path")
