"""What is fitted: each set is one or several subjects with their photographs and their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import data
from hrnfit.camera import Camera
from hrnfit.geometry.mesh import subdivide
from hrnfit.model.face_model import FaceModel
from hrnfit.synthetic import Subject, SyntheticRig, synthetic_rig

SYNTHETIC_SIZE = 512
"""Side of the synthetic photographs, px."""

SUBJECTS = {
    1: Subject(),
    2: Subject(identity_sd=1.0, expression=0.4, deformation_mm=1.2),
    3: Subject(texture_contrast=0.4, noise=0.01),
    4: Subject(identity_sd=1.2, expression=0.6, texture_contrast=0.7, deformation_mm=0.5),
}
"""By seed, which also draws light, pose and cameras: plain; strong expression and far from the model;
smooth skin in a noisy picture; far along the model's own modes."""


RIGS: dict[tuple[str, int, int], SyntheticRig] = {}
"""Synthetic rigs made so far, by model, seed and size; `prepared.py` fills it beforehand."""
MASKS: dict[str, Any] = {}
"""Masks of cases that bring none, by the case's name; where empty, the fit makes them."""


@dataclass(frozen=True)
class Case:
    """One fit to run and what to hold it against."""

    name: str
    images: Any
    """Whatever `hrnfit.fit` takes."""
    truth: Any
    """`Truth` of the protocol, in the world of the cameras."""
    cameras: Path | Sequence[Camera] | None = None
    masks: Any = None
    calibrated: bool = True
    """Whether the mesh can be judged as it lies."""
    focals: Mapping[str, float] = field(default_factory=dict)
    """True fx by view, px, where the fit had to estimate it."""
    synthetic: SyntheticRig | None = None
    """Set when true positions of the fitted model's own vertices are known."""


def rig(cameras: str, name: str = "rig_t1") -> Case:
    """Cameras of the calibrated rig by their digits."""
    folder = data.data_folder() / name
    images = data.rig_images(name, cameras)
    return Case(name, images, data.rig_truth(), folder / "cameras.json", folder / "masks")


def wild(photographs: str) -> Case:
    """Photographs with nothing known about them."""
    folder = data.data_folder() / "wild_t1" / "images"
    images = [folder / f"photo_{i}.jpg" for i in photographs]
    focals = {path.stem: data.true_focals()[path.stem] for path in images}
    name = "wild_t1" if len(images) > 1 else f"wild_t1 photo_{photographs}"
    masks = MASKS.get(name)
    return Case(name, images, data.rig_truth(), masks=masks, calibrated=False, focals=focals)


def single_calibrated(camera: str = "4") -> Case:
    """One camera of the rig alone: one view cannot tell where along its axis the head lies."""
    folder = data.data_folder() / "rig_t1"
    images = data.rig_images("rig_t1", camera)
    truth, cameras = data.rig_truth(), folder / "cameras.json"
    return Case(f"rig_t1 cam_{camera}", images, truth, cameras, folder / "masks", calibrated=False)


def synthetic(
    source: FaceModel, seed: int, *, same_model: bool, size: int = SYNTHETIC_SIZE
) -> Case:
    """Three calibrated views of a subject drawn from `source`."""
    key = (source.info.name, seed, size)
    if key not in RIGS:
        RIGS[key] = synthetic_rig(source, seed=seed, size=size, subject=SUBJECTS[seed])
    made = RIGS[key]
    name = f"{source.info.name} seed {seed}"
    truth = truth_of(source, made)
    return Case(
        name, made.images, truth, made.cameras, made.masks, synthetic=made if same_model else None
    )


def truth_of(model: FaceModel, made: SyntheticRig) -> Any:
    """The photographed surface as a `Truth` of the protocol; what no camera sees is left out."""
    protocol = data.protocol()
    shape, T = made.truth.shape, made.truth.T_world_head
    dense = shape.surface @ T[:3, :3].T + T[:3, 3]
    split = subdivide(model.faces, len(made.seen))
    seen = made.seen[split.parents.long()].all(1)  # a kept vertex is its own parent twice
    vertices, faces = dense.double().numpy(), shape.faces.long().numpy()
    marks = model.landmarks["ibug68"]
    corners = made.truth.surface[model.faces[marks.triangles.clamp_min(0).long()].long()]
    points = (corners * marks.barycentric[..., None]).sum(1).double().numpy()
    return protocol.Truth(
        vertices,
        faces,
        protocol.vertex_normals(vertices, faces),
        points[protocol.NOW_LANDMARKS],
        points[30],
        seen.numpy(),
    )


def sets(model: str) -> dict[str, Any]:
    """Name of each set -> function that makes its cases, for a model to fit."""
    from benchmarks.scan_case import scan_case  # local: it makes cases itself

    other = "generic" if model == "ict" else "ict"
    return {
        "rig3": lambda: [rig("246")],
        "rig5": lambda: [rig("12467")],
        "dist3": lambda: [rig("246", "rig_t1_dist")],
        "rig9": lambda: [rig("012345678")],
        "single": lambda: [*map(single_calibrated, "246"), *map(wild, "01234")],
        "synthetic3": lambda: [
            synthetic(data.model_of(model), seed, same_model=True) for seed in SUBJECTS
        ],
        "cross3": lambda: [
            synthetic(data.model_of(other), seed, same_model=False) for seed in (1, 2)
        ],
        "wild5": lambda: [wild("01234")],
        "scan3": lambda: [scan_case(3)],
        "scan5": lambda: [scan_case(5)],
    }
