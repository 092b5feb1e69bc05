"""The keys of a model file that say how a head turns: `model_type` "flame" (docs/models.md).

The rest of the file is that of a linear model: the head before its joints turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hrnfit.check import check_finite, check_shape
from hrnfit.model.flame import JOINTS, FlameModel
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.skeleton import Skeleton

Arrays = Mapping[str, np.ndarray]

REQUIRED = (
    *("pose_basis", "joint_regressor", "skin_weights"),
    *("joint_parents", "turning_joints", "turn_deviation"),
)

LONGEST_CORRECTIVE = 500.0
"""Largest move of a vertex by one unit of a rotation's element, mm."""


def flame_arrays(model: FlameModel) -> dict[str, Any]:
    """The arrays of the skeleton."""
    s = model.skeleton

    def numbers(tensor: torch.Tensor, dtype: type) -> np.ndarray:
        return tensor.detach().cpu().numpy().astype(dtype)

    return {
        "pose_basis": numbers(s.pose_basis.unflatten(1, (-1, 3)), np.float16),
        "joint_regressor": numbers(s.joint_regressor, np.float32),
        "skin_weights": numbers(s.weights, np.float32),
        "joint_parents": np.array(s.parents, dtype=np.int32),
        "turning_joints": np.array(s.turning, dtype=np.int32),
        "turn_deviation": numbers(s.deviation, np.float32),
    }


def flame_model(arrays: Arrays, unposed: LinearFaceModel) -> FlameModel:
    """The model of checked arrays. `unposed`: what the other keys say."""

    def floats(key: str) -> torch.Tensor:
        return torch.from_numpy(arrays[key].astype(np.float32))

    scale = float(arrays["mm_per_unit"])
    skeleton = Skeleton(
        pose_basis=floats("pose_basis").flatten(1) * scale,
        joint_regressor=floats("joint_regressor"),
        weights=floats("skin_weights"),
        parents=tuple(arrays["joint_parents"].tolist()),
        turning=tuple(arrays["turning_joints"].tolist()),
        deviation=floats("turn_deviation"),
    )
    return FlameModel(unposed, skeleton)


def check_flame_arrays(arrays: Arrays) -> None:
    """Raise ValueError with one clear sentence when the skeleton does not fit the surface."""
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}, which model_type 'flame' needs")
    n, joints = len(arrays["mean"]), len(JOINTS)
    check_shape("pose_basis", arrays["pose_basis"], (9 * (joints - 1), n, 3))
    check_shape("joint_regressor", arrays["joint_regressor"], (joints, n))
    check_shape("skin_weights", arrays["skin_weights"], (n, joints))
    check_shape("joint_parents", arrays["joint_parents"], (joints,))
    check_shape("turning_joints", arrays["turning_joints"], ("K",))
    turning = arrays["turning_joints"]
    check_shape("turn_deviation", arrays["turn_deviation"], (len(turning), 3))
    for key in ("joint_parents", "turning_joints"):
        if arrays[key].dtype.kind not in "iu":
            raise ValueError(f"{key}: expected integers, got {arrays[key].dtype}")
    _check_chain(arrays["joint_parents"].tolist(), turning.tolist())
    _check_numbers(arrays, float(arrays["mm_per_unit"]))


def _check_chain(parents: list[int], turning: list[int]) -> None:
    """Every joint hangs on an earlier one, and those that turn are joints."""
    if parents[0] != -1 or any(not 0 <= p < j for j, p in enumerate(parents[1:], start=1)):
        raise ValueError(
            f"joint_parents: {parents}; expected -1 for the root and an earlier joint for each other"
        )
    allowed = range(1, len(parents))
    if sorted(set(turning)) != turning or any(j not in allowed for j in turning):
        raise ValueError(
            f"turning_joints: {turning}; expected rising numbers of joints from 1 to {allowed[-1]}"
        )


def _check_numbers(arrays: Arrays, scale: float) -> None:
    for key in ("pose_basis", "joint_regressor", "skin_weights", "turn_deviation"):
        if arrays[key].dtype.kind not in "fiu":
            raise ValueError(f"{key}: expected real numbers, got {arrays[key].dtype}")
        check_finite(key, arrays[key])
    longest = float(np.abs(arrays["pose_basis"]).max(initial=0.0)) * scale
    if longest > LONGEST_CORRECTIVE:
        raise ValueError(f"pose_basis: a corrective moves a vertex by {longest:.3g} mm")
    weights, regressor = arrays["skin_weights"], arrays["joint_regressor"]
    if weights.min() < -1e-3 or np.abs(weights.sum(axis=1) - 1.0).max() > 1e-2:
        raise ValueError("skin_weights: rows must be shares that sum to 1")
    if np.abs(regressor).max() > 10.0 or np.abs(regressor.sum(axis=1) - 1.0).max() > 1e-2:
        raise ValueError("joint_regressor: rows must be means of vertices, weights that sum to 1")
    deviation = arrays["turn_deviation"]
    if deviation.size and not 0.0 < deviation.min() <= deviation.max() < np.pi:
        raise ValueError("turn_deviation: expected radians between 0 and pi")
