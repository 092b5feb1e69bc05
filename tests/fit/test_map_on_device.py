"""The device's map stage, called plainly on the CPU, against the CPU's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.map_on_device import solve_map_recorded
from hrnfit.fit.map_settings import MapSettings
from hrnfit.fit.map_stage import solve_map
from hrnfit.fit.model_constants import model_on
from hrnfit.fit.recordable import recordable
from hrnfit.geometry import device_kernels
from hrnfit.render.backend import rasterizer
from hrnfit.render.reference import ReferenceRasterizer
from hrnfit.solve import recorded
from hrnfit.state import Sharing
from tests.fit.small_scene import truth_scene
from tests.fit.test_map_stage import own_frames, with_map

SETTINGS = MapSettings(
    size=96, texels=64, blur=0.7, offset=0.05, membrane=3e-3, bending=0.045, steps=4
)


def both(scene, state, free, settings):
    (mine, mine_run), (theirs, theirs_run) = (
        solve(scene, state, free, settings) for solve in (solve_map_recorded, solve_map)
    )
    assert mine_run.outcome is theirs_run.outcome
    assert len(mine_run.energies) == len(theirs_run.energies)
    assert torch.allclose(
        torch.tensor(mine_run.energies), torch.tensor(theirs_run.energies), rtol=1e-6
    )
    assert set(mine_run.terms) == set(theirs_run.terms)
    return mine, theirs


def test_what_looks_at_values_is_not_recorded(monkeypatch):
    """Renderers other than ours read the host while they draw, which a recording forbids."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from hrnfit.render.cuda import CudaRasterizer

    scene, _ = truth_scene()
    there = replace(scene, device=torch.device("cuda"), rasterizer=CudaRasterizer())
    assert recordable(there)
    assert not recordable(replace(there, rasterizer=ReferenceRasterizer()))
    assert not recordable(replace(there, device=torch.device("cpu")))
    monkeypatch.setattr(device_kernels, "_triton", lambda: False)
    assert not recordable(there)


@pytest.mark.parametrize(
    ("offset", "sliding", "slack"), [(0.0, 0.0, 0.0), (0.05, 0.0, 0.0), (0.05, 3e-2, 0.01)]
)
def test_deformation_is_that_of_the_cpu(offset, sliding, slack):
    scene, state = truth_scene(torch.float64)
    start = with_map(state, 16)
    settings = replace(SETTINGS, offset=offset, sliding=sliding, slack=slack)
    mine, theirs = both(scene, start, ("deformation",), settings)
    moved = (theirs.deformation - start.deformation).norm(dim=-1)
    apart = (mine.deformation - theirs.deformation).norm(dim=-1)
    assert float(moved.max()) > 0.3
    assert float(apart.max()) < 1e-2 * float(moved.max())


def test_poses_and_focal_lengths_move_as_on_the_cpu():
    scene, state = truth_scene(torch.float64)
    state, sharing = own_frames(with_map(state, 16))
    scene = replace(scene, sharing=sharing)
    free = ("deformation", "pose", "log_focal")
    mine, theirs = both(scene, state, free, replace(SETTINGS, steps=3))
    for name in free:
        moved = (getattr(theirs, name) - getattr(state, name)).abs().max()
        apart = (getattr(mine, name) - getattr(theirs, name)).abs().max()
        assert float(moved) > 0
        assert float(apart) < 1e-2 * float(moved), name


@pytest.mark.parametrize(("rows", "spread"), [(1, 0.03), (3, 0.03), (3, 1e4)])
def test_displacement_rows_are_those_of_the_cpu(rows, spread):
    scene, state = truth_scene(torch.float64)
    start = state.replace(displacement=torch.zeros(rows, 16, 16, dtype=torch.float64))
    row = torch.arange(3) % rows
    frame = torch.zeros_like(row)
    scene = replace(scene, sharing=Sharing(frame, frame, row))
    mine, theirs = both(scene, start, ("displacement",), replace(SETTINGS, steps=3, spread=spread))
    moved = (theirs.displacement - start.displacement).abs().max()
    assert float((mine.displacement - theirs.displacement).abs().max()) < 1e-2 * float(moved)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("free", [("deformation",), ("deformation", "pose"), ("displacement",)])
def test_a_device_gives_what_the_cpu_gives_and_records_once(free):
    scene, state = truth_scene()
    start = with_map(state, 16).replace(displacement=torch.zeros(1, 16, 16))
    device = torch.device("cuda", torch.cuda.current_device())
    there = replace(
        scene,
        model=model_on(scene.model, device),
        rasterizer=rasterizer("cuda", device),
        device=device,
        _windows={},
        _sources=[],
    )
    settings = replace(SETTINGS, steps=3)
    theirs, _ = solve_map(scene, start, free, settings)
    mine, _ = solve_map(there, start.to(device), free, settings)
    kept = len(recorded._kept.store.recordings)
    again, _ = solve_map(there, start.to(device), free, settings)
    assert len(recorded._kept.store.recordings) == kept
    for name in free:
        moved = (getattr(theirs, name) - getattr(start, name)).abs().max()
        apart = (getattr(mine, name).cpu() - getattr(theirs, name)).abs()
        assert float(apart.median()) < 1e-2 * float(moved), name
        assert torch.allclose(getattr(mine, name), getattr(again, name), atol=1e-3 * float(moved))
