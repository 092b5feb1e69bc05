"""Networks over-fitted to a handful of synthetic subjects: they know these, and nothing else.

The analyzer's heads are solved for in closed form on what its random backbone sees; the generators of maps
are trained by a few steps of Adam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn

from hrnfit.importers.deep3d import MM_PER_UNIT, angles_from_rotation, gamma_from_light
from hrnfit.importers.turned_light import turned_light
from hrnfit.infer.alignment import align_five, five_points
from hrnfit.infer.crop import TEXTURE_SIZE, Crop, crop_from_alignment
from hrnfit.infer.crop_pose import analyzer_pose
from hrnfit.infer.networks import MAP_SIZE, Networks, convention_of
from hrnfit.infer.single_view import FINER
from hrnfit.model.linear import LinearFaceModel
from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.generator import GeneratorConfig
from hrnfit.nets.hrn import Convention, Hrn, HrnConfig
from hrnfit.observe.observation import Landmarks
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.texture import uv_raster
from hrnfit.synthetic import Subject, SyntheticRig, synthetic_rig
from tests.fit.small_scene import face

SUBJECT = Subject(
    identity_sd=0.8,
    expression=0.8,
    deformation_mm=2.0,
    deformation_width=12.0,
    displacement_mm=0.2,
    displacement_widths=(40.0, 24.0),
)
"""With maps as smooth as small networks can learn in seconds."""
NOISE = 2.5
"""Error of the landmarks, px of a picture of 256: about 2.5 mm."""


@dataclass(frozen=True)
class Planted:
    """Networks and the subjects that they know."""

    networks: Networks
    rigs: tuple[SyntheticRig, ...]


@dataclass(frozen=True)
class Example:
    """One photograph as the networks see it, and what they shall say."""

    picture: Tensor
    coefficients: Tensor
    position: Tensor
    textures: tuple[Tensor, Tensor]
    """Before the deformation and after."""
    mask: Tensor
    deformation: Tensor
    displacement: Tensor


def subject(seed: int, yaws: Sequence[float] = (-25.0, 0.0, 25.0)) -> SyntheticRig:
    """A subject with a face of its own before some cameras, its landmarks noisy."""
    made = synthetic_rig(face(), seed=seed, yaws=yaws, size=256, subject=SUBJECT, scheme="ibug68")
    generator = torch.Generator().manual_seed(seed)

    def noisy(marks: Landmarks) -> Landmarks:
        error = NOISE * torch.randn(marks.points.shape, generator=generator)
        return replace(marks, points=marks.points + error)

    return replace(made, landmarks={name: noisy(m) for name, m in made.landmarks.items()})


@cache
def rigs(seeds: tuple[int, ...]) -> tuple[SyntheticRig, ...]:
    """The subjects of some seeds."""
    return tuple(subject(seed) for seed in seeds)


@cache
def planted_analyzer(seeds: tuple[int, ...] = (1, 2), convention: Convention = "hrnfit") -> Planted:
    """An analyzer that knows the subjects of some seeds, and no generators: made in seconds."""
    return _planted(seeds, convention, None, None)


@cache
def planted(seeds: tuple[int, ...] = (1, 2, 3), convention: Convention = "hrnfit") -> Planted:
    """Networks that know the subjects of some seeds, maps included."""
    made = _planted(seeds, convention, GeneratorConfig(6, 3, 16, 2), GeneratorConfig(9, 1, 6, 1))
    examples = [one for rig in made.rigs for one in examples_of(rig, made.networks, face())]
    hrn = made.networks.hrn.requires_grad_(True)
    train_maps(hrn, examples)
    hrn.eval().requires_grad_(False)
    return made


def _planted(
    seeds: tuple[int, ...],
    convention: Convention,
    mid: GeneratorConfig | None,
    high: GeneratorConfig | None,
) -> Planted:
    """Networks whose analyzer is trained and whose generators are not."""
    torch.manual_seed(0)
    model = face()
    analyzer = AnalyzerConfig(model.n_identity, model.n_expression, model.n_albedo, 8, (1, 1, 1, 1))
    networks = Networks(Hrn(HrnConfig(analyzer, mid, high, convention)), name="planted")
    examples = [one for made in rigs(seeds) for one in examples_of(made, networks, model)]
    solve_heads(networks.hrn, examples)
    networks.hrn.eval().requires_grad_(False)
    return Planted(networks, rigs(seeds))


def examples_of(made: SyntheticRig, networks: Networks, model: LinearFaceModel) -> list[Example]:
    """Every photograph of a subject, with the truth in the networks' terms."""
    raster = uv_raster(model.uv, model.uv_faces, model.faces, MAP_SIZE, MAP_SIZE)
    maps = convention_of(networks, model, CpuRasterizer(), lambda size: raster)
    truth, out = made.truth, []
    shape = truth.shape.coarse / MM_PER_UNIT
    for camera in made.cameras:
        image = made.images[camera.name]
        marks = five_points(made.landmarks[camera.name], camera.name)
        alignment = align_five(marks, *image.shape[:2], camera.name)
        crop = crop_from_alignment(alignment)
        released = networks.hrn.config.convention == "released"
        fine = crop_from_alignment(alignment, TEXTURE_SIZE) if released else crop.finer(FINER)
        fine = fine.image(image)
        T_cam_head = camera.T_cam_world @ truth.T_world_head.double()
        T = analyzer_pose(truth.shape.coarse, model.faces, T_cam_head, camera, crop)
        offset = maps.vertex_offsets(truth.shape.deformation.movedim(-1, 0) / MM_PER_UNIT)
        posed, moved = (
            x @ T[:3, :3].float().T + T[:3, 3].float() / MM_PER_UNIT
            for x in (shape, shape + offset)
        )
        out.append(
            Example(
                picture=crop.image(image),
                coefficients=vector(made, T),
                position=maps.position_map(shape),
                textures=(maps.texture(fine, posed), maps.texture(fine, moved)),
                mask=maps.valid_mask(crop.mask(made.masks[camera.name]), posed),
                deformation=truth.shape.deformation.movedim(-1, 0) / MM_PER_UNIT,
                displacement=truth.shape.displacement[None] / MM_PER_UNIT,
            )
        )
    return out


