"""What needs a detector or the CPU renderer, done beforehand: `python -m benchmarks.prepared FILE`.

A machine with a GPU may have neither MediaPipe nor numba. The file holds the landmarks of every
photograph of the benchmarks, masks where a case brings none, and the synthetic rigs; benchmarks take it
by `--prepared FILE` and then fit what they would have fitted here.
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks import cases, data
from benchmarks.cases import Case
from hrnfit import Landmarks, load_recipe
from hrnfit.fit.prepare import prepare
from hrnfit.io.image import encode_srgb, linear_from_srgb
from hrnfit.observe.landmarks import LandmarkDetector, MediaPipeDetector
from hrnfit.observe.load import load_views
from hrnfit.synthetic import SyntheticRig


@dataclass(frozen=True)
class EncodedRig:
    """A rig for the file."""

    images: dict[str, np.ndarray]
    """By camera, (H, W, 3) uint8, sRGB."""
    masks: dict[str, np.ndarray]
    """By camera, (H, W) uint8, 255 is the head."""
    rest: SyntheticRig
    """Without images and masks."""


@dataclass
class Prepared:
    """Contents of the file. Also a detector, which answers for the photographs it knows."""

    landmarks: dict[str, Landmarks | None] = field(default_factory=dict)
    """By `checksum` of the photograph."""
    masks: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """By case that brings none, then by view; (H, W) uint8, 255 is the face."""
    rigs: dict[tuple[str, int, int], EncodedRig] = field(default_factory=dict)
    """By model, seed and size."""

    def detect(self, image: Float[Tensor, "H W 3"]) -> Landmarks | None:
        """What the detector found in this very photograph."""
        key = checksum(image)
        if key not in self.landmarks:
            raise KeyError("a photograph that was not prepared; run python -m benchmarks.prepared")
        return self.landmarks[key]

    def use(self) -> None:
        """Let the cases draw their synthetic rigs and masks from here."""
        cases.RIGS.update({key: decoded(rig) for key, rig in self.rigs.items()})
        cases.MASKS.update(self.masks)


@dataclass
class Recording:
    """A detector that remembers what it found."""

    inner: LandmarkDetector
    found: dict[str, Landmarks | None]

    def detect(self, image: Float[Tensor, "H W 3"]) -> Landmarks | None:
        """As the inner detector."""
        key = checksum(image)
        if key not in self.found:
            self.found[key] = self.inner.detect(image)
        return self.found[key]


def checksum(image: Float[Tensor, "H W 3"]) -> str:
    """Of a photograph's 8-bit codes, so that it survives the way to another machine."""
    return hashlib.sha256(encode_srgb(image).tobytes()).hexdigest()


def encoded(rig: SyntheticRig) -> EncodedRig:
    """The rig with images and masks as codes of 8 bits, and without its painted albedo, which no fit
    and no measure reads."""
    truth = replace(rig.truth, albedo=rig.truth.albedo.new_zeros(1, 1, 3))
    return EncodedRig(
        images={name: encode_srgb(image) for name, image in rig.images.items()},
        masks={name: (255 * m).round().byte().numpy() for name, m in rig.masks.items()},
        rest=replace(rig, images={}, masks={}, truth=truth),
    )


def decoded(rig: EncodedRig) -> SyntheticRig:
    """Codes back to linear light and coverage."""
    images = {name: linear_from_srgb(_unit(codes)) for name, codes in rig.images.items()}
    masks = {name: _unit(codes) for name, codes in rig.masks.items()}
    return replace(rig.rest, images=images, masks=masks)


def _unit(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(codes.astype(np.float32)) / 255


def load(path: str | Path | None) -> Prepared | None:
    """Read the file, and let the cases use it; None without a path."""
    if path is None:
        return None
    prepared: Prepared = pickle.loads(lzma.decompress(Path(path).read_bytes()))
    prepared.use()
    return prepared


def all_cases(models: tuple[str, ...], sets: tuple[str, ...]) -> Iterator[tuple[Case, str]]:
    """Cases of the benchmarks with the model they are fitted with."""
    for model in models:
        for name, make in cases.sets(model).items():
            if not sets or name in sets:
                yield from ((case, model) for case in make())


def gather(models: tuple[str, ...], sets: tuple[str, ...]) -> Prepared:
    """Detect, mask and render for every case."""
    out = Prepared()
    detector = Recording(MediaPipeDetector(), out.landmarks)
    for case, model in all_cases(models, sets):
        print(f"{model}: {case.name}", flush=True)
        views, _ = load_views(case.images, case.cameras, case.masks)
        for view in views:
            detector.detect(view.image)
        if case.masks is None and case.name not in out.masks:
            out.masks[case.name] = masks_of(case, model, detector)
    out.rigs = {key: encoded(rig) for key, rig in cases.RIGS.items()}
    return out


def masks_of(case: Case, model: str, detector: LandmarkDetector) -> dict[str, np.ndarray]:
    """What a fit would take for the face in each photograph."""
    from hrnfit.render.backend import rasterizer

    views, _ = load_views(case.images, case.cameras)
    recipe = load_recipe("single_view" if len(views) == 1 else "multi_view")
    cpu = torch.device("cpu")
    begun = prepare(views, data.model_of(model), recipe, rasterizer("cpu", cpu), cpu, detector)
    masks = {v.name: v.mask for v in begun.scene.views if v.mask is not None}
    return {name: (255 * mask.numpy()).round().astype(np.uint8) for name, mask in masks.items()}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--set", default="", help="comma-separated; all without")
    parser.add_argument("--model", default="ict,generic", help="comma-separated")
    given = parser.parse_args()
    sets = tuple(part for part in given.set.split(",") if part)
    # by its module's name, since a class of `__main__` cannot be read back elsewhere
    from benchmarks.prepared import gather

    prepared = gather(tuple(given.model.split(",")), sets)
    given.file.write_bytes(lzma.compress(pickle.dumps(prepared)))
    print(f"{given.file}: {given.file.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
