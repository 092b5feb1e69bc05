"""A small result made by hand: a half ellipsoid with a nose, seen by a few cameras."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import normalize

from hrnfit.camera import Camera
from hrnfit.fit.photographs import photograph_from_image
from hrnfit.fit.result import FitResult, Maps, MeshLevel, StageReport
from hrnfit.observe.observation import Landmarks
from hrnfit.solve.solver import Outcome
from hrnfit.state import Sharing, zero_state

HEAD = torch.tensor([1200.0, -300.0, 900.0])
"""The head lies away from the world's origin, as in a real rig."""


def grid(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """UV (size^2, 2), v down, and faces counter-clockwise from outside."""
    steps = torch.linspace(0.02, 0.98, size)
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    index = torch.arange(size * size).reshape(size, size)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = torch.cat(
        [torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)]
    )
    return torch.stack([u, v], -1).reshape(-1, 2), faces.int()


def surface(uv: torch.Tensor, relief: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Head-frame vertices and normals: x to the subject's left, y up, z out of the face."""
    uv = uv.double()
    across, down = uv.new_tensor([1e-5, 0.0]), uv.new_tensor([0.0, 1e-5])
    along_u = _point(uv + across, relief) - _point(uv - across, relief)
    along_v = _point(uv + down, relief) - _point(uv - down, relief)
    normals = normalize(torch.linalg.cross(along_v, along_u), dim=-1)
    return _point(uv, relief).float(), normals.float()


def _point(p: torch.Tensor, relief: float) -> torch.Tensor:
    u, v = p.unbind(-1)
    angle, height = (u - 0.5) * math.pi * 0.9, (0.5 - v) * math.pi * 0.85
    radius = 1 + 0.16 * torch.exp(-(((u - 0.5) / 0.06) ** 2) - ((v - 0.52) / 0.1) ** 2)
    radius = radius + relief * torch.sin(60 * u) * torch.sin(60 * v)
    x = 78 * torch.sin(angle) * torch.cos(height)
    y = 115 * torch.sin(height)
    z = 85 * torch.cos(angle) * torch.cos(height)
    return torch.stack([x, y, z], -1) * radius[..., None]


def level(name: str, size: int, relief: float, offset: torch.Tensor) -> MeshLevel:
    uv, faces = grid(size)
    vertices, normals = surface(uv, relief)
    marks = vertices[torch.linspace(0, len(uv) - 1, 68).long()] + offset
    return MeshLevel(name, vertices + offset, normals, faces, uv, faces, {"ibug68": marks})


def make_result(views: int = 2, frames: int = 1, size: int = 25, side: int = 240) -> FitResult:
    """`views` cameras on an arc; with two frames the second head is 40 mm to the side."""
    frame = torch.arange(views) % frames
    sharing = Sharing(frame=frame, light=torch.arange(views), displacement=frame.clone())
    state = zero_state(
        identity=4,
        expression=3,
        albedo=2,
        sharing=sharing,
        deformation=8,
        displacement=16,
        albedo_map=16,
    )
    offsets = [HEAD + torch.tensor([40.0 * t, 0.0, 0.0]) for t in range(frames)]
    reference = torch.eye(4).repeat(frames, 1, 1)
    reference[:, :3, 3] = torch.stack(offsets)
    state = state.replace(
        pose_reference=reference,
        identity=torch.tensor([0.1, -1 / 3, 2.0, 1e-7]),
        light=_light(views),
    )
    shapes = {"coarse": (size, 0.0), "mid": (size, 0.004), "fine": (2 * size - 1, 0.012)}
    meshes = {
        name: tuple(level(name, n, relief, offset) for offset in offsets)
        for name, (n, relief) in shapes.items()
    }
    cameras = tuple(_camera(i, views, side) for i in range(views))
    names = tuple(f"cam_{i}" for i in range(views))
    return FitResult(
        state=state,
        sharing=sharing,
        cameras=cameras,
        view_names=names,
        meshes=meshes,
        maps=_maps(frames),
        stages=_stages(),
        view_residuals={
            name: {"landmark": 1.25 + i, "photometric": 0.031} for i, name in enumerate(names)
        },
        seconds=12.5,
        warnings=("view cam_9 was left out: no face <found>; check the photograph",),
        provenance={
            "versions": {"hrnfit": "0.1.0", "torch": "2.4.0"},
            "recipe": "stages:\n- name: landmarks\n",
            "inputs": [{"path": "cam_0.png", "sha256": "ab" * 32}],
            "model": {"name": "generic", "licence": "Apache-2.0", "commercial": True},
            "device": "cpu",
        },
        camera_known=(True,) * views,
        photographs=tuple(photograph_from_image(_photograph(side)) for _ in names),
        observed=tuple(
            _observed(camera, meshes["coarse"][int(frame[i])]) for i, camera in enumerate(cameras)
        ),
    )


def _camera(i: int, views: int, side: int) -> Camera:
    yaw = math.radians(30.0) * (i - (views - 1) / 2)
    position = HEAD.double() + 900 * torch.tensor(
        [math.sin(yaw), 0.1, math.cos(yaw)], dtype=torch.float64
    )
    pinhole = Camera.look_at(position, HEAD.double(), focal=2.4 * side, height=side, width=side)
    distortion = torch.tensor([-0.12, 0.05, 0.001, -0.0007, 0.0], dtype=torch.float64)
    return Camera(pinhole.K, pinhole.T_cam_world, distortion, side, side, f"cam_{i}")


def _light(views: int) -> torch.Tensor:
    light = torch.zeros(views, 9, 3)
    light[:, 0], light[:, 2] = 0.7, 0.4
    return light


def _photograph(side: int) -> torch.Tensor:
    ramp = torch.linspace(0.05, 0.5, side)
    return torch.stack(
        [
            ramp[:, None].expand(side, side),
            ramp.expand(side, side),
            ramp.flip(0)[:, None] + 0 * ramp,
        ],
        -1,
    )


def _observed(camera: Camera, mesh: MeshLevel) -> Landmarks:
    points = camera.project(mesh.landmarks["ibug68"].double()).float() + 1.0
    return Landmarks(points, torch.ones(len(points)), "ibug68")


def _maps(frames: int) -> Maps:
    noise = torch.Generator().manual_seed(0)
    normal = torch.randn(32, 32, 3, generator=noise)
    albedo = torch.rand(32, 32, 3, generator=noise) * 0.2 + torch.tensor([0.4, 0.25, 0.18])
    return Maps(
        deformation=torch.randn(8, 8, 3, generator=noise),
        displacement=0.3 * torch.randn(16, 16, generator=noise),
        displacement_views=0.3 * torch.randn(frames, 16, 16, generator=noise),
        confidence=torch.rand(16, 16, generator=noise),
        albedo=albedo,
        normal=normalize(normal, dim=-1),
    )


def _stages() -> tuple[StageReport, ...]:
    fall = tuple(3.0 * 0.8**k + 0.05 for k in range(30))
    return (
        StageReport(
            "landmarks",
            "coarse",
            Outcome.CONVERGED,
            12,
            0.4,
            fall,
            {"landmark": fall},
            {"landmark": 1.0},
        ),
        StageReport(
            "texture",
            "mid",
            Outcome.MAX_STEPS,
            30,
            8.2,
            fall,
            {"photometric": fall, "smooth": tuple(0.02 + 0.001 * k for k in range(30))},
            {"photometric": 1.0, "smooth": 0.5},
        ),
        StageReport(
            "relief",
            "fine",
            Outcome.NON_FINITE,
            3,
            1.1,
            (0.2, 0.15, float("nan")),
            {"photometric": (0.2, 0.15, float("nan"))},
            {},
        ),
    )
