"""Coefficients from the mid surface: what of the deformation the face model can explain, it shall.

A surface that photographs determined does not say where its vertices slide: a free albedo follows them.
The model says it, when it is fitted to the whole surface. The gap that remains between model and
surface is a smooth field, not noise: for texel p of the skin and frame f, with the surface's normal n,

    n_fp . (model_fp - surface_fp) = gap_p + noise_p,    gap ~ Matern 3/2, noise white,

so the frames' mean carries the gap's covariance and their differences only the noise. Taken for white,
the gap itself pulls the coefficients: tangential errors are then ten times as large (docs/decisions.md).
All of it is float64, where the scene lives.
"""

from __future__ import annotations

import time

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.fit.gap_field import InvertedRoot, matern, precision_of
from hrnfit.fit.queued_match import DeviceRounds
from hrnfit.fit.queued_surface import surface_problem
from hrnfit.fit.scene import Scene
from hrnfit.fit.shared_skin import LocalShape, SharedSkin, local_shape, neutral_shape
from hrnfit.fit.surface_settings import SurfaceSettings
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.nearest_everywhere import EveryTriangle
from hrnfit.geometry.rotation import (
    left_jacobian,
    pose_matrix,
    pose_tangent,
    rigid_matrix,
    rotation_exp,
    skew,
)
from hrnfit.metrics import Surface
from hrnfit.model.deformation_inverse import fit_map_on
from hrnfit.solve.block import Layout, NormalEquations
from hrnfit.solve.levenberg_marquardt import Bounds, LevenbergMarquardt
from hrnfit.solve.solver import Leaves, Outcome, Solution, joined_rounds
from hrnfit.state import FaceState

ANNEALING = 0.6
"""Noise of a round over that of the round before, until it reaches its own."""
LEAST_BELIEF = 1e-6
"""Of a texel that two views see."""
UNSEEN = 0.1
"""Weight of the old surface in the new map where no two views saw it. Left to the model there (weight 0,
offset 0), neck and jaw lost: 95th percentile 0.44 to 1.3 mm on a rig of three views."""


def solve_surface(
    scene: Scene, state: FaceState, free: tuple[str, ...], settings: SurfaceSettings
) -> tuple[FaceState, Solution]:
    """The state with coefficients that explain its mid surface best, and a deformation map that keeps
    this surface."""
    missing = set(SurfaceSettings.LEAVES) - set(free)
    if missing:
        raise ValueError(
            f"free: the surface solver moves {', '.join(SurfaceSettings.LEAVES)} together"
        )
    began = time.perf_counter()
    problem = _Refit(scene, state, settings)
    leaves = problem.start()
    if problem.empty:
        return state, Solution(leaves, Outcome.CONVERGED, 0, (0.0,))
    bounds = {"expression": (0.0, 1.0)} if scene.model.expression_is_blendshape else {}
    solver = LevenbergMarquardt(max_steps=settings.steps, tolerance=1e-6)
    solutions: list[Solution] = []
    rounds = problem.on_device(leaves) or problem
    for k in range(settings.rounds):
        noise = settings.noise * max(1.0, settings.anneal * ANNEALING**k)
        rounds.match(leaves, noise)
        solution = rounds.solved(solver, leaves, bounds)
        leaves = solution.leaves
        solutions.append(solution)
    return problem.refitted(leaves), joined_rounds(solutions, time.perf_counter() - began)


