"""Rounds of `surface_stage` on a device: nearest points, weights and the gap's precision by one recording.

The law is that of `_Refit.match`, for models whose shape is linear. Texels are padded as in `queued_surface.py`: the
added ones have no normal and no share in the gap. What a round leaves behind stays in buffers of the recording, 8
bytes per pair of texels four times over (0.2 GB of 2,560); it was 300 launches a round, 4 ms of the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize, pad

from hrnfit.fit.gap_field import InvertedRoot
from hrnfit.fit.queued_surface import STEP, SurfaceConstants, surface_equations, surface_key
from hrnfit.fit.shared_skin import LocalShape
from hrnfit.geometry.nearest_everywhere import nearest_on, nearest_triangles
from hrnfit.geometry.rotation import rotation_exp
from hrnfit.solve.block import Layout
from hrnfit.solve.levenberg_marquardt import Bounds, LevenbergMarquardt
from hrnfit.solve.queued_lm import PackedProblem
from hrnfit.solve.recorded import recording, records
from hrnfit.solve.solver import Leaves, Solution


class _Now(NamedTuple):
    """What rounds change, T frames and P texels."""

    x: Float[Tensor, "n"]
    """Packed leaves."""
    noise: Float[Tensor, ""]
    begun: Float[Tensor, ""]
    """0 before the first match."""
    across: Float[Tensor, "T P 3"]
    on_surface: Float[Tensor, "T P 3"]
    variance: Float[Tensor, "P"]
    whitening: Float[Tensor, "P P"]


class _Given(NamedTuple):
    """What they do not."""

    mean: Float[Tensor, "1 P 3"]
    identity: Float[Tensor, "1 P 3 I"]
    expression: Float[Tensor, "1 P 3 E"]
    gap: Float[Tensor, "P P"]
    there: Float[Tensor, "P"]
    """1 for texels, 0 for those that are added."""
    belief: Float[Tensor, "P"]
    """Of `_Refit`; 1 for those that are added."""
    vertices: Float[Tensor, "T N 3"]
    normals: Float[Tensor, "T N 3"]
    faces: Int[Tensor, "F 3"]


class DeviceRounds:
    """Matches and solves of one refit; `match` and `solved` as those of `_Refit`."""

    def __init__(
        self,
        leaves: Leaves,
        deviations: dict[str, float],
        shape: LocalShape,
        gap: Float[Tensor, "P P"],
        belief: Float[Tensor, "P"],
        surface: tuple[Float[Tensor, "T N 3"], Float[Tensor, "T N 3"], Int[Tensor, "F 3"]],
    ) -> None:
        """shape: of the texels that are compared, float64. surface: vertices of the frames, their normals and
        triangles. deviations: of the priors."""
        self._layout, self._deviations = Layout.of(leaves), deviations
        given = _given(shape, gap, belief, surface)
        inputs = (*_begun(self._layout, given), *given)
        layout = self._layout
        self._key = surface_key(layout, deviations)

        def match(*tensors: Tensor) -> tuple[Tensor, ...]:
            now, given = _Now(*tensors[: len(_Now._fields)]), _Given(*tensors[len(_Now._fields) :])
            for old, new in zip(now[3:], _matched(layout, now, given), strict=True):
                old.copy_(new)
            now.begun.fill_(1.0)
            return (now.begun,)

        self._again: Callable[[], object]
        if records(gap.device):
            made = recording(("match", layout.size, tuple(layout.shapes.items())), match, inputs)
            made.load(inputs)
            inputs, self._again = made.inputs, made.again
        else:
            self._again = lambda: match(*inputs)
        self._now = _Now(*inputs[: len(_Now._fields)])
        self._shape = inputs[len(_Now._fields) :][:3]

    def match(self, leaves: Leaves, noise: float) -> None:
        """Nearest points, and how far each is believed."""
        self._now.x.copy_(self._layout.pack(leaves))
        self._now.noise.fill_(noise)
        self._again()

    def solved(self, solver: LevenbergMarquardt, leaves: Leaves, bounds: Bounds) -> Solution:
        """The optimum against the points last matched."""
        layout, deviations = self._layout, self._deviations

        def linearize(x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return surface_equations(SurfaceConstants(*tensors), layout, x, deviations)

        problem = PackedProblem(linearize, (*self._now[3:], *self._shape), self._key)
        return solver.minimize_packed(problem, leaves, bounds)


def _given(
    shape: LocalShape,
    gap: Float[Tensor, "P P"],
    belief: Float[Tensor, "P"],
    surface: tuple[Float[Tensor, "T N 3"], Float[Tensor, "T N 3"], Int[Tensor, "F 3"]],
) -> _Given:
    """Padded."""
    more = -len(gap) % STEP
    mean, identity, expression = (
        pad(part, (0, 0) * (part.ndim - 1) + (0, more))[None] for part in shape
    )
    there, belief = pad(torch.ones_like(gap[0]), (0, more)), pad(belief, (0, more), value=1.0)
    vertices, normals, faces = surface
    wide = pad(gap, (0, more, 0, more))
    return _Given(mean, identity, expression, wide, there, belief, vertices, normals, faces.long())


def _begun(layout: Layout, given: _Given) -> _Now:
    """Before the first round."""
    zero, frames = given.there.new_zeros, len(given.vertices)
    across, on_surface = zero(2, frames, len(given.there), 3)
    variance, whitening = zero(len(given.there)), torch.zeros_like(given.gap)
    return _Now(zero(layout.size), zero(()), zero(()), across, on_surface, variance, whitening)


def _matched(layout: Layout, now: _Now, given: _Given) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`across`, `on_surface`, `variance` and `whitening` of the next round."""
    leaves = layout.unpack(now.x)
    motion, frames = leaves["motion"], len(given.vertices)
    shape = given.mean + given.identity @ leaves["identity"]
    shape = shape + (given.expression * leaves["expression"][:, None, None]).sum(-1)
    points = shape @ rotation_exp(motion[:, :3]).mT + motion[:, None, 3:]
    mean = (now.across * (points - now.on_surface)).sum(-1).mean(0)
    solved = now.whitening.T @ (now.whitening @ mean)
    excess = now.begun * (mean - given.gap @ solved)
    variance = now.noise**2 * (1.0 + (excess / (3.0 * now.noise)).square()) / given.belief
    found = [
        _nearest(x, vertices, normals, given.faces)
        for x, vertices, normals in zip(points, given.vertices, given.normals, strict=True)
    ]
    on_surface, across = (torch.stack(parts) for parts in zip(*found, strict=True))
    whitening = InvertedRoot.of(given.gap + torch.diag(variance / frames)).whitening
    return across * given.there[:, None], on_surface, variance, whitening


def _nearest(
    points: Float[Tensor, "P 3"],
    vertices: Float[Tensor, "N 3"],
    normals: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
    """Nearest points of a surface, and its unit normals there."""
    triangle = nearest_triangles(points.float(), vertices.float()[faces])
    corners = faces[triangle]
    there = vertices[corners]
    weights = nearest_on(points, there)[1][..., None]
    return (weights * there).sum(-2), normalize((weights * normals[corners]).sum(-2), dim=-1)
