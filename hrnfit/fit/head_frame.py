"""Where the head is in the world at each instant, and cameras seen from the exported head.

Photographs from anywhere have one head pose each in front of a fixed camera. Files hold one head, so
their cameras are moved around it instead: what each sees stays the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.state import FaceState

if TYPE_CHECKING:
    from hrnfit.fit.result import FitResult


def T_world_head(state: FaceState) -> Float[Tensor, "T 4 4"]:
    """Head poses, mm, float64 on the CPU."""
    return pose_matrix(state.pose.detach().cpu().double(), state.pose_reference.cpu().double())


def exported_cameras(result: FitResult) -> tuple[Camera, ...]:
    """Cameras that see the exported meshes as their photographs show the subject.

    Given cameras stay where they are. An unknown camera of another instant than the exported one is
    moved by the head's motion between the two.
    """
    poses = T_world_head(result.state)
    home = poses[result.frame]
    cameras = []
    for i, camera in enumerate(result.cameras):
        known = result.camera_known[i] if result.camera_known else True
        frame = int(result.sharing.frame[i])
        if not known and frame != result.frame:
            motion = (poses[frame] @ torch.linalg.inv(home)).to(camera.T_cam_world)
            camera = replace(camera, T_cam_world=camera.T_cam_world @ motion)
        cameras.append(replace(camera, name=result.view_names[i]))
    return tuple(cameras)
