"""What holds skin along its own surface: nothing across it, the weight along it, nothing off the chart."""

from __future__ import annotations

from dataclasses import replace

import torch

from hrnfit.energy.texels import Texels
from hrnfit.fit.map_settings import MapSettings
from hrnfit.fit.map_stage import solve_map
from hrnfit.fit.sliding import sliding_blocks, sliding_matrix
from hrnfit.geometry.mesh import vertex_normals
from tests.fit.small_scene import face, truth_scene
from tests.fit.test_map_stage import with_map

NODES = 8


def held(weight: float = 2.0):
    model = face()
    vertices = model.mean.double()[None]
    nodes = Texels.of(model, NODES)
    normals = nodes.interpolate(vertex_normals(vertices, model.faces))[0]
    normals = torch.nn.functional.normalize(normals, dim=-1)
    return sliding_blocks(vertices, model.faces, nodes, weight), nodes, normals


def square_of(moves: torch.Tensor, blocks: torch.Tensor) -> float:
    x = moves.permute(2, 0, 1)
    return float((x * (blocks * x).sum(1)).sum())


def test_moves_along_the_normal_cost_nothing_and_others_their_mean_square():
    blocks, nodes, normals = held()
    across = nodes.square(normals)
    along = nodes.square(torch.linalg.cross(normals, normals.roll(1, 1)))
    assert abs(square_of(across, blocks)) < 1e-12
    expected = 2.0 * float(along.square().sum()) / NODES**2
    assert expected > 0.1
    assert abs(square_of(along, blocks) - expected) < 1e-9
    turned = square_of(across + along, blocks)
    assert abs(turned - expected) < 1e-9


def test_nodes_off_the_chart_are_free_and_the_matrix_is_the_same_form():
    blocks, nodes, _ = held()
    off = torch.ones(NODES**2, dtype=torch.bool)
    off[nodes.flat] = False
    assert not blocks.flatten(2)[..., off].any()
    moves = torch.randn(NODES, NODES, 3, dtype=torch.float64)
    x = moves.reshape(-1).numpy()
    assert abs(float(x @ (sliding_matrix(blocks) @ x)) - square_of(moves, blocks)) < 1e-12


def test_frames_share_their_mean():
    model = face()
    nodes = Texels.of(model, NODES)
    flat = model.mean.double()
    turned = flat[:, [2, 0, 1]]
    both = sliding_blocks(torch.stack([flat, turned]), model.faces, nodes, 1.0)
    each = [sliding_blocks(v[None], model.faces, nodes, 1.0) for v in (flat, turned)]
    assert torch.allclose(both, (each[0] + each[1]) / 2, atol=1e-12)


def test_a_stage_slides_less_the_more_it_is_held():
    """And moves across the surface as before."""
    scene, state = truth_scene()
    start = with_map(state, 16)
    settings = MapSettings(
        size=96, texels=64, blur=1.0, membrane=3e-3, bending=0.045, steps=4, offset=0.0
    )
    nodes = Texels.of(scene.model, 16)
    vertices = scene.predict(start, 96).vertices_head
    along = sliding_blocks(vertices, scene.model.faces, nodes, 16.0**2)
    slid, across = [], []
    for weight in (0.0, 1e-2):
        found, _ = solve_map(scene, start, ("deformation",), replace(settings, sliding=weight))
        moves = found.deformation.double()
        slid.append(square_of(moves, along))
        across.append(float(nodes_of(moves, nodes).square().sum()) - slid[-1])
    assert slid[1] < 0.2 * slid[0]
    assert across[1] > 0.5 * across[0]


def nodes_of(moves: torch.Tensor, nodes: Texels) -> torch.Tensor:
    return moves.reshape(-1, 3)[nodes.flat]
