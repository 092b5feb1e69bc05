"""Coefficients of the target's model that explain the carried surface, and a map for what they cannot.

With correspondences the problem is plain: per frame f a head pose, per vertex n a known place,

    min  1/2 sum_fn a_n w_fn |T_f shape(identity, expression_f)_n - y_fn|^2 / s^2 + 1/2 |identity|^2 + ...

by Levenberg-Marquardt with the model's own tangent and prior, reweighted (Cauchy). The deformation map is
the smooth least-squares inverse of what is left, as in the stages of a fit (HRN, sec. 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.geometry.align import align_rigid
from hrnfit.geometry.rotation import left_jacobian, rigid_matrix, rotation_exp, skew
from hrnfit.model.deformation import DeformationOperator
from hrnfit.model.face_model import FaceModel
from hrnfit.solve.block import Layout, NormalEquations
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves

SAMPLES = 400.0
"""Independent places that a surface is worth: neighbouring vertices err together."""

DEVIATION = 0.4
"""Of a place from what the model can show, mm."""

ROBUST = 2.0
"""Distance at which a vertex loses half of its say, mm: ears, and partners that are none."""

ACTIVATION = 0.3
"""Prior on activations of blendshapes; other expressions use 1, their own standard deviation."""

ROUNDS, STEPS = 4, 8

UNSEEN = 0.1
"""Weight of a vertex without a partner in the deformation map."""


@dataclass(frozen=True)
class Refit:
    """The target's model on the carried surfaces of T frames."""

    identity: Float[Tensor, "I"]
    expression: Float[Tensor, "T E"]
    T_source_target: Float[Tensor, "T 4 4"]
    """Head frame of the target in that of the source, mm."""
    shape: Float[Tensor, "T N 3"]
    """The model's surface, mm, head frame of the source."""


def refit(
    model: FaceModel,
    places: Float[Tensor, "T N 3"],
    valid: Bool[Tensor, "N"],
    areas: Float[Tensor, "N"],
) -> Refit:
    """Coefficients and poses for places of the valid vertices, head frame of the source, mm."""
    problem = _Problem(model.to(torch.float64), places.double(), valid, areas.double())
    leaves = problem.start()
    bounds = {"expression": (0.0, 1.0)} if model.expression_is_blendshape else {}
    solver = LevenbergMarquardt(max_steps=STEPS, tolerance=1e-6)
    for _ in range(ROUNDS):
        problem.reweigh(leaves)
        solution = solver.minimize_function(problem.linearize, problem.energy, leaves, bounds)
        leaves = solution.leaves
    return problem.result(leaves)


def residual_map(
    fitted: Refit,
    carried: Float[Tensor, "T N 3"],
    operator: DeformationOperator,
    valid: Bool[Tensor, "N"],
    smoothness: float = 1e-3,
) -> Float[Tensor, "D D 3"]:
    """Deformation map, target's head frame, from the fitted model to the carried surfaces; mean of the
    frames."""
    R = fitted.T_source_target[:, :3, :3]
    offset = ((carried.double() - fitted.shape.double()) @ R.double()).mean(0)
    weight = torch.where(valid, 1.0, UNSEEN)
    return operator.fit_map(offset.float(), smoothness, weight).float()


