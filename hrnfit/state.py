"""The unknowns of a fit, as one frozen value, and which view uses which row of each.

Every leaf is Euclidean: poses and camera corrections are tangents at a reference that is re-based
between stages. No leaf knows its resolution in advance; shapes come from the recipe and the model.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.brief import brief

SHAREABLE = ("expression", "pose", "light", "displacement")
"""Leaves with one row per view, per frame or per subject; `Sharing` says which."""


@dataclass(frozen=True)
class FaceState:
    """All unknowns of one subject in V views, T frames."""

    identity: Float[Tensor, "I"]
    """Identity coefficients, standard deviations; subject."""
    expression: Float[Tensor, "T E"]
    """Expression coefficients: activations 0..1 of blendshapes, or standard deviations; frame."""
    albedo: Float[Tensor, "A"]
    """Albedo coefficients, standard deviations; subject."""
    pose: Float[Tensor, "T 6"]
    """Tangent of the head pose at `pose_reference`: rotation vector rad, translation mm; frame."""
    pose_reference: Float[Tensor, "T 4 4"]
    """T_world_head at zero tangent, mm; not an unknown."""
    camera: Float[Tensor, "V 6"]
    """Camera correction: tangent of T_cam_world, applied on its left; rad, mm; view."""
    log_focal: Float[Tensor, "V"]
    """Natural logarithm of the factor on the focal length of the given camera; view."""
    deformation: Float[Tensor, "D D 3"]
    """Deformation map in UV (row 0 is v = 0), mm in the head frame; subject (HRN, sec. 3.2)."""
    displacement: Float[Tensor, "K H W"]
    """Displacement maps in UV, mm along the mid normal; view, frame or subject."""
    light: Float[Tensor, "G 9 3"]
    """Spherical harmonics of the light in the world frame, linear RGB; view or rig."""
    albedo_map: Float[Tensor, "R R 3"]
    """Offset added to the model's albedo in UV, linear RGB; subject."""

    __repr__ = brief

    def replace(self, **leaves: Tensor) -> FaceState:
        """A copy with some leaves replaced."""
        return replace(self, **leaves)

    def to(self, *args, **kwargs) -> FaceState:
        """A copy with every leaf moved or cast as by `torch.Tensor.to`."""
        return FaceState(
            **{f.name: getattr(self, f.name).to(*args, **kwargs) for f in fields(self)}
        )


@dataclass(frozen=True)
class Sharing:
    """Row of each shared leaf that a view uses. The whole difference between one photo, photos from
    anywhere (each view its own frame) and a synchronised rig (all views one frame)."""

    frame: Int[Tensor, "V"]
    """Row of `expression` and `pose`."""
    light: Int[Tensor, "V"]
    """Row of `light`."""
    displacement: Int[Tensor, "V"]
    """Row of `displacement`."""

    @property
    def n_views(self) -> int:
        return len(self.frame)

    def to(self, device: torch.device | str) -> Sharing:
        """The rows on a device, for what is indexed there."""
        return Sharing(self.frame.to(device), self.light.to(device), self.displacement.to(device))

    @property
    def n_frames(self) -> int:
        return int(self.frame.max()) + 1


def zero_state(
    *,
    identity: int,
    expression: int,
    albedo: int,
    sharing: Sharing,
    deformation: int = 64,
    displacement: int = 256,
    albedo_map: int = 512,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> FaceState:
    """The mean face at the origin under white ambient light, for the given sizes and sharing."""
    views, frames = sharing.n_views, sharing.n_frames
    lights, rows = (int(row.max()) + 1 for row in (sharing.light, sharing.displacement))
    light = torch.zeros(lights, 9, 3, dtype=dtype, device=device)
    light[:, 0] = 1.0
    zeros = partial(torch.zeros, dtype=dtype, device=device)
    return FaceState(
        identity=zeros(identity),
        expression=zeros(frames, expression),
        albedo=zeros(albedo),
        pose=zeros(frames, 6),
        pose_reference=torch.eye(4, dtype=dtype, device=device).repeat(frames, 1, 1),
        camera=zeros(views, 6),
        log_focal=zeros(views),
        deformation=zeros(deformation, deformation, 3),
        displacement=zeros(rows, displacement, displacement),
        light=light,
        albedo_map=zeros(albedo_map, albedo_map, 3),
    )