class _Refit:
    """Energy and normal equations of the coefficients against a surface that stands still."""

    def __init__(self, scene: Scene, state: FaceState, settings: SurfaceSettings) -> None:
        self._scene, self._state, self._settings = scene, state, settings
        skin = SharedSkin(scene, settings)
        look = skin.look(state)
        self._seen = (look.seen.weight > 0).sum(0) >= 2
        self._texels, faces = skin.texels, scene.model.faces
        rows = self._seen.nonzero()[:, 0]
        self._belief = second_view(look.seen.weight)[rows].double().clamp_min(LEAST_BELIEF)
        self._places = skin.texels.only(rows)
        whole = neutral_shape(scene.model, skin.texels, state.identity)
        mean = whole.only(rows).double()
        self._shapes = [mean] * len(state.expression)
        heads = look.prediction.vertices_head.double()
        self._surfaces = [_surface(head, faces) for head in heads]
        self._heads, self._normals = heads, vertex_normals(heads, faces)
        self._gap = matern(mean.mean, settings.gap, settings.reach)
        self._variance = settings.noise**2 / self._belief
        self._matched = False

    @property
    def empty(self) -> bool:
        """Whether no two views see the same skin."""
        return len(self._variance) == 0

    def on_device(self, leaves: Leaves) -> DeviceRounds | None:
        """The rounds where a device runs them by itself."""
        if self._gap.device.type != "cuda" or not self._scene.model.shape_is_linear:
            return None
        given = self._deviations(), self._shapes[0], self._gap, self._belief
        return DeviceRounds(leaves, *given, (self._heads, self._normals, self._scene.model.faces))

    def start(self) -> Leaves:
        """Leaves as they are; `motion` is the head's move within its own frame."""
        state = self._state
        leaves = {n: getattr(state, n).double() for n in ("identity", "expression")}
        if self._scene.model.expression_is_blendshape:
            leaves["expression"] = leaves["expression"].clamp(0.0, 1.0)
        leaves["motion"] = leaves["identity"].new_zeros(len(state.expression), 6)
        return leaves

    def match(self, leaves: Leaves, noise: float) -> None:
        """Nearest point of the surface and its normal for every texel and frame, and how far each is
        believed: what is seen from the side little, and lids, lips, nostrils and what met the wrong fold lie off
        the smooth gap. A model with
        joints is linear around the faces of this moment."""
        if not self._scene.model.shape_is_linear:
            self._shapes = self._expanded(leaves)
        excess = self._off_gap(leaves) if self._matched else torch.zeros_like(self._variance)
        self._variance = noise**2 * (1.0 + (excess / (3.0 * noise)).square()) / self._belief
        self._matched = True
        points = self._points(leaves)
        found = [s.nearest(x) for s, x in zip(self._surfaces, points, strict=True)]
        self._on_surface = torch.stack([f.points for f in found])
        faces = self._scene.model.faces.long()
        normals = [
            (n[faces[f.triangle]] * f.barycentric[..., None]).sum(1)
            for n, f in zip(self._normals, found, strict=True)
        ]
        self._across = torch.nn.functional.normalize(torch.stack(normals), dim=-1)
        frames = len(self._state.expression)
        covariance = self._gap + torch.diag(self._variance / frames)
        self._precision = precision_of(covariance)

    def solved(self, solver: LevenbergMarquardt, leaves: Leaves, bounds: Bounds) -> Solution:
        """The optimum against the points last matched."""
        if not isinstance(self._precision, InvertedRoot):
            return solver.minimize_function(self.linearize, self.energy, leaves, bounds)
        w, priors = self._precision.whitening, self._deviations()
        problem = surface_problem(
            leaves, priors, self._across, self._on_surface, self._variance, w, self._shapes
        )
        return solver.minimize_packed(problem, leaves, bounds)

    def _expanded(self, leaves: Leaves) -> list[LocalShape]:
        """The model around the face of each frame."""
        like, model = self._state.identity, self._scene.model
        identity, expression = (leaves[n].to(like) for n in ("identity", "expression"))
        return [local_shape(model, self._places, identity, e).double() for e in expression]

    def _off_gap(self, leaves: Leaves) -> Float[Tensor, "P"]:
        """Mean residual less the gap that it suggests."""
        mean = self._residual(leaves).mean(0)
        return mean - self._gap @ self._precision.solved(mean)

    def _points(self, leaves: Leaves) -> Float[Tensor, "T P 3"]:
        """Texels of the model in the frame of the old head."""
        shape = self._shape(leaves)
        motion = leaves["motion"]
        return shape @ rotation_exp(motion[:, :3]).mT + motion[:, None, 3:]

    def _shape(self, leaves: Leaves) -> Float[Tensor, "T P 3"]:
        first, identity, expression = self._shapes[0], leaves["identity"], leaves["expression"]
        if all(s is first for s in self._shapes):
            own = first.mean + first.identity @ identity
            return own + torch.einsum("pce,te->tpc", first.expression, expression)
        pairs = zip(self._shapes, expression, strict=True)
        return torch.stack([s.mean + s.identity @ identity + s.expression @ e for s, e in pairs])

    def _residual(self, leaves: Leaves) -> Float[Tensor, "T P"]:
        return (self._across * (self._points(leaves) - self._on_surface)).sum(-1)

    def energy(self, leaves: Leaves) -> Float[Tensor, ""]:
        """Half of the squared whitened residuals and priors."""
        r = self._residual(leaves)
        mean = r.mean(0)
        apart = ((r - mean).square() / self._variance).sum()
        return 0.5 * (self._precision.square(mean) + apart) + self._prior(leaves)

    def _prior(self, leaves: Leaves) -> Tensor:
        return 0.5 * sum(
            ((leaves[n] / d).square().sum() for n, d in self._deviations().items()),
            self._variance.new_zeros(()),
        )

    def _deviations(self) -> dict[str, float]:
        s, blend = self._settings, self._scene.model.expression_is_blendshape
        expression = s.expression_deviation if blend else 1.0
        return {"identity": s.identity_deviation, "expression": expression}

    def linearize(self, leaves: Leaves) -> NormalEquations:
        """Normal equations over the packed leaves."""
        layout, r = Layout.of(leaves), self._residual(leaves)
        J = self._columns(leaves, layout)  # (T, P, n)
        mean, mean_J = r.mean(0), J.mean(0)
        hessian, gradient = self._precision.products(mean_J, mean)
        for f in range(len(r)):
            apart = (J[f] - mean_J) / self._variance[:, None]
            hessian += apart.T @ (J[f] - mean_J)
            gradient += apart.T @ (r[f] - mean)
        for name, deviation in self._deviations().items():
            at = slice(layout.offsets[name], layout.offsets[name] + leaves[name].numel())
            hessian.diagonal()[at] += deviation**-2
            gradient[at] += leaves[name].reshape(-1) * deviation**-2
        return NormalEquations(self.energy(leaves), hessian, gradient)

    def _columns(self, leaves: Leaves, layout: Layout) -> Float[Tensor, "T P n"]:
        """Derivative of the residuals in all unknowns."""
        frames, texels = self._across.shape[:2]
        J = self._across.new_zeros(frames, texels, layout.size)
        R = rotation_exp(leaves["motion"][:, :3])
        turned = self._shape(leaves) @ R.mT
        for f in range(frames):
            along = (self._across[f] @ R[f])[:, None]  # in the model's own frame
            J[f, :, layout.columns(("identity", None))] = (along @ self._shapes[f].identity)[:, 0]
            J[f, :, layout.columns(("expression", f))] = (along @ self._shapes[f].expression)[:, 0]
            turn = -skew(turned[f]) @ left_jacobian(leaves["motion"][f, :3])
            move = torch.eye(3, dtype=J.dtype, device=J.device).expand(texels, 3, 3)
            rigid = self._across[f][:, None] @ torch.cat([turn, move], dim=-1)
            J[f, :, layout.columns(("motion", f))] = rigid[:, 0]
        return J

    def refitted(self, leaves: Leaves) -> FaceState:
        """New coefficients and poses, and the map from them to the old surface."""
        state, motion = self._state, leaves["motion"]
        step = rigid_matrix(rotation_exp(motion[:, :3]), motion[:, 3:])
        reference = state.pose_reference.double()
        old = pose_matrix(state.pose.double(), reference)
        found = {n: leaves[n].to(state.identity) for n in ("identity", "expression")}
        state = state.replace(**found, pose=pose_tangent(old @ step, reference).to(state.pose))
        return state.replace(deformation=self._map(state, step))

    def _map(self, state: FaceState, step: Float[Tensor, "T 4 4"]) -> Float[Tensor, "D D 3"]:
        """Deformation from the new model to the old surface, averaged over frames."""
        model, s, frames = self._scene.model, self._settings, len(state.expression)
        heads = model.shape(state.identity[None].expand(frames, -1), state.expression)
        heads, offsets = heads.double(), []
        for head, T, surface in zip(heads, step, self._surfaces, strict=True):
            R, t = T[:3, :3], T[:3, 3]
            near = surface.nearest(head @ R.T + t).points
            offsets.append((near - t) @ R - head)
        offset = torch.stack(offsets).mean(0).to(state.deformation)
        operator = self._scene.operator(len(state.deformation))
        return fit_map_on(operator, offset, s.smoothness, self._vertex_weight())

    def _vertex_weight(self) -> Float[Tensor, "N"]:
        """1 where a vertex lies in a texel triangle that two views see, `UNSEEN` elsewhere."""
        seen = self._variance.new_full((self._scene.n_vertices,), UNSEEN)
        seen[self._texels.corners[self._seen].reshape(-1)] = 1.0
        return seen


def second_view(weight: Float[Tensor, "V P"]) -> Float[Tensor, "P"]:
    """How far a texel's surface is known, 0 to 1: square of the second largest of the views' weights.

    What two views see from the side alone comes and goes with rounding: a coarse face moved by 0.15 mm when the 3
    faintest of 2,706 texels were left out, with these weights by 0.0001.
    """
    several = torch.cat([weight, torch.zeros_like(weight[:1])])
    return several.topk(2, dim=0).values[1].square()


def _surface(vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Surface | EveryTriangle:
    """The search for nearest points: by trees on the CPU, by brute force on a GPU."""
    return EveryTriangle(vertices, faces) if vertices.is_cuda else Surface(vertices, faces)