class _Problem:
    """Energy and normal equations; the poses' tangents stand at a rigid alignment of the mean."""

    def __init__(self, model: FaceModel, places: Tensor, valid: Tensor, areas: Tensor) -> None:
        self._model, self._valid = model, valid
        share = areas[valid] / areas[valid].sum()
        self._gain = SAMPLES * share / DEVIATION**2
        zero = torch.zeros(model.n_identity), torch.zeros(model.n_expression)
        mean = model.shape(*(z.double() for z in zero)).double()[valid]
        self._base = [align_rigid(mean, y[valid], share) for y in places]
        self._places = torch.stack(
            [
                (y[valid] - b.translation) @ b.rotation
                for y, b in zip(places, self._base, strict=True)
            ]
        )
        self._weight = torch.ones(self._places.shape[:2], dtype=torch.float64)

    def start(self) -> Leaves:
        frames = len(self._places)
        return {
            "identity": torch.zeros(self._model.n_identity, dtype=torch.float64),
            "expression": torch.zeros(frames, self._model.n_expression, dtype=torch.float64),
            "motion": torch.zeros(frames, 6, dtype=torch.float64),
        }

    def reweigh(self, leaves: Leaves) -> None:
        """Trust of every place by its distance from the model now."""
        square = self._residual(leaves).square().sum(-1)
        self._weight = 1.0 / (1.0 + square / ROBUST**2)

    def _shape(self, leaves: Leaves, frame: int) -> Float[Tensor, "K 3"]:
        shape = self._model.shape(leaves["identity"], leaves["expression"][frame])
        return shape[self._valid]

    def _residual(self, leaves: Leaves) -> Float[Tensor, "T K 3"]:
        motion = leaves["motion"]
        shapes = torch.stack([self._shape(leaves, f) for f in range(len(motion))])
        placed = shapes @ rotation_exp(motion[:, :3]).mT + motion[:, None, 3:]
        return placed - self._places

    def energy(self, leaves: Leaves) -> Float[Tensor, ""]:
        """Half of the weighted squares and of the priors."""
        square = self._residual(leaves).square().sum(-1)
        data = 0.5 * (self._gain * self._weight * square).sum()
        prior = [(leaves[n] / d).square().sum() for n, d in self._deviations().items()]
        return data + 0.5 * torch.stack(prior).sum()

    def _deviations(self) -> dict[str, float]:
        blend = self._model.expression_is_blendshape
        return {"identity": 1.0, "expression": ACTIVATION if blend else 1.0}

    def linearize(self, leaves: Leaves) -> NormalEquations:
        """Normal equations over the packed leaves."""
        layout, residual = Layout.of(leaves), self._residual(leaves)
        hessian = torch.zeros(layout.size, layout.size, dtype=torch.float64)
        gradient = torch.zeros(layout.size, dtype=torch.float64)
        for f in range(len(residual)):
            J, columns = self._columns(leaves, layout, f)
            weighted = J * (self._gain * self._weight[f]).repeat_interleave(3)[:, None]
            hessian[columns[:, None], columns] += weighted.mT @ J
            gradient[columns] += weighted.mT @ residual[f].flatten()
        for name, deviation in self._deviations().items():
            at = slice(layout.offsets[name], layout.offsets[name] + leaves[name].numel())
            hessian.diagonal()[at] += deviation**-2
            gradient[at] += leaves[name].reshape(-1) * deviation**-2
        return NormalEquations(self.energy(leaves), hessian, gradient)

    def _columns(
        self, leaves: Leaves, layout: Layout, frame: int
    ) -> tuple[Float[Tensor, "K3 n"], Tensor]:
        """Derivative of a frame's residuals in its unknowns, and where these stand."""
        tangent = self._model.tangent(leaves["identity"], leaves["expression"][frame])
        modes = torch.cat([tangent.identity, tangent.expression])[:, self._valid]
        vector = leaves["motion"][frame, :3]
        R = rotation_exp(vector)
        turned = tangent.shape[self._valid] @ R.mT
        turn = -skew(turned) @ left_jacobian(vector)
        move = torch.eye(3, dtype=torch.float64).expand(len(turned), 3, 3)
        rigid = torch.cat([turn, move], dim=-1).flatten(0, 1)
        J = torch.cat([(modes @ R.mT).flatten(1).mT, rigid], dim=1)
        slots = (("identity", None), ("expression", frame), ("motion", frame))
        columns = [torch.arange(layout.size)[layout.columns(slot)] for slot in slots]
        return J, torch.cat(columns)

    def result(self, leaves: Leaves) -> Refit:
        motion = leaves["motion"]
        step = rigid_matrix(rotation_exp(motion[:, :3]), motion[:, 3:])
        base = torch.stack([b.matrix for b in self._base])
        T = base @ step
        frames = len(motion)
        shape = self._model.shape(leaves["identity"][None].expand(frames, -1), leaves["expression"])
        placed = shape @ T[:, :3, :3].mT + T[:, None, :3, 3]
        return Refit(leaves["identity"].float(), leaves["expression"].float(), T, placed)
