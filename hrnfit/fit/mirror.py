"""Faces are nearly symmetric: the mirror image of a photograph shows the same head from another side.

A photograph of a turned head and its mirror image are two views, and what compares views then knows
depth from one photograph. The mirrored views stand in a mirrored world (x -> -x) with the mirrored
expression; their unknowns are those of the photographs with some signs changed, so nothing is free
twice. Only coefficients can be found so: a face's own asymmetry is outside of what its mirror knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.fit.scene import Scene
from hrnfit.observe.observation import View
from hrnfit.solve.block import Layout, NormalEquations
from hrnfit.solve.solver import Leaves
from hrnfit.state import FaceState, Sharing

AXIAL = (1.0, -1.0, -1.0)
"""Signs of a rotation vector under x -> -x."""
POLAR = (-1.0, 1.0, 1.0)
"""Signs of a position."""
TURNING = "neck|jaw|left_eye|right_eye"
"""Joints whose turns a model may have among its expression coefficients, as `neck_y`."""


class MirrorImage(NamedTuple):
    """What expression coefficients become in a mirror."""

    mode: Int[Tensor, "E"]
    """Mode that does on the other side what each mode does."""
    sign: Float[Tensor, "E"]
    """-1 for turns that mirroring reverses, else 1."""


def mirror_view(view: View, frame: int) -> View:
    """The mirror image of a photograph with the camera that would have taken it of a mirrored world.

    Landmarks are left out: their order does not survive.
    """
    image, mask = view.image.flip(1), None if view.mask is None else view.mask.flip(1)
    return replace(
        view,
        name=f"{view.name} (mirrored)",
        image=image,
        camera=mirror_camera(view.camera),
        frame=frame,
        landmarks=None,
        mask=mask,
    )


def mirror_camera(camera: Camera) -> Camera:
    """M T M with M = diag(-1, 1, 1), the principal point on the other side; lens terms that are odd
    in x change their signs."""
    K, distortion = camera.K.clone(), camera.distortion.clone()
    K[0, 2] = camera.width - K[0, 2]
    K[0, 1] = -K[0, 1]
    odd = [i for i in (3, 8, 9) if i < len(distortion)]  # p2, s1, s2
    distortion[odd] = -distortion[odd]
    return replace(
        camera, K=K, T_cam_world=_mirrored_pose(camera.T_cam_world), distortion=distortion
    )


def mirror_scene(scene: Scene, state: FaceState) -> tuple[Scene, FaceState]:
    """The photographs and their mirror images, which are views V..2V-1 of frames T..2T-1."""
    sharing, frames = scene.sharing, scene.sharing.n_frames
    if scene.boxes is None:
        raise ValueError("scene: frame the face before mirroring it")
    mirrored = [
        mirror_view(view, frames + int(row))
        for view, row in zip(scene.views, sharing.frame, strict=True)
    ]
    widths = torch.tensor([float(view.camera.width) for view in scene.views])
    left, top, right, bottom = scene.boxes.unbind(1)
    boxes = torch.stack([widths - right, top, widths - left, bottom], dim=1)
    both = Sharing(
        torch.cat([sharing.frame, sharing.frame + frames]),
        torch.cat([sharing.light, sharing.light]),
        torch.cat([sharing.displacement, sharing.displacement]),
    )
    doubled = replace(
        scene,
        views=(*scene.views, *mirrored),
        sharing=both,
        boxes=torch.cat([scene.boxes, boxes]),
        _windows={},
    )
    leaves = {name: getattr(state, name) for name in ("expression", "pose", "camera", "log_focal")}
    reference = torch.cat([state.pose_reference, _mirrored_pose(state.pose_reference)])
    swap = mirrored_expressions(scene.model.expression_names)
    return doubled, state.replace(**with_mirror(leaves, swap), pose_reference=reference)


def with_mirror(leaves: Leaves, swap: MirrorImage) -> Leaves:
    """Leaves of photographs and mirror images from those of the photographs; linear in them.

    swap: from `mirrored_expressions`.
    """
    turn = torch.tensor([*AXIAL, *POLAR])
    out = {}
    for name, leaf in leaves.items():
        if name == "expression":
            mode, sign = swap.mode.to(leaf.device), swap.sign.to(leaf)
            out[name] = torch.cat([leaf, leaf[:, mode] * sign])
        elif name in ("pose", "camera"):
            out[name] = torch.cat([leaf, leaf * turn.to(leaf)])
        elif name == "log_focal":
            out[name] = torch.cat([leaf, leaf])
        else:
            out[name] = leaf
    return out


def mirror_matrix(own: Layout, swap: MirrorImage) -> Float[Tensor, "m n"]:
    """`with_mirror` as a matrix on packed leaves: each row has one entry, 1 or -1. float64, CPU."""
    marks = torch.arange(1.0, own.size + 1, dtype=torch.float64)
    spread = with_mirror(own.unpack(marks), swap)
    marked = Layout.of(spread).pack(spread)
    matrix = torch.zeros(len(marked), own.size, dtype=torch.float64)
    matrix[torch.arange(len(marked)), marked.abs().long() - 1] = marked.sign()
    return matrix


def mirrored_expressions(names: tuple[str, ...]) -> MirrorImage:
    """Modes on the other side: `smile_L` and `smile_R`, `jawLeft` and `jawRight`, `left_eye_x` and
    `right_eye_x`; turns of a joint about y and z change their signs. Modes whose names know no side
    are taken for symmetric."""
    index = {name: i for i, name in enumerate(names)}
    mode = [index.get(_other_side(name), i) for i, name in enumerate(names)]
    reversed_turn = [re.fullmatch(rf"({TURNING})_[yz]", name) is not None for name in names]
    return MirrorImage(
        torch.tensor(mode), torch.tensor([-1.0 if turn else 1.0 for turn in reversed_turn])
    )


def _other_side(name: str) -> str:
    sides = {"Left": "Right", "_L": "_R", "left_eye_": "right_eye_"}
    sides |= {right: left for left, right in sides.items()}
    return re.sub(
        r"((Left|Right|_L|_R)$|^(left|right)_eye_(?=[xyz]$))", lambda found: sides[found[0]], name
    )


def _mirrored_pose(T: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 4 4"]:
    M = torch.tensor([*POLAR, 1.0]).to(T)
    return M[:, None] * T * M


@runtime_checkable
class Linearised(Protocol):
    """A problem that Levenberg-Marquardt can solve."""

    def refresh(self, leaves: Leaves) -> None: ...
    def energy(self, leaves: Leaves) -> Float[Tensor, ""]: ...
    def linearize(self, leaves: Leaves) -> NormalEquations: ...


@dataclass(frozen=True)
class MirrorTied:
    """A problem on photographs and mirror images, over the unknowns of the photographs alone."""

    problem: Linearised
    swap: MirrorImage

    def refresh(self, leaves: Leaves) -> None:
        self.problem.refresh(with_mirror(leaves, self.swap))

    def energy(self, leaves: Leaves) -> Float[Tensor, ""]:
        return self.problem.energy(with_mirror(leaves, self.swap))

    def linearize(self, leaves: Leaves) -> NormalEquations:
        """P^T H P and P^T g, with P the linear map `with_mirror`."""
        both = with_mirror(leaves, self.swap)
        full = self.problem.linearize(both)
        P = mirror_matrix(Layout.of(leaves), self.swap)
        return NormalEquations(full.energy, P.T @ full.hessian @ P, P.T @ full.gradient)
