"""A stage without room on its device: once more, in small pieces, then on the CPU, and only when no other fit is
beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.energy.pieces import AT_ONCE, pieces
from hrnfit.fit import fallback
from hrnfit.fit.fallback import beside_others, on_the_cpu, solved_where_it_fits
from hrnfit.solve.recorded import records
from hrnfit.solve.solver import Outcome, Solution
from tests.fit.small_scene import truth_scene

FULL = torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def elsewhere(monkeypatch):
    """A scene that counts as being on another device, its state, and how often memory was given back."""
    given_back: list[torch.device] = []
    monkeypatch.setattr(fallback, "give_back", given_back.append)
    scene, state = truth_scene()
    return replace(scene, device=torch.device("meta")), state, given_back


def solver(failures: int):
    """Fails so many times, then moves the map; notes where it ran."""
    places: list[str] = []

    def solve(scene, state):
        places.append(scene.device.type)
        if len(places) <= failures:
            raise FULL
        moved = state.replace(deformation=state.deformation + 1.0)
        return moved, Solution({}, Outcome.CONVERGED, 1, (0.0,))

    return solve, places


@pytest.mark.parametrize(
    ("failures", "places", "where"),
    [
        (0, ["meta"], ""),
        (1, ["meta", "meta"], ""),
        (2, ["meta", "meta", "meta"], "in small pieces"),
        (3, ["meta", "meta", "meta", "cpu"], "on the CPU"),
    ],
)
def test_a_stage_runs_where_it_fits(elsewhere, failures, places, where):
    scene, state, given_back = elsewhere
    solve, ran = solver(failures)
    solved, solution, told = solved_where_it_fits(solve, scene, state)
    assert (ran, told) == (places, where)
    assert len(given_back) == failures
    assert solution.outcome is Outcome.CONVERGED
    assert solved.deformation.device.type == ("meta" if where == "on the CPU" else "cpu")


def test_small_pieces_are_an_eighth_and_nothing_is_recorded_for_them(elsewhere):
    scene, state, _ = elsewhere
    seen: list[tuple[int, bool]] = []

    def solve(scene, state):
        seen.append((len(pieces(1, AT_ONCE)), records(torch.device("cuda"))))
        if len(seen) < 4:
            raise FULL
        return state, Solution({}, Outcome.CONVERGED, 1, (0.0,))

    solved_where_it_fits(solve, scene, state)
    assert seen == [(1, True), (1, True), (8, False), (1, True)]
    assert len(pieces(1, AT_ONCE)) == 1


def test_beside_others_and_for_other_errors_nothing_is_tried_again(elsewhere):
    scene, state, _ = elsewhere
    solve, ran = solver(1)
    with beside_others(), pytest.raises(torch.OutOfMemoryError):
        solved_where_it_fits(solve, scene, state)
    assert ran == ["meta"]

    def wrong(scene, state):
        raise ValueError("no texel")

    with pytest.raises(ValueError, match="no texel"):
        solved_where_it_fits(wrong, scene, state)


def test_the_scene_on_the_cpu_predicts_the_same():
    scene, state = truth_scene()
    moved = on_the_cpu(scene).framed(state)
    assert moved.device.type == "cpu"
    here, there = scene.predict(state, 96), moved.predict(state, 96)
    assert torch.equal(here.image, there.image)
    assert moved.views[0].name == scene.views[0].name
