"""What measuring the networks needs, made up: checkpoints in the published layouts, a model, a photograph.

The weights are random and as many as the published ones, so times and memory are theirs, and what they answer
means nothing. The analyzer's heads are scaled so that its answers stay near the mean face.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from hrnfit.camera import Camera
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.io.image import encode_srgb
from hrnfit.model.face_model import FaceModel, neutral
from hrnfit.model.linear import landmark_positions
from hrnfit.nets.analyzer import FaceAnalyzer
from hrnfit.nets.arcface import ArcFaceConfig
from hrnfit.nets.configs import build
from hrnfit.nets.deretouch import DeretouchConfig
from hrnfit.nets.hrn import RELEASED, Hrn, HrnConfig
from hrnfit.render.backend import rasterizer
from hrnfit.render.shade import safe_normalize

ANSWERS = (0.5, 0.5, 0.5, 0.05, 0.05, 0.02, 0.02)
"""Size of what each head of the analyzer answers: coefficients, rad, light, decimetres."""

SCALE = 0.1
"""`alpha` and `beta`: maps of at most 1 mm."""

DISTANCE = 800.0
"""From the camera to the head's origin, mm."""


@dataclass(frozen=True)
class Sizes:
    """The networks to write; the published sizes by default."""

    hrn: HrnConfig = RELEASED
    deretouch: DeretouchConfig = field(default_factory=DeretouchConfig)
    arcface: ArcFaceConfig = field(default_factory=ArcFaceConfig)


def write_checkpoints(folder: Path, sizes: Sizes) -> dict[str, Path]:
    """Files by kind of checkpoint."""
    torch.manual_seed(1)
    documents = {
        "hrn": _hrn_document(hrn_network(sizes.hrn)),
        "deretouch": {"generator": build(sizes.deretouch).state_dict()},
        "arcface": build(sizes.arcface).state_dict(),
    }
    files = {kind: folder / f"{kind}.pth" for kind in documents}
    for kind, document in documents.items():
        torch.save(document, files[kind])
    return files


def hrn_network(config: HrnConfig) -> Hrn:
    """Random weights that answer something near the mean face."""
    network = cast(Hrn, build(config)).eval()
    _scale_heads(network.net_recon)
    for scale in (network.alpha, network.beta):
        if scale is not None:
            nn.init.constant_(scale, SCALE)
    return network


@torch.no_grad()
def _scale_heads(analyzer: FaceAnalyzer) -> None:
    """Heads whose answers have the sizes of `ANSWERS` for a picture of noise."""
    features = analyzer.backbone(torch.rand(1, 3, analyzer.size, analyzer.size)).mean((2, 3))
    length = float(features.norm())
    for head, answer in zip(analyzer.final_layers, ANSWERS, strict=True):
        nn.init.normal_(cast(Tensor, head.weight), 0.0, answer / length)


def _hrn_document(network: Hrn) -> dict[str, Any]:
    """The whole file as training left it: with the generators' Adam moments and the schedule."""
    mid, high = network.mid_net, network.high_net
    if mid is None or high is None:
        raise ValueError("hrn: expected the configuration of a network with both generators")
    tables = {"net_recon": network.net_recon, "mid_net": mid, "high_net": high}
    trained = [*mid.parameters(), *high.parameters()]
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.Adam(trained, lr=0.0)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    return {name: part.state_dict() for name, part in tables.items()} | {
        "alpha": network.alpha.detach() if network.alpha is not None else None,
        "beta": network.beta.detach() if network.beta is not None else None,
        "opt_00": optimizer.state_dict(),
        "sched_00": scheduler.state_dict(),
    }


def write_photograph(folder: Path, model: FaceModel, height: int, width: int) -> tuple[Path, Path]:
    """A rendering of the mean face, JPEG, and its 68 landmarks in a JSON file."""
    shape = neutral(model)
    camera = _camera(height, width)
    picture = folder / "photograph.jpg"
    codes = encode_srgb(photograph(model, shape, camera))
    Image.fromarray(codes).save(picture, quality=95)
    points = landmark_positions(shape, model.faces, model.landmarks["ibug68"])
    pixels = camera.project(points.to(camera.K)).tolist()
    landmarks = folder / "landmarks.json"
    landmarks.write_text(json.dumps({picture.stem: pixels}), encoding="utf-8")
    return picture, landmarks


def _camera(height: int, width: int) -> Camera:
    """Upright before the face, which fills half the picture's height; the head turned by 15 degrees."""
    focal = 0.5 * height * DISTANCE / 200.0
    K = [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]
    turn = math.radians(15.0)
    c, s = math.cos(turn), math.sin(turn)
    T = torch.tensor([[c, 0, s, 0], [0, -1, 0, 0], [s, 0, -c, DISTANCE], [0, 0, 0, 1]]).double()
    return replace(
        Camera.create(K, None, (), height=height, width=width, name="own"), T_cam_world=T
    )


def photograph(model: FaceModel, shape: Tensor, camera: Camera) -> Tensor:
    """Linear RGB (H, W, 3), lit from the camera, on grey."""
    renderer, faces = rasterizer("auto", shape.device), model.faces
    single = camera.to(shape.dtype)
    points = torch.cat([single.project(shape), single.depth(shape)[:, None]], 1)[None]
    raster = renderer.rasterize(points, faces, camera.height, camera.width)
    normals = renderer.interpolate(vertex_normals(shape, faces)[None], raster, faces)
    towards = safe_normalize(single.centre)
    lit = (safe_normalize(normals) * towards).sum(-1, keepdim=True).clamp_min(0.0)
    uv = renderer.interpolate(model.uv[None], raster, model.uv_faces)
    zero = torch.zeros(model.n_albedo)
    colour = renderer.sample_texture(model.albedo(zero)[None], uv) * (0.2 + 0.8 * lit)
    return torch.where(raster.triangle[..., None] >= 0, colour, 0.3)[0].clamp(0.0, 1.0)
