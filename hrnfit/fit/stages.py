"""Run the stages of a recipe one after the other and report how each went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.coefficient_stage import CoefficientSettings, solve_coefficients
from hrnfit.fit.fallback import solved_where_it_fits
from hrnfit.fit.first_order_stage import FirstOrderSettings, solve_first_order
from hrnfit.fit.map_stage import solve_map
from hrnfit.fit.recipe import Recipe, Stage
from hrnfit.fit.result import StageReport
from hrnfit.fit.scene import Scene
from hrnfit.fit.strayed import lost_views
from hrnfit.fit.surface_stage import solve_surface
from hrnfit.geometry.rotation import rebase
from hrnfit.solve.solver import Outcome, Solution
from hrnfit.state import FaceState


@dataclass(frozen=True)
class Progress:
    """What the caller's callback receives."""

    stage: str
    index: int
    """Of the stage, from 0."""
    count: int
    """Stages in all."""
    step: int
    steps: int
    """Of this stage, at most."""
    energy: float


Callback = Callable[[Progress], None]


@dataclass(frozen=True)
class Done:
    """What the stages so far have reached."""

    state: FaceState
    reports: tuple[StageReport, ...] = ()
    warnings: tuple[str, ...] = ()
    """Of stages that could not help."""
    running: str = ""
    """The stage that follows, in words; empty at the end."""


def run_stages(
    scene: Scene,
    state: FaceState,
    recipe: Recipe,
    focal_deviation: Float[Tensor, "V"] | None,
    callback: Callback | None,
) -> tuple[FaceState, tuple[StageReport, ...], tuple[str, ...]]:
    """Final state, a report per stage, and warnings of stages that could not help."""
    done = Done(state)
    for reached in each_stage(scene, state, recipe, focal_deviation, callback):
        done = reached
    return done.state, done.reports, done.warnings


def each_stage(
    scene: Scene,
    state: FaceState,
    recipe: Recipe,
    focal_deviation: Float[Tensor, "V"] | None,
    callback: Callback | None,
) -> Iterator[Done]:
    """What is done, before every stage and at the end."""
    reports, warnings = [], []
    idle = [stage.name for stage in recipe.stages if not _can_help(scene, stage)]
    if idle:
        warnings.append(
            f"left out for want of a second view, as they compare views: stages {', '.join(idle)}"
        )
    for i, stage in enumerate(recipe.stages):
        scene = scene.framed(state)
        if stage.name in idle:
            continue
        yield Done(state, tuple(reports), tuple(warnings), f"stage {stage.name!r}")
        show = _reporter(callback, stage, i, len(recipe.stages))
        solved, solution, where = solved_where_it_fits(
            partial(_solve, stage=stage, recipe=recipe, focal_deviation=focal_deviation, show=show),
            scene,
            state,
        )
        if where:
            warnings.append(
                f"stage {stage.name!r} did not fit into the memory of {scene.device}: it ran {where}"
            )
        gone = lost_views(scene, solved)
        if gone:
            gone -= lost_views(scene, state)
        if gone:
            warnings.append(
                f"stage {stage.name!r} was undone: the face left its landmarks in {', '.join(sorted(gone))}"
            )
        else:
            state = solved
        if solution.outcome is Outcome.NON_FINITE:
            warnings.append(f"stage {stage.name!r}: {solution.outcome.value}")
        pose, reference = rebase(state.pose, state.pose_reference)
        state = state.replace(pose=pose, pose_reference=reference)
        reports.append(_report(stage, solution))
    yield Done(state, tuple(reports), tuple(warnings))


def _can_help(scene: Scene, stage: Stage) -> bool:
    """Shared-albedo stages need two views, or a view and its mirror image."""
    mirrored = isinstance(stage.settings, CoefficientSettings) and stage.settings.symmetry
    return stage.solver in ("adam", "lbfgs") or mirrored or len(scene.views) > 1


def _solve(
    scene: Scene,
    state: FaceState,
    stage: Stage,
    recipe: Recipe,
    focal_deviation: Tensor | None,
    show: Callable[[int, float], None] | None,
) -> tuple[FaceState, Solution]:
    if stage.solver == "map":
        return solve_map(scene, state, stage.free, stage.settings, focal_deviation, show)
    if stage.solver in ("coefficients", "surface"):
        if stage.solver == "surface":
            solved = solve_surface(scene, state, stage.free, stage.settings)
        else:
            start = recipe.start
            solved = solve_coefficients(
                scene, state, stage.free, stage.settings, focal_deviation, start
            )
        if show is not None:
            show(solved[1].steps, solved[1].energies[-1])
        return solved
    return solve_first_order(
        scene, state, stage.free, stage.settings, stage.level, stage.solver, show
    )


def _reporter(
    callback: Callback | None, stage: Stage, index: int, count: int
) -> Callable[[int, float], None] | None:
    if callback is None:
        return None
    steps = stage.settings.steps

    def show(step: int, energy: float) -> None:
        callback(Progress(stage.name, index, count, min(step + 1, steps), steps, energy))

    return show


def _report(stage: Stage, solution: Solution) -> StageReport:
    weights = {}
    if isinstance(stage.settings, FirstOrderSettings):
        weights = {name: term.weight for name, term in stage.settings.terms.items()}
    else:
        weights = dict.fromkeys(solution.terms, 1.0)
    return StageReport(
        name=stage.name,
        level=stage.level,
        outcome=solution.outcome,
        steps=solution.steps,
        seconds=solution.seconds,
        energies=solution.energies,
        terms=solution.terms,
        weights=weights,
    )