def vector(made: SyntheticRig, T_analyzer_head: Tensor) -> Tensor:
    """What the analyzer shall say of a photograph whose head it sees in this pose."""
    truth, R = made.truth, T_analyzer_head[:3, :3]
    light = turned_light(truth.light, R @ truth.T_world_head[:3, :3].double().T)
    return torch.cat(
        [
            truth.shape.identity,
            truth.shape.expression,
            truth.albedo_coefficients,
            angles_from_rotation(R).float(),
            gamma_from_light(light).float(),
            T_analyzer_head[:3, 3].float() / MM_PER_UNIT,
        ]
    )


def solve_heads(hrn: Hrn, examples: Sequence[Example]) -> None:
    """Heads by least squares; the batch statistics of the backbone are those of the examples."""
    analyzer = hrn.net_recon
    pictures = torch.stack([one.picture for one in examples])
    for module in analyzer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        analyzer.train()(pictures)
        analyzer.eval()
        features = analyzer.backbone(pictures).mean((2, 3)).double()
        design = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
        targets = torch.stack([one.coefficients for one in examples]).double()
        found = torch.linalg.lstsq(design, targets, driver="gelsd").solution.T.float()
        sizes = [len(head.bias) for head in analyzer.final_layers]
        for head, rows in zip(analyzer.final_layers, found.split(sizes), strict=True):
            head.weight.copy_(rows[:, :-1, None, None])
            head.bias.copy_(rows[:, -1])


def train_maps(hrn: Hrn, examples: Sequence[Example], steps: int = 300) -> None:
    """Both generators on the true maps; dropout is left out, since nothing else shall be known."""
    hrn.eval()
    with torch.no_grad():
        hrn.alpha.fill_(0.6)
        hrn.beta.fill_(0.1)
    position, mask, deformation, displacement = (
        torch.stack([getattr(one, name) for one in examples])
        for name in ("position", "mask", "deformation", "displacement")
    )
    before, after = (torch.stack([one.textures[k] for one in examples]) for k in (0, 1))
    shown = nn.functional.interpolate(mask[:, None], 64, mode="bilinear")

    def mid(rows: Tensor) -> Tensor:
        said = hrn.deformation(position[rows], before[rows], mask[rows])
        return (said - deformation[rows] * shown[rows]).abs().mean()

    def high(rows: Tensor) -> Tensor:
        rows = rows[int(rows[0]) % len(rows)].reshape(1)  # one of the subjects in turn
        known = deformation[rows] * shown[rows]
        said = hrn.displacement(position[rows], after[rows], known, mask[rows])
        return (said - displacement[rows] * mask[rows, None]).abs().mean()

    descend(hrn.mid_net, mid, len(examples), steps)
    descend(hrn.high_net, high, len(examples), steps // 3)


def descend(
    network: nn.Module, loss: Callable[[Tensor], Tensor], count: int, steps: int, views: int = 3
) -> None:
    """Adam with a falling rate; each step sees one photograph of every subject."""
    rate = 6e-3
    optimizer = torch.optim.Adam(network.parameters(), rate)
    for step in range(steps):
        rows = torch.tensor([k + (step + k // views) % views for k in range(0, count, views)])
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        (1000.0 * loss(rows)).backward()
        optimizer.step()


def crop_of(made: SyntheticRig, name: str) -> Crop:
    """The analyzer's crop of a photograph."""
    marks = five_points(made.landmarks[name], name)
    return crop_from_alignment(align_five(marks, *made.images[name].shape[:2], name))
