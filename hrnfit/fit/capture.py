"""What one subject of a batch is: photographs and what is known of them, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hrnfit.check import check_kind
from hrnfit.io.image_size import image_size
from hrnfit.observe.load import (
    SOURCE,
    Cameras,
    GivenLandmarks,
    Images,
    Masks,
    check_inputs,
    listed,
)


@dataclass(frozen=True, eq=False)
class Capture:
    """One subject as `hrnfit.fit` takes it: photographs, and cameras, masks and landmarks where they are known."""

    images: Images
    """Paths or arrays, one or many, or a dict by name."""
    cams: Cameras = None
    """A camera file, `Camera` objects, or None when unknown."""
    masks: Masks = None
    """A folder, or images by name; 1 keeps a pixel."""
    landmarks: GivenLandmarks = None
    """A JSON file, or (68 | 478 | 5, 2) pixels by image name."""
    frames: Sequence[int] | None = None
    """Instant of each view."""
    name: str = ""
    """Of the subject, in messages and as the folder of its result; empty: `subject_<number>`."""


def named_captures(captures: Sequence[Capture]) -> tuple[Capture, ...]:
    """The captures with a name each, and their images at hand; ValueError when two have the same name."""
    named = tuple(
        replace(capture, images=listed(capture.images), name=capture.name or f"subject_{i}")
        for i, capture in enumerate(captures)
    )
    seen = set[str]()
    for capture in named:
        if Path(capture.name).name != capture.name or capture.name in (".", ".."):
            raise ValueError(
                f"captures: subject {capture.name!r} must have a name that a folder can have"
            )
        if capture.name in seen:
            raise ValueError(
                f"captures: two subjects are called {capture.name!r}; give each its own name"
            )
        seen.add(capture.name)
    if not named:
        raise ValueError("captures: none given; pass at least one hrnfit.Capture")
    return named


def check_captures(captures: Sequence[Capture]) -> None:
    """Raise TypeError when one is something else."""
    check_kind("captures", captures, (Sequence,), "a list of hrnfit.Capture")
    for i, capture in enumerate(captures):
        check_kind(f"captures[{i}]", capture, (Capture,), "a hrnfit.Capture(images, cams, ...)")


def kind_of(capture: Capture) -> str:
    """Of two captures of one kind, a fit takes the same recipe where it chooses itself."""
    single = isinstance(capture.images, SOURCE) or len(capture.images) == 1
    return "single" if single else "views" if capture.cams is None else "rig"


def photograph_sizes(capture: Capture, max_size: int | None) -> list[tuple[int, int]]:
    """Height and width of the photographs as a fit takes them, px, as far as their headers say."""
    images = capture.images
    if isinstance(images, Mapping):
        images = list(images.values())
    sources = [images] if isinstance(images, SOURCE) else list(images)
    sizes = [size for source in sources if (size := image_size(source)) is not None]
    if max_size is None:
        return sizes
    shares = [min(1.0, max_size / max(size)) for size in sizes]
    return [(round(h * s), round(w * s)) for (h, w), s in zip(sizes, shares, strict=True)]


def fault(capture: Capture) -> Exception | None:
    """What can be told to be wrong with a capture without opening a photograph, in words that name it."""
    try:
        check_inputs(capture.images, capture.cams, capture.masks, capture.landmarks, capture.frames)
    except (ValueError, TypeError, OSError) as error:
        kind = next(k for k in (FileNotFoundError, OSError, TypeError, ValueError)
                    if isinstance(error, k))  # fmt: skip
        return kind(f"subject {capture.name!r}: {error}")
    return None
